"""ATen operators that move values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import fx

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.aten_builder import Builder, arguments, our_axis, ours, shape_of


def reshape(builder: Builder, node: fx.Node) -> None:
    """Also flatten, squeeze and unsqueeze. A batch that is not first afterwards has been merged into what is."""
    x: Any = node.args[0]
    source, shape = builder.name_of(x), shape_of(node)
    before = builder.batch[x.name]
    if shape == shape_of(x):
        builder.alias(node, x)
        return
    if not shape or math.prod(shape) != math.prod(builder.tensors[source].shape):
        raise InputError(f"a reshape to {shape}", where=node.name, expected="as many values as before")
    batch = 0 if shape[0] == 1 else None
    if before not in (0, None) and before < len(shape) and shape[: before + 1] == shape_of(x)[: before + 1]:
        batch = before
    _view(builder, node, source, batch)


def _view(builder: Builder, node: fx.Node, source: str, batch: int | None) -> None:
    """``node`` holds the values of ``source`` in another shape, its batch on axis ``batch``."""
    shape = ours(shape_of(node), batch)
    if shape == builder.tensors[source].shape:
        builder.bind(node, source, batch)
        builder.memory[node.name] = builder.memory.get(str(node.args[0]), str(node.args[0]))
    else:
        builder.emit(node, ops.Reshape(node.name, (source,), (node.name,), shape=shape), batch)


def permute(builder: Builder, node: fx.Node) -> None:
    x, order = arguments(node, None, None)[:2]
    rank = len(shape_of(x))
    _permute(builder, node, x, [int(a) % rank for a in order])


def transpose(builder: Builder, node: fx.Node) -> None:
    x: Any = node.args[0]
    rank = len(shape_of(x))
    a, b = (int(v) % rank for v in (node.args[1:3] if len(node.args) > 2 else (rank - 2, rank - 1)))  # pyright: ignore[reportArgumentType]
    _permute(builder, node, x, [b if i == a else a if i == b else i for i in range(rank)])


def _permute(builder: Builder, node: fx.Node, x: Any, order: Sequence[int]) -> None:
    before = builder.batch[x.name]
    batch = list(order).index(before) if before is not None else None
    ours_order = (0, *(our_axis(a, before) for a in order if a != before))
    source = builder.name_of(x)
    if list(ours_order) == list(range(len(ours_order))):
        builder.alias(node, x)
        builder.batch[node.name] = batch
    else:
        builder.emit(node, ops.Transpose(node.name, (source,), (node.name,), ours_order), batch)


def concat(builder: Builder, node: fx.Node) -> None:
    parts, axis = arguments(node, [], 0)
    batch, rank = builder.batch_of(node, *parts), len(shape_of(node))
    names = tuple(builder.operand(part, node, batch, suffix=f"part{i}") for i, part in enumerate(parts) if math.prod(shape_of(part)))
    ours_axis = our_axis(int(axis) % rank, batch)
    if ours_axis == 0:
        raise InputError("samples are joined", where=node.name, expected="a concat along the axes of one sample")
    builder.emit(node, ops.Concat(node.name, names, (node.name,), axis=ours_axis), batch)


def stack(builder: Builder, node: fx.Node) -> None:
    parts, axis = arguments(node, [], 0)
    rank = len(shape_of(node))
    at = int(axis) % rank
    before = builder.batch_of(parts[0], parts[0])
    batch = None if before is None else before + (at <= before)
    shape = shape_of(node)
    one = ours((*shape[:at], 1, *shape[at + 1 :]), batch)
    names = tuple(builder.reshaped(builder.name_of(part), one) for part in parts)
    builder.emit(node, ops.Concat(node.name, names, (node.name,), axis=our_axis(at, batch)), batch)


def pad(builder: Builder, node: fx.Node) -> None:
    if str(node.target).startswith("aten.constant_pad_nd"):
        (x, amounts, value), mode = arguments(node, None, None, 0), "constant"
    else:
        x, amounts, mode, value = arguments(node, None, None, "constant", None)
    if mode != "constant" or (value or 0) != 0:
        raise InputError(f"padding with {mode} {value or ''}".strip(), where=node.name, expected="zeros")
    pairs = [(int(a), int(b)) for a, b in zip(amounts[::2], amounts[1::2], strict=True)][::-1]
    theirs, batch = len(shape_of(x)), builder.batch[x.name]
    every = [(0, 0)] * (theirs - len(pairs)) + pairs
    if (batch is not None and any(every[batch])) or any(a < 0 or b < 0 for a, b in pairs):
        raise InputError(f"padding {pairs}", where=node.name, expected="zeros around each sample")
    if not any(map(any, every)):
        builder.alias(node, x)
        return
    ours_amounts = ((0, 0), *(p for i, p in enumerate(every) if i != batch))
    builder.emit(node, ops.Pad(node.name, (builder.name_of(x),), (node.name,), amounts=ours_amounts), batch)


def slice_(builder: Builder, node: fx.Node) -> None:
    x, axis, start, stop, step = arguments(node, None, 0, None, None, 1)
    size = shape_of(x)[axis]
    low, high, _ = slice(start, stop, step).indices(size)
    if shape_of(node) == shape_of(x):
        builder.alias(node, x)
    else:
        _cut(builder, node, x, axis, (low, -(-(high - low) // step), step))


def narrow(builder: Builder, node: fx.Node) -> None:
    x, axis, start, length = node.args[:4]
    _cut(builder, node, x, int(axis), (int(start), int(length), 1))  # pyright: ignore[reportArgumentType]


def _cut(builder: Builder, node: fx.Node, x: Any, axis: int, which: tuple[int, int, int], batch: str = "same") -> str:
    """``node`` is the values (first, count, step) of ``x`` along torch's ``axis``."""
    source, at = builder.name_of(x), builder.axis(x, axis)
    shape = builder.tensors[source].shape
    if at == 0:
        raise InputError("samples are cut off", where=node.name, expected="a slice along the axes of one sample")
    begin, size, step = ([which[i] if a == at else (0, d, 1)[i] for a, d in enumerate(shape)] for i in range(3))
    op = ops.Slice(node.name, (source,), (node.name,), begin=tuple(begin), size=tuple(size), step=tuple(step))
    if batch == "same":
        builder.emit(node, op, builder.batch[x.name])
        return node.name
    name = builder.fresh(f"{node.name}_cut")
    return builder.step(ops.Slice(name, op.inputs, (name,), op.begin, op.size, op.step), op.size)


def select(builder: Builder, node: fx.Node) -> None:
    x, axis, index = node.args[:3]
    _select(builder, node, x, int(axis), int(index))  # pyright: ignore[reportArgumentType]


def _select(builder: Builder, node: fx.Node, x: Any, axis: int, index: int) -> None:
    theirs = shape_of(x)
    axis %= len(theirs)
    before = builder.batch[x.name]
    if axis == before:
        batch: int | None = None
        source = builder.name_of(x)
    else:
        batch = None if before is None else before - (axis < before)
        count = theirs[axis]
        source = builder.name_of(x) if count == 1 else _cut(builder, node, x, axis, (index % count, 1, 1), batch="other")
    _view(builder, node, source, batch)


def split(builder: Builder, node: fx.Node) -> None:
    """Also chunk and unbind: the parts are made where they are taken."""
    builder.parts[node.name] = [node]


def part(builder: Builder, node: fx.Node) -> None:
    """``operator.getitem`` of a split."""
    whole, index = node.args[:2]
    assert isinstance(whole, fx.Node) and isinstance(index, int)
    x: Any = whole.args[0]
    sizes = whole.meta["val"]
    key = str(whole.target)
    axis = int(arguments(whole, None, None, 0)[2]) if "unbind" not in key else int(arguments(whole, None, 0)[1])
    axis %= len(shape_of(x))
    if "unbind" in key:
        _select(builder, node, x, axis, index)
        return
    start = sum(each.shape[axis] for each in sizes[:index])
    if sizes[index].shape[axis] == shape_of(x)[axis]:
        builder.alias(node, x)
    else:
        _cut(builder, node, x, axis, (start, sizes[index].shape[axis], 1))


def expand(builder: Builder, node: fx.Node) -> None:
    x: Any = node.args[0]
    if math.prod(shape_of(node)) != math.prod(shape_of(x)):
        raise InputError(
            f"{shape_of(x)} is repeated to {shape_of(node)}", where=node.name, expected="arithmetic that broadcasts by itself, or torch.cat"
        )
    source, batch = builder.name_of(x), builder.batch[x.name]
    _view(builder, node, source, None if batch is None else batch + len(shape_of(node)) - len(shape_of(x)))


def roll(builder: Builder, node: fx.Node) -> None:
    """Two slices and a concat for each axis."""
    x, shifts, axes = arguments(node, None, None, [])[:3]
    source, batch = builder.name_of(x), builder.batch[x.name]
    for shift, axis in zip(shifts, axes, strict=True):
        at, shape = builder.axis(x, int(axis)), builder.tensors[source].shape
        if at == 0 or not axes:
            raise InputError("samples are rolled", where=node.name, expected="a roll along the axes of one sample")
        if not (gap := -int(shift) % shape[at]):
            continue
        names = []
        for begin, count in ((gap, shape[at] - gap), (0, gap)):
            name = builder.fresh(f"{node.name}_cut")
            first = tuple(begin if i == at else 0 for i in range(len(shape)))
            size = tuple(count if i == at else d for i, d in enumerate(shape))
            names.append(builder.step(ops.Slice(name, (source,), (name,), first, size, (1,) * len(shape)), size))
        joined = builder.fresh(f"{node.name}_rolled")
        source = builder.step(ops.Concat(joined, tuple(names), (joined,), axis=at), shape)
    builder.bind(node, source, batch)
