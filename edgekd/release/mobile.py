"""What the bundles of phones share: the model's bytes, its contract as JSON, test vectors as bytes, and what their accessors state."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from edgekd.errors import InputError
from edgekd.quant.grid import IMAGE_INPUT, PIXELS
from edgekd.release.facts import Border, Facts, Model, Vectors

#: Names of the files that an accessor reads, in the assets of Android and in the resources of Swift.
MODEL, CONTRACT, VECTORS = "model.tflite", "edgekd.json", "vectors.bin"
#: What LiteRT's interpreters take in and give out among what graphs have (float16 graphs compute in float32 there).
DTYPES = ("int8", "int16", "float32")
#: An app carries test vectors up to this size, and one at least.
VECTOR_BYTES = 256 * 1024


@dataclass(frozen=True, eq=False)
class Payload:
    """``files``: what an accessor reads, by name. ``said``: what its template states of them."""

    model: Model
    files: Mapping[str, bytes]
    said: Mapping[str, Any]


def payload(facts: Facts, format: str) -> Payload:
    """The TFLite file of a release with what belongs to it in ``format``.

    Raises InputError where accessors cannot state it, or the file has changed.
    """
    model = facts.models["tflite"]
    content = model.path.read_bytes()
    if hashlib.sha256(content).hexdigest() != model.sha256:
        raise InputError("is another file than the one that was verified", where=str(model.path), expected=f"SHA-256 {model.sha256}")
    for border in (model.input, *(head.output for head in model.heads)):
        if border.dtype not in DTYPES:
            raise InputError(f"{border.name} is {border.dtype}", where=str(model.path), expected=", ".join(DTYPES))
    for head in model.heads:
        if len(head.labels) != prod(head.output.shape):
            raise InputError(
                f"{len(head.labels)} labels for the output {head.output.name} {list(head.output.shape)}",
                where=str(model.path),
                expected="a label for each value",
            )
    vectors = facts.vectors_for(format)
    packed, count = packed_vectors(vectors, model)
    said = {**_said(facts, model), "vectors": count, "exact": vectors.exact}
    tested = {"count": count, "exact": vectors.exact}
    document = json.dumps(contract(facts, model, tested), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    return Payload(model, {MODEL: content, CONTRACT: document.encode(), VECTORS: packed}, said)


def contract(facts: Facts, model: Model, tested: Mapping[str, Any]) -> dict[str, Any]:
    """What edgekd.json says: which release this is, what goes in and what comes out."""
    return {
        "name": facts.name,
        "artifact": facts.artifact,
        "group": facts.group,
        "version": facts.version,
        "target": facts.target,
        "model": {"file": MODEL, "sha256": model.sha256, "bytes": model.path.stat().st_size},
        "input": {**_border(model.input), "value": _value(facts), "layout": "NHWC"},
        "outputs": [
            {**_border(head.output), "task": head.task, "value": _answers(facts), "labels": list(head.labels)} for head in model.heads
        ],
        "vectors": {
            **tested,
            "file": VECTORS,
            "layout": "a sample's input, then its outputs in order, little-endian; then the next sample",
        },
        **({"front_end": dict(facts.front_end)} if facts.front_end else {}),
    }


def packed_vectors(vectors: Vectors, model: Model) -> tuple[bytes, int]:
    """Test vectors as the interpreter's buffers have them, little-endian, sample by sample; and how many."""
    x = _bytes(vectors.x, model.input)
    outputs = [_bytes(out, head.output) for out, head in zip(vectors.outputs, model.heads, strict=True)]
    samples = [x[n] + b"".join(out[n] for out in outputs) for n in range(len(x))]
    count = max(1, min(len(samples), VECTOR_BYTES // len(samples[0])))
    return b"".join(samples[:count]), count


def _bytes(values: np.ndarray, border: Border) -> list[bytes]:
    """Each sample of ``values`` [N, …] as its tensor's bytes."""
    if values.dtype != border.dtype or prod(values.shape[1:]) != prod(border.shape):
        raise InputError(
            f"{values.dtype} {list(values.shape[1:])}", where="test vectors", expected=f"{border.dtype} {list(border.shape[1:])}"
        )
    little = values.astype(values.dtype.newbyteorder("<"))
    return [sample.tobytes() for sample in little]


def _said(facts: Facts, model: Model) -> dict[str, Any]:
    """Values of the accessors' templates. Scales are the float32 values, in the shortest decimals that give them back as float64 too."""
    _, *size = model.input.shape
    pixels = _value(facts) == PIXELS
    sound = facts.front_end.get("kind", "pixels") != "pixels"
    return {
        "facts": facts,
        "sha256": model.sha256,
        "input": _stated(model.input),
        "heads": [{**_stated(head.output), "task": head.task, "labels": head.labels} for head in model.heads],
        "pixels": pixels,
        "plain": (model.input.scale, model.input.zero_point) == IMAGE_INPUT.single and model.input.dtype == "int8",
        "picture": pixels and not sound and len(size) == 3 and size[2] in (1, 3),
        "sound": sound,
        "size": size,
    }


def _stated(border: Border) -> dict[str, Any]:
    low, high = {"int8": (-128, 127), "int16": (-32768, 32767)}.get(border.dtype, (0, 0))
    return {
        "dtype": border.dtype,
        "shape": border.shape,
        "size": prod(border.shape),
        "bytes": prod(border.shape) * np.dtype(border.dtype).itemsize,
        "scale": repr(float(np.float32(border.scale or 0.0))),
        "zero_point": border.zero_point or 0,
        "low": low,
        "high": high,
    }


def _border(border: Border) -> dict[str, Any]:
    return {
        "name": border.name,
        "dtype": border.dtype,
        "shape": list(border.shape),
        "scale": border.scale,
        "zero_point": border.zero_point,
    }


def _value(facts: Facts) -> str:
    """What the model's input means, in words; "" where nobody says."""
    said = facts.graph.metadata.get("input")
    return str(said.get("value", "")) if isinstance(said, Mapping) else ""


def _answers(facts: Facts) -> str:
    return "probabilities" if facts.probabilities else "logits"
