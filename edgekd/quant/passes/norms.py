"""A batch norm that nothing could take in, on what is no image: a product and a sum."""

from __future__ import annotations

from dataclasses import replace

from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.ops import Add, DepthwiseConv2D, Mul, Op


def norms_of_vectors(graph: QuantGraph) -> QuantGraph:
    """
    Given   x [1, C] ── DepthwiseConv2D 1x1 (what a norm was captured as) ── y
    Result  x [1, C] ── Mul ── Add ── y
    """
    tensors = dict(graph.tensors)
    ops: list[Op] = []
    for op in graph.ops:
        shape = tensors[op.inputs[0]].shape
        if not isinstance(op, DepthwiseConv2D) or len(shape) == 4:
            ops.append(op)
            continue
        factor, offset = (tensors[name] for name in op.inputs[1:])
        one = (1, shape[1], *(1 for _ in shape[2:]))
        for tensor in (factor, offset):
            assert tensor.data is not None
            tensors[tensor.name] = replace(tensor, shape=one, data=tensor.data.reshape(one))
        middle = f"{op.name}_scaled"
        tensors[middle] = Tensor(middle, "float32", shape)
        ops.append(Mul(middle, (op.inputs[0], factor.name), (middle,)))
        ops.append(Add(op.name, (middle, offset.name), op.outputs, activation=op.activation))
    return replace(graph, ops=tuple(ops), tensors=tensors)
