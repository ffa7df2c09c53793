"""The borders of a TFLite file, anyone's: from the integers that its first kernel reads to what the file itself takes, and back.

A converter may leave a QUANTIZE behind the input and a DEQUANTIZE before the output, or have uint8 there. The integers within are the same.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekd.errors import InputError
from edgekd.quant.outputs import joined

#: The named metadata of files that edgekd exported, which take any batch.
METADATA_NAME = b"edgekd"
#: Operators whose output keeps the batch that the file states, whatever enters.
FIXED_BATCH = (schema.BuiltinOperator.SLICE, schema.BuiltinOperator.TRANSPOSE_CONV)
_DTYPES = {
    schema.TensorType.FLOAT32: np.dtype(np.float32),
    schema.TensorType.UINT8: np.dtype(np.uint8),
    schema.TensorType.INT8: np.dtype(np.int8),
    schema.TensorType.INT16: np.dtype(np.int16),
    schema.TensorType.INT32: np.dtype(np.int32),
    schema.TensorType.INT64: np.dtype(np.int64),
}


@dataclass(frozen=True)
class Side:
    """The file has ``outer`` at this border, its kernels have ``inner``; where those are float and integer, ``scale`` and ``zero``."""

    outer: np.dtype
    inner: np.dtype
    scale: float = 1.0
    zero: int = 0

    def enter(self, x: np.ndarray) -> np.ndarray:
        if self.outer == self.inner:
            return x
        if self.outer == np.uint8:
            return x.view(np.uint8) ^ np.uint8(128)
        return (x.astype(np.float32) - np.float32(self.zero)) * np.float32(self.scale)

    def leave(self, y: np.ndarray) -> np.ndarray:
        """Exactly: a dequantized value lies on the grid that it came from."""
        if self.outer == self.inner:
            return y
        if self.outer == np.uint8:
            return (y ^ np.uint8(128)).view(np.int8)
        limits = np.iinfo(self.inner)
        return np.clip(np.rint(y / np.float32(self.scale)) + self.zero, limits.min, limits.max).astype(self.inner)


@dataclass(frozen=True)
class TFLiteBorder:
    """``batches``: the file says that it takes more than one sample at a time."""

    input: Side
    outputs: tuple[Side, ...]
    batches: bool

    def leave(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """What the file answers, output by output, as its kernels have it; of several one after the other."""
        return joined([side.leave(y) for side, y in zip(self.outputs, outputs, strict=True)])


def border_of(content: bytes) -> TFLiteBorder:
    """Of a file with one input. Raises InputError where its offsets lead nowhere, which no file has that LiteRT has loaded."""
    try:
        return _border_of(content)
    except (struct.error, TypeError, AttributeError, ValueError, LookupError) as error:
        raise InputError(f"damaged: {error}", where="the model's file", expected="a whole TFLite file") from error


def _border_of(content: bytes) -> TFLiteBorder:
    model: Any = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    first = graph.Inputs(0)
    last = [graph.Outputs(i) for i in range(graph.OutputsLength())]
    inner_first, inner_last = first, {number: number for number in last}
    readers, fixed = 0, False
    for i in range(graph.OperatorsLength()):
        op = graph.Operators(i)
        code = model.OperatorCodes(op.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        fixed |= kind in FIXED_BATCH
        if first in (op.Inputs(j) for j in range(op.InputsLength())):
            readers += 1
            inner_first = op.Outputs(0) if kind == schema.BuiltinOperator.QUANTIZE and readers == 1 else first
        converts = kind in (schema.BuiltinOperator.DEQUANTIZE, schema.BuiltinOperator.QUANTIZE)
        if converts and op.OutputsLength() and op.Outputs(0) in inner_last:
            inner_last[op.Outputs(0)] = op.Inputs(0)
    signature = graph.Tensors(first)
    dynamic = signature.ShapeSignatureLength() > 0 and signature.ShapeSignature(0) == -1
    ours = any(model.Metadata(i).Name() == METADATA_NAME for i in range(model.MetadataLength()))
    outputs = tuple(_side(graph, outer, inner_last[outer]) for outer in last)
    return TFLiteBorder(_side(graph, first, inner_first), outputs, (dynamic or ours) and not fixed)


def _side(graph: Any, outer: int, inner: int) -> Side:
    a, b = _dtype(graph, outer), _dtype(graph, inner)
    if a == np.uint8:
        b = np.dtype(np.int8)  # kernels in uint8 are those in int8, shifted
    if a.kind != "f" or b.kind != "i" or a == b:
        return Side(a, b if a == np.uint8 else a)
    quantization = graph.Tensors(inner).Quantization()
    zero = quantization.ZeroPoint(0) if quantization.ZeroPointLength() else 0
    return Side(a, b, float(quantization.Scale(0)), int(zero))


def _dtype(graph: Any, number: int) -> np.dtype:
    return _DTYPES.get(graph.Tensors(number).Type(), np.dtype(np.float32))
