"""What TensorFlow Lite Micro keeps in the arena beside activations and scratch: a model of its structures."""

from __future__ import annotations

from collections.abc import Mapping

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.arena_lifetimes import aligned
from edgekd.quant.graph import QuantGraph

# Bytes of TFLM's persistent structures on a 64-bit host, fitted to its recorded allocations (within 32 bytes over 48 student files
# and one chain of each operator): the interpreter with its input and output, each further output (seen with two to six), each of these if
# quantized, each tensor, each operator.
_FIXED, _FURTHER_OUTPUT, _QUANTIZED_BORDER, _TENSOR, _NODE = 648, 72, 32, 24, 64
_OPERATOR: Mapping[type[ops.Op], int] = {
    ops.Conv2D: 108,
    ops.DepthwiseConv2D: 108,
    ops.FullyConnected: 112,
    ops.Add: 72,
    ops.AveragePool2D: 72,
    ops.MaxPool2D: 72,
    ops.Mean: 76,
    ops.Reshape: 40,
    ops.Concat: 88,
    ops.Pad: 64,
    ops.Relu: 32,
    ops.Softmax: 84,
    ops.Logistic: 16,
    # Seen as what each of sixteen more operators takes.
    ops.TransposeConv2D: 124,
    ops.BatchMatMul: 67,
    ops.Sum: 73,
    ops.ReduceMax: 65,
    ops.ResizeNearest: 2,
    ops.ResizeBilinear: 2,
    ops.Sub: 72,
    ops.Mul: 52,
    ops.SquaredDifference: 112,
    ops.Maximum: 0,
    ops.Minimum: 0,
    ops.LeakyRelu: 36,
    ops.PRelu: 32,
    ops.HardSwish: 32,
    ops.Rsqrt: 32,
    ops.Tanh: 16,
    ops.Quantize: 32,
    ops.Dequantize: 32,
    ops.Transpose: 0,
    ops.Slice: 0,
    ops.Gather: 24,
}
#: More of a Softmax of int16: two tables of 513 int16 values.
_TABLES = 2 * aligned(2 * 513)
#: More of a Slice that the file states as STRIDED_SLICE.
_STRIDED, _STRIDED_RANK = 120, 4


def persistent_bytes(graph: QuantGraph) -> int:
    """What TFLM keeps in the arena beside the activations, predicted: its structures, and two int32 for each output channel.

    Raises InputError for an operator that TFLM has not.
    """
    borders = sum(graph.tensor(name).quantization is not None for name in (*graph.inputs, *graph.outputs))
    used = {name for op in graph.ops for name in (*op.inputs, *op.outputs)} | set(graph.inputs)
    arguments = {argument for op in graph.ops for argument in _arguments(graph, op)}
    total = _FIXED + _QUANTIZED_BORDER * borders + _TENSOR * (len(used) + len(arguments)) + _NODE * len(graph.ops)
    return total + _FURTHER_OUTPUT * (len(graph.outputs) - 1) + sum(_kept(graph, op) for op in graph.ops)


def _kept(graph: QuantGraph, op: ops.Op) -> int:
    """Bytes that ``op`` keeps for itself."""
    if type(op) not in _OPERATOR:
        raise InputError(f"TFLM has no {type(op).__name__}", where=f"operator {op.name}", expected="an operator that it has")
    total = _OPERATOR[type(op)]
    channels = isinstance(op, ops.Conv2D | ops.DepthwiseConv2D | ops.TransposeConv2D)
    if channels or (isinstance(op, ops.FullyConnected) and _per_channel(graph, op)):
        total += 2 * aligned(4 * graph.tensor(op.outputs[0]).shape[-1])
    if isinstance(op, ops.Slice) and _is_strided(op):
        total += _STRIDED
    if isinstance(op, ops.Softmax) and graph.tensor(op.inputs[0]).dtype == "int16":
        total += _TABLES
    if isinstance(op, ops.BatchMatMul):
        b = graph.tensor(op.inputs[1])
        shape = aligned(4 * (1 + len(b.shape)))
        # What is not adjoint is turned into a buffer that stays, with a tensor that describes it.
        total += shape + (0 if op.adjoint_b else 32 + shape + aligned(b.nbytes))
    return total


def _is_strided(op: ops.Slice) -> bool:
    return len(op.begin) <= _STRIDED_RANK or any(step > 1 and size > 1 for step, size in zip(op.step, op.size, strict=True))


def _arguments(graph: QuantGraph, op: ops.Op) -> tuple[tuple[object, ...], ...]:
    """What stands in the file as further constant tensors: axes, amounts, sizes or a shape; equal ones once."""
    if isinstance(op, ops.Mean | ops.Sum | ops.ReduceMax):
        return (("numbers", *op.axes),)
    if isinstance(op, ops.Pad):
        return (("amounts", op.amounts),)
    if isinstance(op, ops.Reshape):
        return (("shape", op.shape),)
    if isinstance(op, ops.Transpose):
        return (("numbers", *op.order),)
    if isinstance(op, ops.ResizeNearest | ops.ResizeBilinear):
        return (("numbers", *op.size),)
    if isinstance(op, ops.TransposeConv2D):
        return (("numbers", *graph.tensor(op.outputs[0]).shape),)
    if isinstance(op, ops.Slice):
        steps = tuple(1 if size == 1 else step for size, step in zip(op.size, op.step, strict=True))
        ends = tuple(begin + (size - 1) * step + 1 for begin, size, step in zip(op.begin, op.size, op.step, strict=True))
        return (("numbers", *op.begin), ("numbers", *ends), ("numbers", *steps)) if _is_strided(op) else (
            ("numbers", *op.begin), ("numbers", *op.size)
        )  # fmt: skip
    return ()


def _per_channel(graph: QuantGraph, op: ops.Op) -> bool:
    quantization = graph.tensor(op.inputs[1]).quantization
    return quantization is not None and quantization.axis is not None


def has_model(graph: QuantGraph) -> bool:
    """Whether all operators of ``graph`` are TFLM's, on types that it computes with, so that what they take in its arena is known."""
    return all(type(op) in _OPERATOR for op in graph.ops) and all(t.dtype != "float16" for t in graph.tensors.values())
