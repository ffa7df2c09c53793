"""Peak RAM read off a graph: lifetimes in operator order, and greedy placement as TensorFlow Lite Micro's planner does it.

The placement of activations and scratch is exact. What TFLM keeps beside it (its own structures, per-channel multipliers) is
modelled from the sizes of its structures on a 64-bit host, where a report can be had; a 32-bit core needs 1–3 % less in all.
No operator works in place, Reshape included: its output has its own bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.passes.explicit_padding import explicit_padding

#: Every buffer of the arena starts at a multiple of this (TFLM's MicroArenaBufferAlignment).
ALIGNMENT = 16

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
#: More of a Slice that the file states as STRIDED_SLICE.
_STRIDED, _STRIDED_RANK = 120, 4


@dataclass(frozen=True)
class Lifetime:
    """``nbytes`` (aligned) must stay from operator ``first`` to operator ``last``, both included; the input is there from 0 on."""

    name: str
    nbytes: int
    first: int
    last: int

    def meets(self, other: Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Placement:
    """Where each buffer lies: ``total_bytes`` is the peak, ``lower_bound`` what no placement can go below."""

    offsets: Mapping[str, int]
    total_bytes: int
    lower_bound: int


def lifetimes(graph: QuantGraph) -> tuple[Lifetime, ...]:
    """Lifetime of every activation, in the graph's order of tensors, then of every operator's scratch (``name/what``).

    Operators count from 1. An output of the graph lives to the end; what nobody reads dies where it is made.
    """
    first = dict.fromkeys(graph.inputs, 0)
    last = dict.fromkeys(graph.inputs, 0)
    scratch: list[Lifetime] = []
    for at, op in enumerate(graph.ops, start=1):
        for name in op.outputs:
            first[name] = at
        for name in (*op.inputs, *op.outputs):
            last[name] = at
        scratch += [Lifetime(f"{op.name}/{what}", _aligned(nbytes), at, at) for what, nbytes in _scratch(graph, op).items()]
    for name in graph.outputs:
        last[name] = len(graph.ops)
    made = [Lifetime(n, _aligned(t.nbytes), first[n], last[n]) for n, t in graph.tensors.items() if not t.is_constant and n in first]
    return (*made, *scratch)


def place(graph: QuantGraph) -> Placement:
    """Greedy placement of the graph's activations and scratch, equal to TFLM's."""
    return place_lifetimes(lifetimes(graph))


def arena_total(graph: QuantGraph) -> int:
    """Bytes of arena that the channels-last ``graph`` needs under TFLM with reference kernels on a 64-bit host: a prediction.

    Raises InputError for padding that TFLM cannot be given, and for an operator that it has not.
    """
    graph = explicit_padding(graph)
    return place(graph).total_bytes + persistent_bytes(graph)


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
        total += 2 * _aligned(4 * graph.tensor(op.outputs[0]).shape[-1])
    if isinstance(op, ops.Slice) and _is_strided(op):
        total += _STRIDED
    if isinstance(op, ops.BatchMatMul):
        b = graph.tensor(op.inputs[1])
        shape = _aligned(4 * (1 + len(b.shape)))
        # What is not adjoint is turned into a buffer that stays, with a tensor that describes it.
        total += shape + (0 if op.adjoint_b else 32 + shape + _aligned(b.nbytes))
    return total


def _scratch(graph: QuantGraph, op: ops.Op) -> dict[str, int]:
    """Bytes that ``op`` needs only while it runs."""
    if isinstance(op, ops.Mean | ops.Sum | ops.ReduceMax):
        x, y = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
        # An index and the axes, and under integers one int32 sum for each output.
        sums = {"sums": 4 * math.prod(y.shape)} if x.dtype in ("int8", "int16") and not isinstance(op, ops.ReduceMax) else {}
        return {**sums, "index": 4 * len(x.shape), "axes": 4 * len(op.axes)}
    if isinstance(op, ops.TransposeConv2D) and graph.tensor(op.inputs[0]).dtype in ("int8", "int16"):
        wide = 8 if graph.tensor(op.inputs[0]).dtype == "int16" else 4  # a sum for each output
        return {"sums": wide * math.prod(graph.tensor(op.outputs[0]).shape)}
    if isinstance(op, ops.WEIGHTED) and graph.tensor(op.inputs[1]).dtype == "int4":  # unpacked
        return {"weights": math.prod(graph.tensor(op.inputs[1]).shape)}
    return {}


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


def place_lifetimes(wanted: Iterable[Lifetime]) -> Placement:
    """The largest first (of equals, the later one), each into the lowest gap between what is alive with it."""
    buffers = tuple(wanted)
    offsets: dict[str, int] = {}
    placed: list[Lifetime] = []
    for buffer in sorted(buffers, key=lambda b: b.nbytes)[::-1]:  # sorted is stable, so of equals the later one comes first
        alive = sorted((offsets[p.name], p.nbytes) for p in placed if p.meets(buffer))
        at = 0
        for start, size in alive:
            if start - at >= buffer.nbytes:
                break
            at = max(at, start + size)
        offsets[buffer.name] = at
        placed.append(buffer)
    total = max((offsets[b.name] + b.nbytes for b in buffers), default=0)
    moments = {b.first for b in buffers}
    bound = max((sum(b.nbytes for b in buffers if b.first <= t <= b.last) for t in moments), default=0)
    return Placement(offsets, total, bound)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
