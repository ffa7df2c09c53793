"""Fold what needs no operator of its own into its producer, in a float channels-first graph."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.ops import Add, AveragePool2D, Conv2D, DepthwiseConv2D, FullyConnected, MaxPool2D, Mean, Op, Pad, Relu, Reshape
from edgekd.quant.passes.prefix import needed

_CONVOLUTIONS = (Conv2D, DepthwiseConv2D)
_WEIGHTED = (Conv2D, DepthwiseConv2D, FullyConnected)
_RECTIFIABLE = (Conv2D, DepthwiseConv2D, FullyConnected, Add, AveragePool2D, MaxPool2D)


def fuse(graph: QuantGraph) -> QuantGraph:
    """
    Given   Pad → Conv2D → DepthwiseConv2D 1x1 (a batch norm) → Relu;      Mean(keepdims) → Reshape
    Result  Conv2D(padding, activation), the norm folded in double;        Mean

    A tensor that something else reads as well stays as it is; an operator that no output needs goes.
    """
    tensors, ops = dict(graph.tensors), list(needed(graph))
    changed = True
    while changed:
        changed = False
        for at, op in enumerate(ops):
            before = next((o for o in ops if op.inputs[0] in o.outputs), None)
            if before is None or op.inputs[0] in graph.outputs or sum(op.inputs[0] in o.inputs for o in ops) != 1:
                continue
            merged = _merge(before, op, tensors)
            if isinstance(merged, Reshape) and merged.shape == tensors[merged.inputs[0]].shape and not set(op.outputs) & set(graph.outputs):
                ops = [replace(o, inputs=_renamed(o.inputs, op.outputs[0], merged.inputs[0])) for o in ops if o not in (before, op)]
                changed = True
                break
            if merged is not None:
                ops[at] = merged
                ops.remove(before)
                changed = True
                break
    used = {name for op in ops for name in (*op.inputs, *op.outputs)} | set(graph.inputs)
    return replace(graph, ops=tuple(ops), tensors={n: t for n, t in tensors.items() if n in used})


def _renamed(names: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    return tuple(new if name == old else name for name in names)


def _merge(before: Op, op: Op, tensors: dict[str, Tensor]) -> Op | None:
    """One operator that does what ``before`` and then ``op`` do, writing the output of ``op``; None if there is none."""
    if isinstance(op, Relu) and isinstance(before, _RECTIFIABLE) and before.activation == "none":
        return replace(before, name=op.name, outputs=op.outputs, activation=op.activation)
    if isinstance(op, DepthwiseConv2D) and isinstance(before, _WEIGHTED) and before.activation == "none" and _is_norm(op, tensors):
        # The channels that a norm scales are a vector's features, but the rows of a sequence [1, rows, features].
        return _fold(before, op, tensors) if len(tensors[op.outputs[0]].shape) != 3 else None
    if isinstance(before, Pad) and isinstance(op, _CONVOLUTIONS) and not any(map(any, before.amounts[:2])):
        (top, bottom), (left, right) = before.amounts[2:]
        t, b, le, r = op.padding
        return replace(op, inputs=(before.inputs[0], *op.inputs[1:]), padding=(top + t, bottom + b, left + le, right + r))
    if isinstance(op, Reshape) and isinstance(before, Mean) and before.keepdims:
        shape = tensors[before.outputs[0]].shape
        if op.shape == tuple(d for i, d in enumerate(shape) if i not in before.axes):
            return replace(before, name=op.name, outputs=op.outputs, keepdims=False)
    if isinstance(op, Reshape) and isinstance(before, Reshape):
        return replace(op, inputs=before.inputs)
    return None


def _is_norm(op: DepthwiseConv2D, tensors: dict[str, Tensor]) -> bool:
    """A depthwise convolution that only scales and shifts each channel."""
    plain = {f.name: f.default for f in fields(op) if f.name not in ("name", "inputs", "outputs", "activation")}
    return tensors[op.inputs[1]].shape[1:] == (1, 1, 1) and all(getattr(op, k) == v for k, v in plain.items())


def _fold(before: Any, norm: DepthwiseConv2D, tensors: dict[str, Tensor]) -> Op:
    factor, offset = (tensors[n].data.astype(np.float64) for n in norm.inputs[1:])  # pyright: ignore[reportOptionalMemberAccess]
    weight, bias = (tensors[n] for n in before.inputs[1:])
    assert weight.data is not None and bias.data is not None
    scaled = weight.data.astype(np.float64) * factor.reshape(-1, *[1] * (weight.data.ndim - 1))
    shifted = bias.data.astype(np.float64) * factor.reshape(-1) + offset
    tensors[weight.name] = replace(weight, data=scaled.astype(np.float32))
    tensors[bias.name] = replace(bias, data=shifted.astype(np.float32))
    return replace(before, name=norm.name, outputs=norm.outputs, activation=norm.activation)
