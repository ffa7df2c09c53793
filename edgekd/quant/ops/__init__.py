"""The operators of a QuantGraph: frozen, validated when made, with TFLite's meaning in channels-last terms.

``inputs`` and ``outputs`` are names of tensors. Padding is explicit: (top, bottom, left, right), filled with real zero.
A fused ``activation`` clamps in the output's own scale. Axes count the batch as 0. SiLU is Logistic and Mul, LayerNorm is Mean,
SquaredDifference, Mean, Rsqrt, Mul and Add: every value in between has a scale of its own, so a graph that holds them holds those.
"""

from __future__ import annotations

from edgekd.quant.ops.base import Activation, Op, Padding, Pair
from edgekd.quant.ops.elementwise import (
    Add,
    Dequantize,
    Gelu,
    HardSwish,
    LeakyRelu,
    Logistic,
    Maximum,
    Minimum,
    Mul,
    PRelu,
    Quantize,
    Relu,
    Rsqrt,
    Softmax,
    SquaredDifference,
    Sub,
    Tanh,
)
from edgekd.quant.ops.shape import Concat, Gather, Pad, Reshape, Slice, Transpose
from edgekd.quant.ops.weighted import BatchMatMul, Conv2D, DepthwiseConv2D, FullyConnected, TransposeConv2D
from edgekd.quant.ops.windows import AveragePool2D, MaxPool2D, Mean, ReduceMax, ResizeBilinear, ResizeNearest, Sum

#: Operators by name, for reading a graph from disk.
OPS: dict[str, type[Op]] = {
    cls.__name__: cls
    for cls in (
        Conv2D, DepthwiseConv2D, TransposeConv2D, FullyConnected, BatchMatMul,
        AveragePool2D, MaxPool2D, Mean, Sum, ReduceMax, ResizeNearest, ResizeBilinear,
        Add, Sub, Mul, SquaredDifference, Maximum, Minimum,
        Relu, LeakyRelu, PRelu, HardSwish, Gelu, Rsqrt, Softmax, Logistic, Tanh, Quantize, Dequantize,
        Reshape, Transpose, Concat, Slice, Gather, Pad,
    )
}  # fmt: skip

#: Operators with a weight (input 1) and perhaps a bias (input 2) that are constants, not activations.
WEIGHTED: tuple[type[Op], ...] = (Conv2D, DepthwiseConv2D, TransposeConv2D, FullyConnected)

#: Operators whose output must carry the scale of their input (all inputs, where there are several activations).
SHARES_SCALE: tuple[type[Op], ...] = (
    AveragePool2D, MaxPool2D, ReduceMax, ResizeNearest, ResizeBilinear, Maximum, Minimum, Reshape, Transpose, Concat, Slice, Gather, Pad,
)  # fmt: skip

__all__ = [
    "OPS", "SHARES_SCALE", "WEIGHTED", "Activation", "Add", "AveragePool2D", "BatchMatMul", "Concat", "Conv2D", "DepthwiseConv2D",
    "Dequantize", "FullyConnected", "Gather", "Gelu", "HardSwish", "LeakyRelu", "Logistic", "MaxPool2D", "Maximum", "Mean", "Minimum",
    "Mul", "Op", "PRelu", "Pad", "Padding", "Pair", "Quantize", "ReduceMax", "Relu", "Reshape", "ResizeBilinear", "ResizeNearest", "Rsqrt",
    "Slice", "Softmax", "SquaredDifference", "Sub", "Sum", "Tanh", "Transpose", "TransposeConv2D",
]  # fmt: skip
