"""The bundle for registries and fleets: an OCI image layout that holds the model as an artifact, a layer for each file.

    <artifact>/oci-layout, index.json, blobs/sha256/…      skopeo, ORAS, crane and podman copy it to a registry
    README.md

The manifest states ``artifactType``, as OCI 1.1 has it. Its config is an image config, not the empty one: `skopeo inspect` refuses any
other ("unsupported image-specific operation on artifact"), while what pulls artifacts (ORAS, podman artifact) looks at artifactType and at
the layers' titles. Layers are the files themselves, not tar archives: no container runs from it.

Source: OCI Image Format Specification 1.1.0 (2024): image-layout.md, manifest.md ("Guidelines for Artifact Usage"), config.md and
annotations.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from edgekd.release import python
from edgekd.release.archive import sha256
from edgekd.release.contract import CONTRACT, checked, document, encoded, one_line, write
from edgekd.release.facts import Facts, Model
from edgekd.release.template import render

ARTIFACT = "application/vnd.edgekd.model.v1"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LABELS, ENGINE = "labels.txt", "build_engine.sh"
#: Media types of the layers, by the ends of their names; the model's own are ARTIFACT.<ending>.
TYPES = {
    CONTRACT: "application/vnd.edgekd.contract.v1+json",
    python.VECTORS: "application/vnd.edgekd.vectors.v1.npz",
    python.ACCESSOR: "text/x-python",
    LABELS: "text/plain",
    ENGINE: "application/x-sh",
}


def pack(facts: Facts, out: Path) -> tuple[str, ...]:
    """Write the bundle into ``out``; what was written, relative to it. Raises InputError where the model's file has changed, or where
    accessors cannot state it."""
    model = facts.models[facts.own]
    checked(model)
    layers = contents(facts, model)
    created = {"org.opencontainers.image.created": facts.created} if facts.created else {}
    notes = {
        **created,
        "org.opencontainers.image.title": facts.artifact,
        "org.opencontainers.image.version": facts.version,
        "org.opencontainers.image.vendor": facts.group,
        "org.opencontainers.image.description": one_line(facts.licenses.get("title") or facts.name) + f", for {one_line(facts.target)}",
    }
    if facts.licenses.get("license"):
        notes["org.opencontainers.image.licenses"] = one_line(facts.licenses["license"])
    blobs: dict[str, bytes] = {}

    def put(content: bytes, media: str, **more: Any) -> dict[str, Any]:
        blobs[sha256(content)] = content
        return {"mediaType": media, "digest": f"sha256:{sha256(content)}", "size": len(content), **more}

    described = [put(content, _media(name), annotations={"org.opencontainers.image.title": name}) for name, content in layers.items()]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT,
        "config": put(_json(_config(facts, [one["digest"] for one in described], notes)), CONFIG),
        "layers": described,
        "annotations": notes,
    }
    tagged = put(_json(manifest), MANIFEST, artifactType=ARTIFACT, annotations={"org.opencontainers.image.ref.name": facts.version})
    files = {f"{facts.artifact}/blobs/sha256/{digest}": content for digest, content in blobs.items()}
    files[f"{facts.artifact}/index.json"] = _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [tagged]})
    files[f"{facts.artifact}/oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
    files["README.md"] = render("oci/README.md", facts=facts, layers=list(layers), model=model, engine=ENGINE in layers).encode()
    return write(files, out)


def contents(facts: Facts, model: Model) -> dict[str, bytes]:
    """The files that the artifact carries, the model first."""
    own = {PurePosixPath(name).name: (model.folder / name).read_bytes() for name in model.files}
    vectors = facts.vectors_for("oci")
    packed, count = python.packed(facts, model, vectors)
    tested = {"count": count, "exact": vectors.exact, "file": python.VECTORS, "layout": "arrays of NumPy: x, expected_0, …"}
    layout = "NCHW" if python.channels_first(facts, model) else "NHWC"
    found = {
        **own,
        CONTRACT: encoded(document(facts, model, next(iter(own)), tested, layout)),
        LABELS: _labels(model),
        python.ACCESSOR: python.accessor(facts, model, vectors, own),
        python.VECTORS: packed,
    }
    if _deployed(facts) == "tensorrt" and model.format == "onnx":
        found[ENGINE] = render("oci/build_engine.sh", facts=facts, model=model, file=next(iter(own)), flags=_flags(facts)).encode()
    return found


def _config(facts: Facts, digests: list[str], notes: Mapping[str, str]) -> dict[str, Any]:
    """An image config of no platform: what it holds runs where its runtime does."""
    return {
        **({"created": facts.created} if facts.created else {}),
        "architecture": "unknown",
        "os": "unknown",
        "config": {"Labels": dict(notes)},
        "rootfs": {"type": "layers", "diff_ids": digests},
    }


def _labels(model: Model) -> bytes:
    """A class a line, task after task, an empty line between them; edgekd.json has them as they are."""
    return "\n\n".join("\n".join(map(one_line, head.labels)) for head in model.heads).encode() + b"\n"


def _media(name: str) -> str:
    return TYPES.get(name) or f"{ARTIFACT}{PurePosixPath(name).suffix}"


def _deployed(facts: Facts) -> str:
    deploy = facts.profile.get("deploy")
    return str(deploy.get("runtime", "")) if isinstance(deploy, Mapping) else ""


def _flags(facts: Facts) -> str:
    """What trtexec may compute in. A quantized file states itself where it is int8 (explicit quantization); the rest stays float32, in
    which it was proven."""
    dtypes = {tensor.dtype for tensor in facts.graph.tensors.values()}
    return "--int8" if "int8" in dtypes else "--fp16" if "float16" in dtypes else "--noTF32"


def _json(made: Mapping[str, Any]) -> bytes:
    return json.dumps(made, indent=2, sort_keys=True).encode() + b"\n"
