"""Constants that stand before or behind an activation (class tokens): zeros there, and a sum that fills them in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.ops import Add, Concat, Op, Pad


def tokens(graph: QuantGraph) -> QuantGraph:
    """
    Given   token, x ── Concat ── Add positions ── y
    Result  x ── Pad ── Add (token and positions) ── y

    No runtime then needs a constant as often as there are samples, and the token has no part in the scale of x.
    """
    tensors, ops, done = dict(graph.tensors), list[Op](), set[str]()
    for op in graph.ops:
        if op.name in done:
            continue
        moving = [name for name in op.inputs if not tensors[name].is_constant]
        if not isinstance(op, Concat) or len(moving) != 1 or len(op.inputs) == 1:
            ops.append(op)
            continue
        filled = _filled(op, tensors)
        last, readers = op, graph.consumers(op.outputs[0])
        after = readers[0] if len(readers) == 1 and op.outputs[0] not in graph.outputs else None
        if isinstance(after, Add) and after.activation == "none" and len(set(after.inputs)) == 2:
            other = tensors[next(name for name in after.inputs if name != op.outputs[0])]
            if other.data is not None:
                last, filled = after, (filled + other.data).astype(np.float32)
                done.add(after.name)
        x, shape, axis = tensors[moving[0]].shape, tensors[op.outputs[0]].shape, op.axis % len(tensors[op.outputs[0]].shape)
        before = sum(tensors[name].shape[axis] for name in op.inputs[: op.inputs.index(moving[0])])
        amounts = tuple((before, d - x[i] - before) if i == axis else (0, 0) for i, d in enumerate(shape))
        padded, constant = f"{last.name}_padded", f"{last.name}_tokens"
        tensors[padded] = Tensor(padded, "float32", shape)
        tensors[constant] = Tensor(constant, "float32", filled.shape, data=np.ascontiguousarray(filled))
        ops += [Pad(padded, (moving[0],), (padded,), amounts), Add(last.name, (padded, constant), last.outputs)]
    used = {name for op in ops for name in (*op.inputs, *op.outputs)} | set(graph.inputs)
    return replace(graph, ops=tuple(ops), tensors={n: t for n, t in tensors.items() if n in used})


def _filled(op: Concat, tensors: dict[str, Tensor]) -> np.ndarray:
    """The constants in their places, zeros where the activation comes."""
    parts = []
    for name in op.inputs:
        data = tensors[name].data
        parts.append(np.zeros(tensors[name].shape, np.float32) if data is None else data)
    return np.concatenate(parts, op.axis)
