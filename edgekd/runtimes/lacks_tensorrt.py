"""What TensorRT does not compute in int8: its documentation's words, since it runs on no host without its GPU.

TensorRT Developer Guide 10.x, "Working with Quantized Types" and "Explicit Quantization": symmetric quantization only, so zero points
are 0; int8 activations, int8 or (weight-only) int4 weights; per-tensor activations, per-tensor or per-channel weights. Layers named there
as computing in int8 between DequantizeLinear and QuantizeLinear: convolution, deconvolution, matrix multiplication, pooling, element-wise
sums, resizing, and those that only move values. Everything else is computed in float between the two: slower, not refused.
"""

from __future__ import annotations

from pathlib import Path

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.runtimes.lacks import Lack, Survey

#: Computed in int8, or commuted with quantization.
INT8: tuple[type[ops.Op], ...] = (
    ops.Conv2D, ops.DepthwiseConv2D, ops.TransposeConv2D, ops.FullyConnected, ops.BatchMatMul, ops.AveragePool2D, ops.MaxPool2D, ops.Mean,
    ops.Add, ops.Relu, ops.ResizeNearest, ops.ResizeBilinear, ops.Reshape, ops.Transpose, ops.Concat, ops.Slice, ops.Gather, ops.Pad,
    ops.Quantize, ops.Dequantize,
)  # fmt: skip


def survey(graph: QuantGraph, tflite: Path | None = None) -> Survey:
    """Operators that it refuses under their scheme, and those that it computes in float."""
    found: list[Lack] = []
    for op in graph.ops:
        kind = type(op).__name__
        activations = [t for name in (*op.inputs, *op.outputs) if not (t := graph.tensor(name)).is_constant]
        integer = [t for t in activations if t.dtype in ("int8", "int16")]
        uneven = [t.name for t in integer if t.quantization is not None and t.quantization.zero_point.any()]
        if any(t.dtype == "int16" for t in integer):
            found.append(Lack(op.name, kind, "no int16 activations"))
        elif uneven:
            found.append(Lack(op.name, kind, f"symmetric scales only: the zero point of {uneven[0]!r} is not 0"))
        elif integer and not isinstance(op, INT8):
            found.append(Lack(op.name, kind, "computed in float, between DequantizeLinear and QuantizeLinear"))
    return Survey("TensorRT Developer Guide 10.x, explicit quantization", tuple(found))
