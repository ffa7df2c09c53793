"""ATen pooling, reductions and resizing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import fx

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.aten_builder import Builder, arguments, image, pair, shape_of

Handler = Callable[[Builder, fx.Node], None]
_ROUNDED_UP = "pooling with ceil_mode, dilation, a divisor or counted padding"


def reduce(kind: Callable[..., ops.Op], what: str) -> Handler:
    def handle(builder: Builder, node: fx.Node) -> None:
        x, axes, keepdims = arguments(node, None, None, False)[:3]
        name = builder.name_of(x)
        rank = len(shape_of(x))
        chosen = [axes] if isinstance(axes, int) else list(axes) if axes else list(range(rank))
        normal = tuple(sorted(builder.axis(x, a) for a in chosen))
        if 0 in normal:
            raise InputError(f"a {what} over the batch", where=node.name, expected=f"a {what} over the axes of one sample")
        batch = builder.batch[x.name]
        if batch is not None and not keepdims:
            batch -= sum(a % rank < batch for a in chosen)
        builder.emit(node, kind(node.name, (name,), (node.name,), axes=normal, keepdims=bool(keepdims)), batch)

    return handle


def maximum_along(builder: Builder, node: fx.Node) -> None:
    """``max(x, dim)``: the values; ``largest`` takes them, and nothing may take the indices."""
    if len(node.args) < 2:
        raise InputError("the largest value of all", where=node.name, expected="amax over the axes of one sample")
    apart(builder, node)


def largest(builder: Builder, node: fx.Node) -> None:
    """``operator.getitem`` of ``max(x, dim)``."""
    whole: Any = node.args[0]
    if node.args[1] != 0:
        raise InputError("the place of the largest value", where=node.name, expected="the value; argmax runs outside of the student")
    x, axis, keepdims = arguments(whole, None, None, False)[:3]
    batch, at = builder.batch[x.name], builder.axis(x, int(axis))
    if at == 0:
        raise InputError("a max over the batch", where=node.name, expected="a max over the axes of one sample")
    if batch is not None and not keepdims:
        batch -= int(axis) % len(shape_of(x)) < batch
    op = ops.ReduceMax(node.name, (builder.name_of(x),), (node.name,), axes=(at,), keepdims=bool(keepdims))
    builder.emit(node, op, batch)


def adaptive_average(builder: Builder, node: fx.Node) -> None:
    _adaptive(builder, node, node, ops.AveragePool2D)


def apart(builder: Builder, node: fx.Node) -> None:
    """What answers values and places: only the values are taken, where they are."""
    builder.parts[node.name] = [node]


def adaptive_max(builder: Builder, node: fx.Node) -> None:
    """``operator.getitem`` of adaptive max pooling."""
    whole: Any = node.args[0]
    if node.args[1] != 0:
        raise InputError("the place of the largest value", where=node.name, expected="the value alone: return_indices=False")
    _adaptive(builder, node, whole, ops.MaxPool2D)


def _adaptive(builder: Builder, node: fx.Node, call: fx.Node, kind: Callable[..., ops.Op]) -> None:
    """``node`` is the result of ``call``."""
    x, size = arguments(call, None, None)
    mean_or_max = ops.Mean if kind is ops.AveragePool2D else ops.ReduceMax
    if len(shape_of(x)) == 3:  # of a sequence
        name = builder.name_of(x)
        if size not in (1, [1]):
            raise InputError(f"adaptive pooling of a sequence to {size}", where=node.name, expected="to 1")
        builder.emit(node, mean_or_max(node.name, (name,), (node.name,), axes=(2,), keepdims=True))
        return
    source = image(builder, x, "pools")
    height, width = builder.tensors[source].shape[2:]
    rows, columns = (given or whole for given, whole in zip(pair(size), (height, width), strict=True))
    if (rows, columns) == (1, 1):
        builder.emit(node, mean_or_max(node.name, (source,), (node.name,), axes=(2, 3), keepdims=True))
        return
    if height % rows or width % columns:
        raise InputError(f"adaptive pooling of {height}x{width} to {rows}x{columns}", where=node.name, expected="windows of equal size")
    window = (height // rows, width // columns)
    builder.emit(node, kind(node.name, (source,), (node.name,), kernel=window, stride=window))


def pool(kind: Callable[..., ops.Op]) -> Handler:
    average = kind is ops.AveragePool2D

    def handle(builder: Builder, node: fx.Node) -> None:
        x, kernel, stride, padding, fifth, sixth, divisor = arguments(node, None, None, [], 0, None, None, None)
        name, k, p = image(builder, x, "pools"), pair(kernel), pair(padding)
        s = pair(stride or k)
        ceil_mode = fifth if average else sixth
        dilation = (1, 1) if average or fifth is None else pair(fifth)
        if ceil_mode:  # where it changes nothing, it is nothing
            sizes = builder.tensors[name].shape[2:]
            down = tuple((d + 2 * q - w) // t + 1 for d, q, w, t in zip(sizes, p, k, s, strict=True))
            ceil_mode = down != shape_of(node)[2:]
        if ceil_mode or divisor or dilation != (1, 1) or (average and any(p) and sixth is not False):
            raise InputError(_ROUNDED_UP, where=node.name, expected="count_include_pad=False, the rest at its default")
        builder.emit(node, kind(node.name, (name,), (node.name,), kernel=k, stride=s, padding=(p[0], p[0], p[1], p[1])))

    return handle


def resize_nearest(builder: Builder, node: fx.Node) -> None:
    """Torch takes the source pixel floor(i · in/out), which is TensorFlow's without half_pixel_centers."""
    x: Any = node.args[0]
    source, size = image(builder, x, "resizes"), shape_of(node)[2:]
    if size == builder.tensors[source].shape[2:]:
        builder.alias(node, x, copy=True)
    else:
        builder.emit(node, ops.ResizeNearest(node.name, (source,), (node.name,), size=(size[0], size[1])))


def resize_bilinear(builder: Builder, node: fx.Node) -> None:
    """align_corners as asked, else half pixels; both libraries measure alike where the scale follows from the sizes."""
    x: Any = node.args[0]
    align = bool(arguments(node, None, None, False)[2])
    source, size = image(builder, x, "resizes"), shape_of(node)[2:]
    into = builder.tensors[source].shape[2:]
    if size == into:
        builder.alias(node, x, copy=True)
        return
    factors = _factors(node)
    if not align and factors and any(not math.isclose(d * f, out) for d, f, out in zip(into, factors, size, strict=True)):
        raise InputError(f"a resize by {factors} of {into}", where=node.name, expected="whole sizes, or size= instead of scale_factor=")
    op = ops.ResizeBilinear(node.name, (source,), (node.name,), size=(size[0], size[1]), align_corners=align, half_pixel_centers=not align)
    builder.emit(node, op)


def _factors(node: fx.Node) -> list[float] | None:
    """The scale factors that the user gave, where no size was given."""
    names = [a.name for a in node.target._schema.arguments]  # pyright: ignore[reportFunctionMemberAccess,reportAttributeAccessIssue]
    for name, value in (*zip(names, node.args, strict=False), *node.kwargs.items()):
        if name in ("scale_factors",) and value:
            return [float(v) for v in value]  # pyright: ignore[reportGeneralTypeIssues]
    return None
