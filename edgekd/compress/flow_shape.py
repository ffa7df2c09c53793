"""What operators that only move or cut values do with channels: reshapes, permutations, joins and parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgekd.compress.units import FIXED, Flow, Stored, Ties

Shape = tuple[int, ...]
#: ``args`` are the operator's, with what flows in place of tensors; ``shape`` is that of its result, or a list of them.
Handler = Callable[[Ties, Sequence[Any], Any], Any]


def flowing(value: Any) -> Flow:
    return value if isinstance(value, Flow) else Flow(value.shape)


def argument(args: Sequence[Any], at: int) -> Any:
    return args[at] if len(args) > at else None


def dim_of(args: Sequence[Any], at: int) -> int:
    found = argument(args, at)
    return found if isinstance(found, int) else 0


def aligned(value: Flow | Stored, rank: int) -> Flow | Stored:
    """With leading dimensions of 1, as broadcasting adds them. A parameter of fewer dimensions stays as it is named, and is not sliced."""
    more = rank - len(value.shape)
    if not more:
        return value
    shape = (*((1,) * more), *value.shape)
    if isinstance(value, Stored):
        return Stored("", shape)
    return value.moved(shape, None if value.axis is None else value.axis + more)


def reshaped(ties: Ties, args: Sequence[Any], shape: Shape) -> Flow:
    """Channels that stay a dimension of their own, or of which each becomes several neighbours (flatten); else they are fixed."""
    x = flowing(args[0])
    if x.axis is None or x.labels is None:
        return Flow(shape)
    before, n, after = math.prod(x.shape[: x.axis]), x.shape[x.axis], math.prod(x.shape[x.axis + 1 :])
    for axis, size in enumerate(shape):
        if math.prod(shape[:axis]) == before and size % n == 0 and after % (size // n) == 0 and n > 1:
            return Flow(shape, axis, np.repeat(x.labels, size // n))
    ties.fix(x)
    return Flow(shape)


def permuted(ties: Ties, args: Sequence[Any], shape: Shape) -> Flow:
    x, order = flowing(args[0]), args[1]
    return x.moved(shape, None if x.axis is None else [dim % len(shape) for dim in order].index(x.axis))


def transposed_axes(ties: Ties, args: Sequence[Any], shape: Shape) -> Flow:
    x = flowing(args[0])
    a, b = (dim % len(shape) for dim in (args[1:3] if len(args) > 2 else (-1, -2)))
    return x.moved(shape, None if x.axis is None else {a: b, b: a}.get(x.axis, x.axis))


def expanded(ties: Ties, args: Sequence[Any], shape: Shape) -> Flow:
    x = aligned(flowing(args[0]), len(shape))
    assert isinstance(x, Flow)
    return x.moved(shape, x.axis)


def joined(ties: Ties, args: Sequence[Any], shape: Shape) -> Flow:
    dim = (argument(args, 1) or 0) % len(shape)
    parts = [flowing(one) for one in args[0]]
    across = [part.axis for part in parts if part.axis not in (None, dim)]
    if not across:
        labels = [np.full(part.shape[dim], FIXED) if part.labels is None else part.labels for part in parts]
        return Flow(shape, dim, np.concatenate(labels))
    first = parts[0]
    if first.labels is None or any(part.axis != first.axis for part in parts):
        ties.fix(*parts)
        return Flow(shape)
    for part in parts[1:]:
        assert part.labels is not None
        ties.unite(first.labels, part.labels)
    return first.moved(shape, first.axis)


def cut(ties: Ties, args: Sequence[Any], shape: Any) -> Any:
    """``slice``, ``narrow``, ``select``, ``split``: their places are numbers in the user's code, which no pruning moves."""
    x, shapes = flowing(args[0]), shape if isinstance(shape, list) else [shape]
    dim = dim_of(args, 2 if isinstance(shape, list) else 1) % len(x.shape)
    if x.axis == dim and any(len(one) < len(x.shape) or one[dim] != x.shape[dim] for one in shapes):
        ties.fix(x)
        x = Flow(x.shape)
    lost = len(shapes[0]) < len(x.shape)
    axis = x.axis if x.axis is None or not lost or x.axis < dim else x.axis - 1
    parts = [x.moved(one, axis) for one in shapes]
    return parts if isinstance(shape, list) else parts[0]


def chunks(ties: Ties, args: Sequence[Any], shape: Any) -> Any:
    """Equal parts, whatever is cut: what stands at the same place of each goes together."""
    x = flowing(args[0])
    dim, count = dim_of(args, 2) % len(x.shape), len(shape)
    if x.axis != dim or x.labels is None:
        return [x.moved(one, x.axis) for one in shape]
    if len(x.labels) % count or count != args[1]:
        ties.fix(x)
        return [Flow(one) for one in shape]
    parts = x.labels.reshape(count, -1)
    for part in parts[1:]:
        ties.unite(parts[0], part)
    return [Flow(one, dim, labels) for one, labels in zip(shape, parts, strict=True)]
