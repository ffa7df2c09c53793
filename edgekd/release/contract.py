"""What every bundle says of a model: its contract as JSON, its border as accessors state it; and what is checked before it is packed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.errors import InputError
from edgekd.quant.grid import IMAGE_INPUT, PIXELS
from edgekd.release.facts import Border, Facts, Model

#: Name of the contract in a bundle.
CONTRACT = "edgekd.json"
#: What runtimes take in and give out among what graphs have (float16 graphs compute in float32 there).
DTYPES = ("int8", "int16", "float32")


def checked(model: Model, dtypes: Iterable[str] = DTYPES) -> bytes:
    """The content of the model's file. Raises InputError where it has changed, or where accessors cannot state its border."""
    content = model.path.read_bytes()
    if hashlib.sha256(content).hexdigest() != model.sha256:
        raise InputError("is another file than the one that was verified", where=str(model.path), expected=f"SHA-256 {model.sha256}")
    for border in (model.input, *(head.output for head in model.heads)):
        if border.dtype not in dtypes:
            raise InputError(f"{border.name} is {border.dtype}", where=str(model.path), expected=", ".join(dtypes))
    for head in model.heads:
        if len(head.labels) != prod(head.output.shape):
            raise InputError(
                f"{len(head.labels)} labels for the output {head.output.name} {list(head.output.shape)}",
                where=str(model.path),
                expected="a label for each value",
            )
    return content


def document(facts: Facts, model: Model, file: str, tested: Mapping[str, Any], layout: str = "NHWC") -> dict[str, Any]:
    """What edgekd.json says: which release this is, what goes in and what comes out. ``file`` is the model's in the bundle, ``tested`` says
    what its test vectors are."""
    return {
        "name": facts.name,
        "artifact": facts.artifact,
        "group": facts.group,
        "version": facts.version,
        "target": facts.target,
        "model": {"file": file, "sha256": model.sha256, "bytes": model.path.stat().st_size},
        "input": {**_border(model.input), "value": value(facts), "layout": layout},
        "outputs": [
            {**_border(head.output), "task": head.task, "value": answers(facts), "labels": list(head.labels)} for head in model.heads
        ],
        "vectors": dict(tested),
        **({"front_end": dict(facts.front_end)} if facts.front_end else {}),
    }


def encoded(made: Mapping[str, Any]) -> bytes:
    return (json.dumps(made, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode("utf-8", "replace")


def write(files: Mapping[str, bytes], out: Path, executable: Iterable[str] = ()) -> tuple[str, ...]:
    """Write ``files`` below ``out``; their names, sorted."""
    for name, content in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for name in executable:
        (out / name).chmod(0o755)
    return tuple(sorted(files))


def said(facts: Facts, model: Model) -> dict[str, Any]:
    """Values of the accessors' templates. Scales are the float32 values, in the shortest decimals that give them back as float64 too."""
    _, *size = model.input.shape
    pixels = value(facts) == PIXELS
    sound = facts.front_end.get("kind", "pixels") != "pixels"
    return {
        "facts": facts,
        "sha256": model.sha256,
        "input": stated(model.input),
        "heads": [{**stated(head.output), "task": head.task, "labels": head.labels} for head in model.heads],
        "pixels": pixels,
        "plain": (model.input.scale, model.input.zero_point) == IMAGE_INPUT.single and model.input.dtype == "int8",
        "picture": pixels and not sound and len(size) == 3 and size[2] in (1, 3),
        "sound": sound,
        "size": size,
    }


def stated(border: Border) -> dict[str, Any]:
    low, high = {"int8": (-128, 127), "int16": (-32768, 32767)}.get(border.dtype, (0, 0))
    return {
        "name": border.name,
        "dtype": border.dtype,
        "shape": border.shape,
        "size": prod(border.shape),
        "bytes": prod(border.shape) * np.dtype(border.dtype).itemsize,
        "scale": repr(float(np.float32(border.scale or 0.0))),
        "zero_point": border.zero_point or 0,
        "low": low,
        "high": high,
    }


def samples(values: np.ndarray, border: Border) -> list[bytes]:
    """Each sample of ``values`` [N, …] as its tensor's bytes, little-endian. Raises InputError where they are not of that border."""
    if values.dtype != border.dtype or prod(values.shape[1:]) != prod(border.shape):
        raise InputError(
            f"{values.dtype} {list(values.shape[1:])}", where="test vectors", expected=f"{border.dtype} {list(border.shape[1:])}"
        )
    little = values.astype(values.dtype.newbyteorder("<"))
    return [sample.tobytes() for sample in little]


def value(facts: Facts) -> str:
    """What the model's input means, in words; "" where nobody says."""
    known = facts.graph.metadata.get("input")
    return str(known.get("value", "")) if isinstance(known, Mapping) else ""


def answers(facts: Facts) -> str:
    return "probabilities" if facts.probabilities else "logits"


def one_line(text: str) -> str:
    """``text`` on one line, of what can be printed."""
    return " ".join("".join(c if c.isprintable() and not 0xD800 <= ord(c) < 0xE000 else " " for c in text).split())


def _border(border: Border) -> dict[str, Any]:
    return {
        "name": border.name,
        "dtype": border.dtype,
        "shape": list(border.shape),
        "scale": border.scale,
        "zero_point": border.zero_point,
    }
