"""The OCI artifact: skopeo reads and copies it, its digests are its content, what is pulled from it runs."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekd.release.facts import Facts
from edgekd.release.oci import ARTIFACT, contents
from tests.release import bundles
from tests.released import facts

TITLE = "org.opencontainers.image.title"


def packed(made: Facts, out: Path) -> Path:
    """The image layout."""
    return bundles.packed("oci", made, out) / made.artifact


def skopeo(*words: str | Path) -> str:
    if shutil.which("skopeo") is None:
        pytest.skip("no skopeo")
    done = subprocess.run(["skopeo", *map(str, words)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def blob(layout: Path, described: dict[str, Any]) -> bytes:
    """Its content, proven by digest and size."""
    content = (layout / "blobs" / described["digest"].replace(":", "/")).read_bytes()
    assert described["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert described["size"] == len(content)
    return content


def manifest_of(layout: Path) -> dict[str, Any]:
    return json.loads(blob(layout, json.loads((layout / "index.json").read_text())["manifests"][0]))


def pulled(layout: Path, out: Path) -> Path:
    """As ORAS lays an artifact down: a file a layer, called by its title."""
    out.mkdir()
    for layer in manifest_of(layout)["layers"]:
        (out / layer["annotations"][TITLE]).write_bytes(blob(layout, layer))
    return out


@pytest.mark.parametrize(("kind", "own"), (("int8", "tflite"), ("two_tasks", "onnx"), ("float", "openvino")))
def test_skopeo_inspects_and_copies_it(tmp_path: Path, kind: str, own: str):
    layout = packed(facts(tmp_path, kind, formats=("oci",), own=own), tmp_path / "oci")
    said = json.loads(skopeo("inspect", f"oci:{layout}:1.4.0"))
    manifest = manifest_of(layout)
    assert said["Layers"] == [layer["digest"] for layer in manifest["layers"]]
    assert said["Labels"]["org.opencontainers.image.version"] == "1.4.0"
    assert json.loads(skopeo("inspect", "--raw", f"oci:{layout}:1.4.0")) == manifest
    skopeo("copy", "-q", f"oci:{layout}:1.4.0", f"oci:{tmp_path / 'again'}:1.4.0")
    skopeo("copy", "-q", f"oci:{layout}:1.4.0", f"dir:{tmp_path / 'dir'}")
    for path in layout.glob("blobs/sha256/*"):
        assert (tmp_path / "again/blobs/sha256" / path.name).read_bytes() == path.read_bytes()
    assert json.loads((tmp_path / "dir/manifest.json").read_text()) == manifest
    assert manifest_of(tmp_path / "again") == manifest


def test_what_the_specification_demands(tmp_path: Path):
    """OCI Image Format Specification 1.1.0."""
    made = facts(tmp_path, "int8", formats=("oci",))
    layout = packed(made, tmp_path / "oci")
    assert json.loads((layout / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((layout / "index.json").read_text())
    assert index["schemaVersion"] == 2 and len(index["manifests"]) == 1
    assert index["manifests"][0]["annotations"] == {"org.opencontainers.image.ref.name": "1.4.0"}
    assert index["manifests"][0]["artifactType"] == ARTIFACT
    manifest = manifest_of(layout)
    assert manifest["artifactType"] == ARTIFACT and manifest["mediaType"] == index["manifests"][0]["mediaType"]
    assert manifest["annotations"]["org.opencontainers.image.created"] == made.created
    assert manifest["annotations"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    config = json.loads(blob(layout, manifest["config"]))
    assert config["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"] for layer in manifest["layers"]]}
    titles = [layer["annotations"][TITLE] for layer in manifest["layers"]]
    assert titles == ["model.tflite", "edgekd.json", "labels.txt", "edgekd_model.py", "vectors.npz"]
    assert manifest["layers"][0]["mediaType"] == f"{ARTIFACT}.tflite"
    assert manifest["layers"][0]["digest"] == f"sha256:{made.models['tflite'].sha256}"
    listed = {layer["digest"][7:] for layer in [*manifest["layers"], manifest["config"], index["manifests"][0]]}
    assert {path.name for path in layout.glob("blobs/sha256/*")} == listed


@pytest.mark.parametrize(("kind", "own"), (("sound", "tflite"), ("int8", "onnx"), ("two_tasks", "openvino")))
def test_what_is_pulled_passes_its_vectors(tmp_path: Path, kind: str, own: str):
    layout = packed(facts(tmp_path, kind, formats=("oci",), own=own), tmp_path / "oci")
    folder = pulled(layout, tmp_path / "pulled")
    done = subprocess.run([sys.executable, "edgekd_model.py", "--self-test"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("8 test vectors pass\n")
    stated = json.loads((folder / "edgekd.json").read_text())
    assert stated["input"]["layout"] == ("NHWC" if own == "tflite" else "NCHW")
    assert stated["model"]["sha256"] == hashlib.sha256((folder / stated["model"]["file"]).read_bytes()).hexdigest()


def for_tensorrt(tmp_path: Path, kind: str = "int8") -> Facts:
    made = facts(tmp_path, kind, formats=("oci",), own="onnx")
    return replace(made, profile={**made.profile, "deploy": {"runtime": "tensorrt"}})


@pytest.mark.parametrize(("kind", "flag"), (("int8", "--int8"), ("float", "--noTF32")))
def test_the_script_that_builds_an_engine(tmp_path: Path, kind: str, flag: str):
    """trtexec runs on NVIDIA's devices alone: a program that writes down how it was called stands in its place."""
    folder = pulled(packed(for_tensorrt(tmp_path, kind), tmp_path / "oci"), tmp_path / "pulled")
    tool = tmp_path / "tool"
    tool.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nfor word; do case $word in --saveEngine=*) echo engine > "${word#*=}";; esac; done\n')
    tool.chmod(0o755)

    def built(**more: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "TRTEXEC": str(tool), **more}
        return subprocess.run(["sh", "build_engine.sh"], cwd=folder, env=environment, capture_output=True, text=True, check=False)

    done = built(BATCH="4")
    assert done.returncode == 0, done.stderr
    shapes = [f"--{which}Shapes=input:4x3x20x20" for which in ("min", "opt", "max")]
    called = ["--onnx=model.onnx", flag, *shapes, "--saveEngine=model.engine.part", "model.engine"]
    assert done.stdout.splitlines() == called
    assert (folder / "model.engine").read_text() == "engine\n" and not (folder / "model.engine.part").exists()
    done = built(TRTEXEC=str(tmp_path / "nowhere"))
    assert done.returncode == 1 and done.stderr.startswith("There is no trtexec here")
    tool.write_text("#!/bin/sh\nexit 3\n")
    (folder / "model.engine").unlink()
    assert built().returncode == 3 and not (folder / "model.engine").exists()
    content = bytearray((folder / "model.onnx").read_bytes())
    content[100] ^= 1
    (folder / "model.onnx").write_bytes(content)
    done = built()
    assert done.returncode == 1 and "take it and this script from the same release" in done.stderr


def test_no_engine_without_tensorrt(tmp_path: Path):
    made = facts(tmp_path, "int8", formats=("oci",), own="onnx")
    assert "build_engine.sh" not in contents(made, made.models["onnx"])


def test_hostile_texts_stay_texts(tmp_path: Path):
    made = facts(tmp_path, "int8", formats=("oci",))
    model = made.models["tflite"]
    labels = ('"""', "a\nb", "\ud800", "$(x)", "\\", "\u2028")
    named = replace(model, heads=(replace(model.heads[0], labels=labels),))
    evil = {"title": "x\ny\0", "license": "a\r\nb"}
    layout = packed(replace(made, models={"tflite": named}, licenses=evil), tmp_path / "oci")
    said = json.loads(skopeo("inspect", f"oci:{layout}:1.4.0"))
    assert said["Labels"]["org.opencontainers.image.licenses"] == "a b"
    folder = pulled(layout, tmp_path / "pulled")
    code = "import edgekd_model, json; print(json.dumps(edgekd_model.LABELS))"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [list(labels)]
    assert (folder / "labels.txt").read_text().splitlines()[1] == "a b"
