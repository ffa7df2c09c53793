"""Which activations of a graph may have 16 bits beside weights of 8 (16x8), and the graph in which some have."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.grid import FIXED_OUTPUT_16, groups
from edgekd.quant.passes.borders import FINER, borders
from edgekd.quant.scheme import Scheme

#: Operators of which TensorFlow Lite Micro and LiteRT have kernels for 16-bit activations that the reference foretells.
SIXTEEN_BITS: tuple[type[ops.Op], ...] = (
    ops.Conv2D, ops.DepthwiseConv2D, ops.TransposeConv2D, ops.FullyConnected, ops.BatchMatMul, ops.Add, ops.Sub, ops.Mul, ops.Maximum,
    ops.Minimum, ops.AveragePool2D, ops.MaxPool2D, ops.Mean, ops.Relu, ops.LeakyRelu, ops.Softmax, ops.Logistic, ops.Tanh, ops.Reshape,
    ops.Transpose, ops.Concat, ops.Slice, ops.Pad, ops.ResizeNearest,
)  # fmt: skip


def candidates(graph: QuantGraph, scheme: Scheme) -> dict[str, tuple[str, ...]]:
    """Operator → the tensors that share the scale of its output, of all that may have 16 bits: it is the first that writes one of them.

    What the device feeds and reads stays int8, and so does what an operator without a kernel touches, or one with weights of 4 bits.
    """
    fixed = {*graph.inputs, *graph.outputs}
    for op in graph.ops:
        if not _has_kernel(op, graph, scheme):
            fixed.update((*op.inputs, *op.outputs))
    found: dict[str, tuple[str, ...]] = {}
    for group in groups(graph, symmetric=scheme.symmetric_activations):
        first = next((op.name for op in graph.ops if op.outputs[0] in group.tensors), None)
        if first is not None and fixed.isdisjoint(group.tensors):
            found[first] = group.tensors
    return found


def closed(graph: QuantGraph, scheme: Scheme, names: Collection[str]) -> tuple[str, ...]:
    """``names``, of candidates, and the candidates that stand between operators of 16 bits on all sides: 8 would only be in the way."""
    possible = candidates(graph, scheme)
    taken = dict.fromkeys(names)
    while True:
        wide = {tensor for name in taken for tensor in possible[name]}
        more = [name for name in possible if name not in taken and _is_between(graph, possible[name], wide)]
        if not more:
            return tuple(taken)
        taken |= dict.fromkeys(more)


def widened(graph: QuantGraph, scheme: Scheme, names: Collection[str]) -> QuantGraph:
    """The int8 ``graph`` as it would be if what the operators ``names`` write had 16 bits, for counting: scales are not learned ones."""
    tensors = dict(graph.tensors)
    for group in groups(graph, symmetric=scheme.symmetric_activations, sixteen=names):
        if group.bits == 16:
            tensors |= {name: _wide(graph.tensor(name), fixed=group.fixed is not None) for name in group.tensors}
    return borders(replace(graph, tensors=tensors))


def _has_kernel(op: ops.Op, graph: QuantGraph, scheme: Scheme) -> bool:
    if isinstance(op, ops.WEIGHTED) and (graph.tensor(op.inputs[1]).dtype == "int4" or scheme.weights_of(type(op), op.name)[0] == 4):
        return False
    return isinstance(op, SIXTEEN_BITS)


def _is_between(graph: QuantGraph, tensors: tuple[str, ...], wide: set[str]) -> bool:
    """Whether all that read or write ``tensors`` have 16 bits without them."""
    own = {*tensors}
    near = [op for op in graph.ops if own.intersection((*op.inputs, *op.outputs))]
    # What only moves values within the scale is no reason by itself.
    near = [op for op in near if not own.issuperset((*op.inputs, *op.outputs))]
    return all(not wide.isdisjoint((*op.inputs, *op.outputs)) for op in near)


def _wide(tensor: Tensor, *, fixed: bool) -> Tensor:
    assert tensor.quantization is not None
    scale, zero_point = tensor.quantization.single
    finer = FIXED_OUTPUT_16 if fixed else Quantization.per_tensor(scale / FINER)
    data = None if tensor.data is None else ((tensor.data.astype(np.int16) - np.int16(zero_point)) * np.int16(FINER))
    return replace(tensor, dtype="int16", quantization=finer, data=data)
