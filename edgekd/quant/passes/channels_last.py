"""Channels first to channels last, without a Transpose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.ops import Concat, Conv2D, DepthwiseConv2D, FullyConnected, Logistic, Mean, Op, Pad, Relu, Reshape, Softmax

#: Where each axis of a channels-first tensor goes.
_TO_LAST = {0: 0, 1: 3, 2: 1, 3: 2}


def channels_last(graph: QuantGraph) -> QuantGraph:
    """
    Given   channels first: [N, C, H, W], Conv2D [out, in, kh, kw], DepthwiseConv2D [out, 1, kh, kw]
    Result  channels last:  [N, H, W, C], Conv2D [out, kh, kw, in], DepthwiseConv2D [1, kh, kw, out]

    A Reshape that flattens [N, C, H, W] reorders the values; the columns of the FullyConnected that reads them are reordered to match.
    Raises InputError where anything else reads them.
    """
    if graph.layout == "channels_last":
        return graph
    tensors = {name: _activation(tensor) if not tensor.is_constant else tensor for name, tensor in graph.tensors.items()}
    for op in graph.ops:
        _constants(op, tensors)
        if isinstance(op, Reshape):
            _flatten(op, graph, tensors)
    return replace(graph, layout="channels_last", tensors=tensors, ops=tuple(_operator(op, graph) for op in graph.ops))


def _activation(tensor: Tensor) -> Tensor:
    if len(tensor.shape) != 4:
        return tensor
    n, c, h, w = tensor.shape
    return replace(tensor, shape=(n, h, w, c))


def _constants(op: Op, tensors: dict[str, Tensor]) -> None:
    if isinstance(op, Conv2D):
        tensors[op.inputs[1]] = _permuted(tensors[op.inputs[1]], (0, 2, 3, 1))
    elif isinstance(op, DepthwiseConv2D):
        tensors[op.inputs[1]] = _permuted(tensors[op.inputs[1]], (1, 2, 3, 0))


def _permuted(tensor: Tensor, order: tuple[int, ...]) -> Tensor:
    assert tensor.data is not None
    q = tensor.quantization
    if q is not None and q.axis is not None:
        q = replace(q, axis=order.index(q.axis))
    data = np.ascontiguousarray(tensor.data.transpose(order))
    return replace(tensor, data=data, shape=data.shape, quantization=q)


def _operator(op: Op, graph: QuantGraph) -> Op:
    rank = len(graph.tensors[op.inputs[0]].shape)
    if rank != 4:
        return op
    if isinstance(op, Mean):
        if not op.keepdims and not {2, 3} <= set(op.axes) and op.axes != (1,):
            raise InputError(
                f"a mean over axes {op.axes} that leaves a spatial axis", where=op.name, expected="a mean over both spatial axes"
            )
        return replace(op, axes=tuple(sorted(_TO_LAST[a] for a in op.axes)))
    if isinstance(op, Concat):
        return replace(op, axis=_TO_LAST[op.axis])
    if isinstance(op, Pad):
        n, c, h, w = op.amounts
        return replace(op, amounts=(n, h, w, c))
    if isinstance(op, FullyConnected | Softmax):
        raise InputError(f"{type(op).__name__} on the last axis of a 4-D tensor", where=op.name, expected="a flatten before it")
    return op


def _flatten(op: Reshape, graph: QuantGraph, tensors: dict[str, Tensor]) -> None:
    shape = graph.tensors[op.inputs[0]].shape
    if len(shape) != 4:
        if len(op.shape) == 4:
            raise InputError(f"a reshape from {shape} to {op.shape}", where=op.name, expected="no reshape back to an image")
        return
    _, c, h, w = shape
    if h * w == 1 and len(op.shape) == 2:
        return
    order = np.arange(c * h * w).reshape(c, h, w).transpose(1, 2, 0).reshape(-1)
    names = [op.outputs[0]]
    while names:
        name = names.pop()
        for reader in graph.consumers(name):
            if isinstance(reader, FullyConnected) and len(op.shape) == 2:
                weight = tensors[reader.inputs[1]]
                assert weight.data is not None
                tensors[weight.name] = replace(weight, data=np.ascontiguousarray(weight.data[:, order]))
            elif isinstance(reader, Relu | Logistic) and len(op.shape) == 2:
                names.append(reader.outputs[0])
            else:
                raise InputError(
                    f"{type(reader).__name__} reads what {op.name} flattened from {shape}",
                    where=reader.name,
                    expected="a FullyConnected after the flatten",
                )
    if op.outputs[0] in graph.outputs:
        raise InputError("the flattened image is an output", where=op.name, expected="a FullyConnected after the flatten")
