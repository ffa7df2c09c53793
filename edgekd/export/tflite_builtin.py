"""What the tables of TFLite operators share: how an operator is described to the file writer, and how one is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph

CODE = schema.BuiltinOperator
FUSED = {
    "none": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}


@dataclass(frozen=True, eq=False)
class Builtin:
    """``constants`` are read after the operator's own inputs, or before them where ``constants_first``; a 0-d one is a fill value in the
    first input's quantization."""

    code: int
    version: int = 1
    options: Any = None
    constants: tuple[np.ndarray, ...] = ()
    constants_first: bool = False


def is_integer(name: str, graph: QuantGraph) -> bool:
    """Whether a tensor is a quantized activation."""
    return graph.tensor(name).dtype in ("int8", "int16")


def integer_two(op: ops.Op, graph: QuantGraph, sixteen: int = 3) -> int:
    """Most operators took int8 in with their version 2, and int16 with version 3, or ``sixteen``."""
    dtype = graph.tensor(op.inputs[0]).dtype
    return sixteen if dtype == "int16" else 2 if dtype == "int8" else 1


#: Operators of which LiteRT has a kernel for 16-bit activations that the reference foretells.
SIXTEEN: tuple[type[ops.Op], ...] = (
    ops.Conv2D, ops.DepthwiseConv2D, ops.TransposeConv2D, ops.FullyConnected, ops.BatchMatMul,
    ops.Add, ops.Sub, ops.Mul, ops.Maximum, ops.Minimum, ops.AveragePool2D, ops.MaxPool2D, ops.Mean, ops.Sum, ops.ReduceMax,
    ops.Relu, ops.LeakyRelu, ops.Logistic, ops.Tanh, ops.Softmax, ops.Quantize, ops.Dequantize,
    ops.Reshape, ops.Transpose, ops.Concat, ops.Slice, ops.Gather, ops.Pad, ops.ResizeNearest,
)  # fmt: skip


def check_int16(op: ops.Op, graph: QuantGraph) -> None:
    """Raises InputError for 16-bit activations that are not symmetric, or that the operator has no kernel for."""
    for name in (*op.inputs, *op.outputs):
        tensor = graph.tensor(name)
        if tensor.dtype != "int16":
            continue
        if not isinstance(op, SIXTEEN):
            raise refuse(op, graph, f"{type(op).__name__} of int16", ", ".join(cls.__name__ for cls in SIXTEEN))
        if tensor.quantization is None or tensor.quantization.single[1]:
            raise refuse(op, graph, f"{name!r} is int16 without scale, or with a zero point", "a scale and zero point 0")


def refuse(op: ops.Op, graph: QuantGraph, what: str, expected: str) -> InputError:
    return InputError(what, where=f"graph {graph.name}, operator {op.name}", expected=expected)


def check_fixed_scale(op: ops.Op, graph: QuantGraph, fixed: tuple[float, int]) -> None:
    """Raises InputError where an output does not carry the scale and zero point that TFLite prescribes: ``fixed`` for int8."""
    if graph.tensor(op.outputs[0]).dtype == "int16":
        fixed = (1 / 32768, 0)
    quantization = graph.tensor(op.outputs[0]).quantization
    if is_integer(op.outputs[0], graph) and (quantization is None or quantization.single != fixed):
        found = "none" if quantization is None else quantization.single
        raise refuse(op, graph, f"output scale and zero point {found}", f"1/{round(1 / fixed[0])} and {fixed[1]}, as TFLite prescribes")
