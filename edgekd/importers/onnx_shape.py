"""ONNX operators that move values, and resizing; listed in READ."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgekd.importers.onnx_draft import Draft
from edgekd.importers.onnx_file import Node
from edgekd.importers.onnx_fold import axes_of, ints, slices, split_sizes, target_shape
from edgekd.quant import ops
from edgekd.quant.graph import Tensor


def _move(draft: Draft, node: Node, op: type[ops.Op], x: Tensor, shape: tuple[int, ...], /, **options: Any) -> None:
    draft.finish(node, draft.emit(op, node, [x.name], shape, like=x.name, output=node.outputs[0], **options))


def _to_shape(draft: Draft, node: Node, x: Tensor, shape: tuple[int, ...]) -> None:
    if shape == x.shape:
        draft.finish(node, x.name)
    elif not shape:
        raise node.refuse(f"{list(x.shape)} to a single number", "a reshape that keeps the batch")
    else:
        # A batch that goes away here has to come back: checked at the end, when rows of a matrix product have become one operator.
        _move(draft, node, ops.Reshape, x, shape, shape=shape)


def _reshape(draft: Draft, node: Node) -> None:
    x = draft.tensor(node, 0)
    wanted = ints(draft.need(node, 1, "shape")) if draft.opset >= 5 and draft.has(node, 1) else list(node.attributes.get("shape", ()))
    _to_shape(draft, node, x, target_shape(node, wanted, x.shape))


def _flatten(draft: Draft, node: Node) -> None:
    x = draft.tensor(node, 0)
    axis = int(node.attributes.get("axis", 1))
    axis += len(x.shape) if axis < 0 else 0
    _to_shape(draft, node, x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def _squeeze(draft: Draft, node: Node) -> None:
    x = draft.tensor(node, 0)
    axes = axes_of(node, [None, draft.array(node, 1)], len(x.shape))
    if axes is None:
        axes = [a for a, d in enumerate(x.shape) if d == 1 and a]
    if any(x.shape[a] != 1 for a in axes):
        raise node.refuse(f"axes {axes} of {list(x.shape)}", "axes of size 1")
    _to_shape(draft, node, x, tuple(d for a, d in enumerate(x.shape) if a not in axes))


def _unsqueeze(draft: Draft, node: Node) -> None:
    x = draft.tensor(node, 0)
    found = draft.array(node, 1)
    count = len(ints(found)) if found is not None else len(node.attributes.get("axes", ()))
    axes = axes_of(node, [None, found], len(x.shape) + count) or []
    left = iter(x.shape)
    _to_shape(draft, node, x, tuple(1 if a in axes else next(left) for a in range(len(x.shape) + count)))


def _transpose(draft: Draft, node: Node) -> None:
    x = draft.tensor(node, 0)
    order = tuple(node.attributes.get("perm", tuple(reversed(range(len(x.shape))))))
    if sorted(order) != list(range(len(x.shape))):
        raise node.refuse(f"order {list(order)}", "each axis once")
    if x.data is not None:
        q = x.quantization
        if q is not None and q.axis is not None:
            q = type(q)(q.scale, q.zero_point, order.index(q.axis))
        draft.finish(node, draft.add_constant(x.name, x.data.transpose(order), x.dtype, q).name)
        return
    shape = tuple(x.shape[i] for i in order)
    if order[0] != 0:
        if [i for i in order if x.shape[i] > 1] == sorted(i for i in order if x.shape[i] > 1) and shape[0] == x.shape[0]:
            _to_shape(draft, node, x, shape)
            return
        raise node.refuse(f"order {list(order)} moves the batch", "the batch first")
    _move(draft, node, ops.Transpose, x, shape, order=order)


def _concat(draft: Draft, node: Node) -> None:
    parts = [draft.tensor(node, at) for at in range(len(node.inputs))]
    rank = len(parts[0].shape)
    axis = int(node.attributes.get("axis", 1))
    axis += rank if axis < 0 else 0
    if not 0 < axis < rank or any(
        len(p.shape) != rank or p.shape[:axis] + p.shape[axis + 1 :] != parts[0].shape[:axis] + parts[0].shape[axis + 1 :] for p in parts
    ):
        raise node.refuse(
            f"{[list(p.shape) for p in parts]} along axis {axis}", "shapes that agree but for the axis, which is not the batch"
        )
    shape = (*parts[0].shape[:axis], sum(p.shape[axis] for p in parts), *parts[0].shape[axis + 1 :])
    held = next((p for p in parts if p.dtype != "float32" and p.data is None), None)
    like = None if held is None else held.name
    draft.finish(node, draft.emit(ops.Concat, node, [p.name for p in parts], shape, axis=axis, like=like, output=node.outputs[0]))


def _slice(draft: Draft, node: Node, x: Tensor, found: list[slice[Any, Any, Any]], output: str | None) -> str:
    begin, size, step = [], [], []
    for axis, (part, extent) in enumerate(zip(found, x.shape, strict=True)):
        first, last, by = part.indices(extent)
        count = len(range(first, last, by))
        if by < 0 or count < 1 or (axis == 0 and count != extent):
            raise node.refuse(f"takes {count} of {extent} along axis {axis}, step {by}", "at least one, forwards, and all of the batch")
        begin.append(first)
        size.append(count)
        step.append(by)
    if tuple(size) == x.shape:
        return x.name
    options = {"begin": tuple(begin), "size": tuple(size), "step": tuple(step)}
    return draft.emit(ops.Slice, node, [x.name], tuple(size), like=x.name, output=output, **options)


def _slice_node(draft: Draft, node: Node) -> None:
    x = draft.tensor(node, 0)
    inputs: list[np.ndarray | None] = [None, *(draft.array(node, at) for at in range(1, len(node.inputs)))]
    if any(draft.has(node, at) and inputs[at] is None for at in range(1, len(node.inputs))):
        raise node.refuse("limits that are computed while it runs", "constant limits")
    draft.finish(node, _slice(draft, node, x, slices(node, inputs, x.shape), node.outputs[0]))


def _split(draft: Draft, node: Node) -> None:
    x = draft.tensor(node, 0)
    axis = int(node.attributes.get("axis", 0))
    axis += len(x.shape) if axis < 0 else 0
    sizes, start = split_sizes(node, [None, draft.array(node, 1)], x.shape[axis]), 0
    for at, size in enumerate(sizes):
        found = [slice(0, d) for d in x.shape]
        found[axis] = slice(start, start + size)
        if node.outputs[at]:
            draft.finish(node, _slice(draft, node, x, found, node.outputs[at]), at)
        start += size


def _gather(draft: Draft, node: Node) -> None:
    x = draft.tensor(node, 0)
    axis = int(node.attributes.get("axis", 0))
    axis += len(x.shape) if axis < 0 else 0
    index = draft.array(node, 1)
    if index is None:
        rows = draft.tensor(node, 1)
        if x.data is None or axis or rows.dtype not in ("int32", "int64") or len(x.shape) != 2:
            raise node.refuse("rows that are computed while it runs", "a constant table [rows, features], and integer rows along axis 0")
        shape = (*rows.shape, *x.shape[1:])
        like = None if x.quantization is not None or x.dtype == "float16" else x.name
        made = draft.emit(ops.Gather, node, [x.name, rows.name], shape, like=like, integers=True, output=node.outputs[0])
        draft.finish(node, made)
        return
    if index.ndim > 1 or not index.size or axis == 0:
        raise node.refuse(
            f"constant rows of shape {list(index.shape)} along axis {axis}", "one row, or a regular sequence, after the batch"
        )
    rows = [i + x.shape[axis] if i < 0 else i for i in ints(index)]
    step = rows[1] - rows[0] if len(rows) > 1 else 1
    if step < 1 or rows != list(range(rows[0], rows[-1] + 1, step)) or not 0 <= rows[0] <= rows[-1] < x.shape[axis]:
        raise node.refuse(f"rows {rows[:8]} of {x.shape[axis]}", "a regular sequence, forwards")
    found = [slice(0, d) for d in x.shape]
    found[axis] = slice(rows[0], rows[-1] + 1, step)
    made = _slice(draft, node, x, found, node.outputs[0] if index.ndim else None)
    if index.ndim:
        draft.finish(node, made)
    else:
        _to_shape(draft, node, draft.tensors[made], x.shape[:axis] + x.shape[axis + 1 :])


def _pad(draft: Draft, node: Node) -> None:
    x = draft.tensor(node, 0)
    amounts = list(node.attributes.get("pads", ())) or ints(draft.need(node, 1, "pads"))
    value = draft.array(node, 2)
    fill = float(node.attributes.get("value", 0.0)) if value is None else float(value.reshape(-1)[0])
    axes = ints(draft.need(node, 3, "axes")) if draft.has(node, 3) else list(range(len(x.shape)))
    if node.attributes.get("mode", "constant") != "constant" or len(amounts) != 2 * len(axes) or min(amounts, default=0) < 0:
        raise node.refuse(f"mode {node.attributes.get('mode')!r}, pads {amounts}", "mode constant, two amounts ≥ 0 an axis")
    pairs = [(0, 0)] * len(x.shape)
    for at, axis in enumerate(axes):
        pairs[axis] = (amounts[at], amounts[at + len(axes)])
    zero = 0.0
    if x.quantization is not None and x.data is None:
        zero = x.quantization.single[1] + (128 if value is not None and value.dtype == np.uint8 else 0)
    lowest = fill <= -3e38
    if (fill != zero and not lowest) or any(pairs[0]):
        raise node.refuse(f"fills with {fill}", "0, and nothing along the batch")
    shape = tuple(d + sum(pair) for d, pair in zip(x.shape, pairs, strict=True))
    if shape == x.shape:
        draft.finish(node, x.name)
        return
    _move(draft, node, ops.Pad, x, shape, amounts=tuple(pairs), fill="lowest" if lowest else "zero")


def _resize(draft: Draft, node: Node) -> None:
    x = draft.tensor(node, 0)
    mode = node.attributes.get("mode", "nearest")
    old_form = node.kind == "Upsample" or draft.opset < 11
    where = "asymmetric" if old_form else node.attributes.get("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if old_form else node.attributes.get("nearest_mode", "round_prefer_floor")
    sizes, scales = (None, draft.array(node, 1)) if old_form else (draft.array(node, 3), draft.array(node, 2))
    scales = node.attributes.get("scales", scales)
    axes = [a % 4 for a in node.attributes.get("axes", range(4))]
    if len(x.shape) != 4 or mode not in ("nearest", "linear") or node.attributes.get("antialias", 0) or sorted(set(axes)) != axes:
        raise node.refuse(f"mode {mode!r} on {list(x.shape)}", "nearest or linear on an image, without antialias")
    if sizes is not None and sizes.size:
        given = dict(zip(axes, ints(sizes), strict=True))
        size = [given.get(a, d) for a, d in enumerate(x.shape)]
        factors = [s / d for s, d in zip(size, x.shape, strict=True)]
    else:
        scaled = dict(zip(axes, (float(v) for v in np.asarray(() if scales is None else scales).reshape(-1)), strict=True))
        factors = [scaled.get(a, 1.0) for a in range(4)]
        size = [math.floor(d * f) for d, f in zip(x.shape, factors, strict=True)]
    if tuple(size[:2]) != x.shape[:2] or min(size) < 1 or max(size) > 1 << 16:
        raise node.refuse(f"{list(x.shape)} to {size}", "another height and width, and nothing else")
    old, new = x.shape[2:], (size[2], size[3])
    wanted = [_sources(n, o, f, where, node) for n, o, f in zip(new, old, factors[2:], strict=True)]
    if mode == "nearest":
        wanted = [_nearest(w, rounding, node) for w in wanted]
    for corners, half in ((False, False), (False, True), (True, False)):
        own = [_own_sources(n, o, corners, half, nearest=mode == "nearest") for n, o in zip(new, old, strict=True)]
        if all(np.allclose(np.clip(a, 0, o - 1), np.clip(b, 0, o - 1), atol=1e-4) for a, b, o in zip(wanted, own, old, strict=True)):
            op = ops.ResizeNearest if mode == "nearest" else ops.ResizeBilinear
            options = {"size": new, "align_corners": corners, "half_pixel_centers": half}
            _move(draft, node, op, x, (*x.shape[:2], *new), **options)
            return
    raise node.refuse(f"coordinates {where!r} with {rounding!r}, {list(old)} to {list(new)}", "coordinates that TFLite has as well")


def _sources(new: int, old: int, factor: float, where: str, node: Node) -> np.ndarray:
    """Where in the input each output position lies, as coordinate_transformation_mode says."""
    at = np.arange(new)
    if where == "asymmetric":
        return at / factor
    if where == "align_corners":
        return at * ((old - 1) / (new - 1)) if new > 1 else at * 0.0
    if where in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"):
        return at * 0.0 if where == "pytorch_half_pixel" and new == 1 else (at + 0.5) / factor - 0.5
    raise node.refuse(f"coordinates {where!r}", "asymmetric, align_corners or half_pixel")


def _nearest(at: np.ndarray, rounding: str, node: Node) -> np.ndarray:
    rules = {
        "floor": np.floor,
        "ceil": np.ceil,
        "round_prefer_floor": lambda v: np.ceil(v - 0.5),
        "round_prefer_ceil": lambda v: np.floor(v + 0.5),
    }
    if rounding not in rules:
        raise node.refuse(f"nearest_mode {rounding!r}", ", ".join(rules))
    return rules[rounding](at)


def _own_sources(new: int, old: int, corners: bool, half: bool, *, nearest: bool) -> np.ndarray:
    """The waist's coordinates, which are TFLite's."""
    at = np.arange(new)
    factor = (old - 1) / (new - 1) if corners and new > 1 else old / new
    if nearest:
        return np.floor((at + 0.5) * factor) if half else np.floor(at * factor + (0.5 if corners else 0))
    return (at + 0.5) * factor - 0.5 if half else at * factor


def _same(draft: Draft, node: Node) -> None:
    draft.finish(node, draft.tensor(node, 0).name)


def _cast(draft: Draft, node: Node) -> None:
    x = draft.tensor(node, 0)
    real = node.attributes.get("to") in (1, 10, 11, 16)
    if real != (x.dtype in ("float32", "float16")) or (not real and node.attributes.get("to") not in (6, 7)):
        raise node.refuse(f"from {x.dtype} to element type {node.attributes.get('to')}", "between real types, or between integer types")
    draft.finish(node, x.name)


def _expand(draft: Draft, node: Node) -> None:
    x, shape = draft.tensor(node, 0), tuple(ints(draft.need(node, 1, "shape")))
    if np.broadcast_shapes(x.shape, shape) != x.shape:
        raise node.refuse(f"{list(x.shape)} to {list(shape)}", "the shape that it has")
    draft.finish(node, x.name)


READ: Mapping[str, Callable[[Draft, Node], None]] = {
    "Reshape": _reshape, "Flatten": _flatten, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Transpose": _transpose, "Concat": _concat,
    "Slice": _slice_node, "Split": _split, "Gather": _gather, "Pad": _pad, "Resize": _resize, "Upsample": _resize, "Identity": _same,
    "Dropout": _same, "Cast": _cast, "Expand": _expand,
}  # fmt: skip
