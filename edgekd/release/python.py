"""The accessor in Python, for servers and fleets: one file beside the model, and test vectors as the model's file is fed."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph
from edgekd.release import archive
from edgekd.release.contract import said
from edgekd.release.facts import Border, Facts, Model, Vectors
from edgekd.release.template import render

ACCESSOR, VECTORS = "edgekd_model.py", "vectors.npz"
#: A bundle carries test vectors up to this size, and one at least.
VECTOR_BYTES = 1 << 20
_CHANNELS_FIRST = ("onnx", "openvino")


def channels_first(facts: Facts, model: Model) -> bool:
    """Whether the model's file has its input channels first, where the graph has it channels last."""
    return model.format in _CHANNELS_FIRST and facts.graph.layout == "channels_last" and len(model.input.shape) == 4


def accessor(facts: Facts, model: Model, vectors: Vectors, files: Mapping[str, bytes]) -> bytes:
    """The accessor's text. ``files`` are the model's, by their paths from the accessor's folder, the one that is opened first."""
    entry = facts.graph.tensor(facts.graph.inputs[0])
    made = said(facts, model)
    size = list(entry.shape[1:])
    text = render(
        "python/edgekd_model.py",
        **{
            **made,
            "size": size,
            "picture": made["pixels"] and not made["sound"] and len(size) == 3 and size[2] in (1, 3),
            "file": next(iter(files)),
            "sums": {name: archive.sha256(content) for name, content in files.items()},
            "exact": vectors.exact,
            "channels_first": channels_first(facts, model),
            "border": _literal,
        },
    )
    return text.encode()


def packed(facts: Facts, model: Model, vectors: Vectors) -> tuple[bytes, int]:
    """Test vectors as the model's file takes them in and gives them out: ``x`` [N, …], ``expected_0`` [N, classes], …; and how many.

    Raises InputError where they are not of that model.
    """
    graph = facts.graph
    x = _held(vectors.x, graph, graph.inputs[0], model.input)
    if channels_first(facts, model):
        x = x.transpose(0, 3, 1, 2)
    heads = zip(vectors.outputs, graph.outputs, model.heads, strict=True)
    outputs = [_held(out, graph, name, head.output) for out, name, head in heads]
    one = x[0].nbytes + sum(out[0].nbytes for out in outputs)
    count = max(1, min(len(x), VECTOR_BYTES // one))
    arrays = {"x": x[:count], **{f"expected_{at}": out[:count] for at, out in enumerate(outputs)}}
    return archive.npz(arrays), count


def _held(values: np.ndarray, graph: QuantGraph, name: str, border: Border) -> np.ndarray:
    """``values`` of the graph's tensor ``name`` as the file holds them: real where it has no integers."""
    tensor = graph.tensor(name)
    if prod(values.shape[1:]) != prod(border.shape):
        raise InputError(f"{list(values.shape[1:])}", where="test vectors", expected=f"{list(border.shape[1:])}")
    if border.dtype == "float32" and values.dtype.kind in "iu" and tensor.quantization is not None:
        scale, zero = tensor.quantization.single
        return (values.astype(np.float32) - np.float32(zero)) * np.float32(scale)
    if border.dtype != "float32" and values.dtype != border.dtype:
        raise InputError(f"{values.dtype}", where="test vectors", expected=border.dtype)
    return values.astype(border.dtype)


def _literal(border: Mapping[str, Any]) -> str:
    """A border as the accessor states it."""
    scale = "None" if border["dtype"].startswith("float") else border["scale"]
    return f'("{border["dtype"]}", {tuple(border["shape"])}, {scale}, {border["zero_point"]})'
