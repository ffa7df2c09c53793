"""What a graph costs, counted operator by operator."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import BatchMatMul, Conv2D, DepthwiseConv2D, FullyConnected, Op, TransposeConv2D


@dataclass(frozen=True)
class OpCost:
    """One operator: multiply-accumulates for one sample, bytes of its constants (scales not counted) and of its output."""

    name: str
    kind: str
    macs: int
    weight_bytes: int
    output_bytes: int


def count(graph: QuantGraph) -> tuple[OpCost, ...]:
    """The cost of each operator, in the order in which they run."""
    return tuple(_cost(graph, op) for op in graph.ops)


def macs(graph: QuantGraph) -> int:
    """Multiply-accumulates of one sample: convolutions and matrix products, padding included, nothing else."""
    return sum(_macs(graph, op) for op in graph.ops)


def parameters(graph: QuantGraph) -> int:
    """Elements of all constants: weights and biases."""
    return sum(math.prod(t.shape) for t in graph.tensors.values() if t.is_constant)


def weight_bytes(graph: QuantGraph) -> int:
    """Bytes of all constants as a device holds them, without scales."""
    return sum(t.nbytes for t in graph.tensors.values() if t.is_constant)


def _cost(graph: QuantGraph, op: Op) -> OpCost:
    constants = [graph.tensor(name) for name in op.inputs if graph.tensor(name).is_constant]
    output = graph.tensor(op.outputs[0])
    return OpCost(op.name, type(op).__name__, _macs(graph, op), sum(t.nbytes for t in constants), output.nbytes)


def _macs(graph: QuantGraph, op: Op) -> int:
    if not isinstance(op, Conv2D | DepthwiseConv2D | TransposeConv2D | FullyConnected | BatchMatMul):
        return 0
    x, weight, out = (graph.tensor(name).shape for name in (*op.inputs[:2], op.outputs[0]))
    last = graph.layout == "channels_last"
    if isinstance(op, BatchMatMul):
        return math.prod(out) * x[-1]
    if isinstance(op, TransposeConv2D):
        # Each position of the input meets every weight once.
        return math.prod(x) * math.prod(weight) // (x[3] if last else x[1])
    if isinstance(op, DepthwiseConv2D):
        # One filter an output channel, whichever way the weights lie: [1, kh, kw, out] or [out, 1, kh, kw].
        return math.prod(out) * math.prod(weight) // (out[3] if last else out[1])
    # One output value takes as many products as one output channel has weights.
    return math.prod(out) * math.prod(weight[1:])
