"""The border of an ONNX file that edgekd did not write, read off the file: what a device would feed and read is what the waist has there.

A QuantizeLinear that alone reads the input, and a DequantizeLinear that makes the output, mean integers outside; uint8 is int8, 128 lower.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, numpy_helper

from edgekd.errors import InputError
from edgekd.runtimes.border import Border, Exit

_P = TensorProto
WHOLE: dict[int, str] = {_P.INT8: "int8", _P.UINT8: "uint8", _P.INT32: "int32", _P.INT64: "int64"}


def border_of(path: Path) -> Border:
    """Of a file that onnxruntime has loaded. Raises InputError for several inputs, or sizes that are free but for the batch."""
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (OSError, DecodeError) as error:
        raise InputError(f"not an ONNX file ({error})", where=str(path), expected="a whole ONNX file") from error
    constants = {t.name: t for t in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or not graph.output:
        raise InputError(f"{len(inputs)} inputs, {len(graph.output)} outputs", where=str(path), expected="one input")
    element = inputs[0].type.tensor_type.elem_type
    shape = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim][1:]
    if not all(0 < d < 1 << 20 for d in shape) or math.prod(shape) > 1 << 28:
        raise InputError(
            f"input of shape {shape}", where=str(path), expected="fixed sizes but for the batch", mend="export with fixed sizes"
        )
    sample = (*shape[1:], shape[0]) if len(shape) == 3 else tuple(shape)
    readers = [node for node in graph.node if inputs[0].name in node.input]
    kind = "DequantizeLinear" if element in WHOLE else "QuantizeLinear"
    entry = _parameters(readers[0], constants) if len(readers) == 1 and readers[0].op_type == kind else None
    exits = tuple(_exit(graph, value.name, constants) for value in graph.output)
    held = WHOLE.get(element, "float32")
    feeds = {"uint8": "int8", "int64": "int32"}.get(held, held if held != "float32" else entry[2] if entry else "float32")
    first = entry or (None, 0, "")
    return Border(sample, first[0], first[1], exits, feeds, held)


def _exit(graph: onnx.GraphProto, name: str, constants: dict[str, onnx.TensorProto]) -> Exit:
    makers = [node for node in graph.node if name in node.output]
    found = _parameters(makers[0], constants) if makers and makers[0].op_type == "DequantizeLinear" else None
    return Exit(*(found or (None, 0, "float32")), name)


def _parameters(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> tuple[np.float32, int, str] | None:
    """(scale, zero point, integers) of a Quantize or Dequantize per tensor, as int8 or int16."""
    if any(name not in constants for name in node.input[1:]):
        return None
    values = [numpy_helper.to_array(constants[name]) for name in node.input[1:]]
    if values[0].size != 1 or values[0].dtype != np.float32:
        return None
    zero = values[1] if len(values) > 1 else np.zeros(1, np.uint8)
    shift = {"uint8": 128, "uint16": 32768}.get(str(zero.dtype), 0)
    integers = str(zero.dtype).removeprefix("u")
    return (values[0].reshape(-1)[0], int(zero.reshape(-1)[0]) - shift, integers) if integers in ("int8", "int16") else None
