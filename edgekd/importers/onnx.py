"""ONNX → QuantGraph: QDQ and QLinear models become integers, everything else real values.

    file ─► onnx_file ─► onnx_qlinear, onnx_patterns ─► onnx_draft, by READ ─► onnx_fuse, onnx_absorb ─► channels_last
            plain data   one form for all               real operators, Q, DQ  integers

Kept exactly: weights, scales, zero points (uint8 becomes int8, 128 lower), int32 biases. Said in
``metadata["notes"]``: biases that were rounded, outputs that are rounded twice, operators that stay float. The batch
becomes 1. Nothing of onnx's or onnxruntime's own machinery runs.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto

from edgekd.errors import InputError
from edgekd.importers import onnx_elementwise, onnx_shape, onnx_weighted
from edgekd.importers.onnx_absorb import absorb, islands
from edgekd.importers.onnx_draft import Draft
from edgekd.importers.onnx_file import Model, Node, Value, load
from edgekd.importers.onnx_fold import fold
from edgekd.importers.onnx_fuse import fuse_integers, fuse_real
from edgekd.importers.onnx_net import Net
from edgekd.importers.onnx_patterns import recognize
from edgekd.importers.onnx_qlinear import expand
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.passes.channels_last import channels_last

KEY = "edgekd"
READ: Mapping[str, Callable[[Draft, Node], None]] = {**onnx_weighted.READ, **onnx_elementwise.READ, **onnx_shape.READ}
#: Element type of an input → dtype of its tensor.
INPUTS = {
    TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float32", TensorProto.DOUBLE: "float32", TensorProto.BFLOAT16: "float32",
    TensorProto.INT8: "int8", TensorProto.UINT8: "int8", TensorProto.INT16: "int16", TensorProto.UINT16: "int16",
    TensorProto.INT32: "int32", TensorProto.INT64: "int32",
}  # fmt: skip
#: What exporters append to the name of a value that they quantize.
SUFFIX = re.compile(r"(/q|/real|/value|_QuantizeLinear_Output|_quantized|_DequantizeLinear_Output|\.\d+)$")
#: What hostile attributes raise in NumPy and in our own arithmetic.
MALFORMED = (ValueError, TypeError, IndexError, KeyError, OverflowError, ZeroDivisionError, AttributeError, AssertionError, MemoryError)


def read(path: Path) -> QuantGraph:
    """The graph of ``path``, channels last. Raises InputError, naming the operator, for what is damaged, hostile or not supported."""
    graph = read_channels_first(path)
    try:
        return channels_last(graph)
    except MALFORMED as error:
        raise InputError(
            f"its layout cannot be turned ({error!r})", where=str(path), expected="a network of images, signals or vectors"
        ) from error


def read_channels_first(path: Path) -> QuantGraph:
    """As ``read``, with images as ONNX has them: [N, C, H, W]."""
    model = recognize(expand(load(path)))
    draft = Draft(model)
    for value in model.inputs:
        _input(draft, value)
    for node in model.nodes:
        _read(draft, node)
    net = Net(draft.tensors, draft.ops, [draft.values[v.name] for v in model.inputs], [_output(draft, name) for name in model.outputs])
    net.notes.update(draft.notes)
    net.drop_unread()
    fuse_real(net)
    absorb(net)
    _borders(net)
    fuse_integers(net)
    islands(net)
    net.drop_unread()
    return _graph(net, model, path)


def _input(draft: Draft, value: Value) -> None:
    where = f"input {value.name!r}"
    if value.element not in INPUTS:
        raise InputError(f"element type {value.element}", where=where, expected="real values, or integers of 8 to 64 bits")
    shape = (1 if value.shape and value.shape[0] is None else value.shape[0] if value.shape else 1, *value.shape[1:])
    if any(d is None for d in shape) or not value.shape:
        raise InputError(
            f"shape {list(value.shape)}",
            where=where,
            expected="fixed sizes but for the batch",
            mend="export with fixed sizes, or set them in the file",
        )
    if shape[0] != 1:
        raise InputError(f"a batch of {shape[0]}", where=where, expected="a batch of 1, or a free one", mend="export with a batch of 1")
    draft.tensors[value.name] = Tensor(value.name, INPUTS[value.element], tuple(int(d or 1) for d in shape))  # type: ignore[arg-type]
    draft.values[value.name] = value.name


def _read(draft: Draft, node: Node) -> None:
    try:
        if not _folded(draft, node):
            if node.kind not in READ:
                raise node.refuse("is not supported", ", ".join(sorted(READ)))
            READ[node.kind](draft, node)
    except MALFORMED as error:
        raise node.refuse(f"is malformed ({type(error).__name__}: {error})", "an operator as the ONNX specification has it") from error


def _folded(draft: Draft, node: Node) -> bool:
    """Whether the node was computed of constants. What dequantizes or turns a quantized weight keeps its integers instead."""
    if node.kind == "Shape" and draft.has(node, 0) and node.inputs[0] in draft.values:
        shape = np.array(draft.tensor(node, 0).shape, np.int64)
        draft.constants[node.outputs[0]] = shape[node.attributes.get("start", 0) : node.attributes.get("end", len(shape))]
        return True
    quantized = any(name in draft.values for name in node.inputs[:1])
    if node.kind == "DequantizeLinear" or (quantized and node.kind in ("Transpose", "Identity", "Gather", "Cast")):
        return False
    inputs = [draft.array(node, at) for at in range(len(node.inputs))]
    if any(x is None and draft.has(node, at) for at, x in enumerate(inputs)) or not node.outputs:
        return False
    results = fold(node, inputs, draft.opset)
    if results is None:
        return False
    for name, array in zip(node.outputs, results, strict=False):
        draft.constants[name] = array
    return True


def _output(draft: Draft, name: str) -> str:
    if name not in draft.values or draft.tensors[draft.values[name]].is_constant:
        raise InputError("no operator computes it", where=f"output {name!r}", expected="an output that depends on the input")
    return draft.values[name]


def _borders(net: Net) -> None:
    """A Quantize that alone reads an input, and a Dequantize that makes an output, are left to whoever feeds and reads the graph."""
    for at, name in enumerate(net.inputs):
        after = net.sole_reader(name)
        if isinstance(after, ops.Quantize):
            net.remove(net.maker[after.outputs[0]])
            net.inputs[at] = after.outputs[0]
    for at, name in enumerate(net.outputs):
        before = net.producer(name)
        if isinstance(before, ops.Dequantize):
            net.outputs[at] = before.inputs[0]
    net.drop_unread()


def _graph(net: Net, model: Model, path: Path) -> QuantGraph:
    if len(set(net.outputs)) != len(net.outputs):
        raise InputError("two outputs are one tensor", where=str(path), expected="each once")
    ordered, tensors = net.ordered(), net.used_tensors()
    for tensor in tensors.values():
        if tensor.dtype in ("int8", "int16") and tensor.quantization is None:
            raise InputError(
                f"{tensor.name!r} holds integers, and nothing states their scale", where=str(path), expected="a DequantizeLinear"
            )
    for op in ordered:
        shape = tensors[op.outputs[0]].shape
        if not shape or shape[0] != 1:
            raise InputError(
                f"makes {list(shape)}, without the batch", where=f"{type(op).__name__} {op.name}", expected="the batch (1) first"
            )
    new = _names(tensors)
    tensors = {new[name]: replace(tensor, name=new[name]) for name, tensor in tensors.items()}
    renamed = tuple(replace(op, inputs=tuple(new[n] for n in op.inputs), outputs=tuple(new[n] for n in op.outputs)) for op in ordered)
    # An operator between Dequantize and Quantize that computes real values is an island; weights that went real are its cost.
    metadata = {**_metadata(model), "notes": list(net.notes)} if net.notes else _metadata(model)
    inputs, outputs = (tuple(new[name] for name in names) for names in (net.inputs, net.outputs))
    return QuantGraph(model.name or path.stem, "channels_first", tensors, renamed, inputs, outputs, metadata)


def _names(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Names without what exporters appended, where that leaves them different."""
    short = {name: name for name in tensors}
    for name in tensors:
        while SUFFIX.search(short[name]) and short[name] != (cut := SUFFIX.sub("", short[name])) and cut:
            short[name] = cut
    count, whole = Counter(short.values()), set(tensors)
    return {name: cut if count[cut] == 1 and (cut == name or cut not in whole) else name for name, cut in short.items()}


def _metadata(model: Model) -> dict[str, Any]:
    """What edgekd wrote into the file, without the facts about its border; and where it comes from."""
    try:
        found = json.loads(model.properties.get(KEY, "{}"))
    except (ValueError, RecursionError):
        found = {}
    metadata: dict[str, Any] = found if isinstance(found, dict) else {}
    for side in ("input", "output"):
        stated = metadata.pop(side, None)
        left = (
            {k: v for k, v in stated.items() if k not in ("name", "dtype", "shape", "layout", "scale", "zero_point")}
            if isinstance(stated, dict)
            else {}
        )
        if left:
            metadata[side] = left
    metadata.pop("notes", None)
    stated = metadata.pop("outputs", None)
    if isinstance(stated, list) and stated and isinstance(stated[0], dict) and "value" in stated[0]:
        metadata["output"] = {"value": stated[0]["value"]}  # of every output alike
    if KEY not in model.properties:
        metadata["source"] = {"format": "onnx", "producer": model.producer, "opset": model.opset}
    return metadata
