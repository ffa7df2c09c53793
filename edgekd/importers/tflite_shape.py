"""TFLite's operators that move, reduce or resize → the graph's; listed in READERS.

Axes are those of the file; where the batch is not among them (see tflite_build.py) everything happens one axis further.
"""

from __future__ import annotations

import numpy as np

from edgekd.importers.tflite_build import Build, lift_of
from edgekd.importers.tflite_ops import Read, fused, operands
from edgekd.importers.tflite_tables import FileOperator
from edgekd.quant import ops


def _axis(build: Build, op: FileOperator, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise build.refuse(op, f"axis {axis} of {rank}", f"{-rank} to {rank - 1}")
    return axis % rank


def _reshape(build: Build, op: FileOperator) -> None:
    """The output's shape as the file states it decides; what computes it, if something does, is not looked at."""
    if not op.inputs or op.inputs[0] < 0 or len(op.outputs) != 1:
        raise build.refuse(op, f"{len(op.inputs)} inputs", "a tensor, and perhaps a shape")
    shape = build.shape(op.outputs[0])
    build.put(ops.Reshape("", (build.read(op.inputs[0]),), ("",), shape), op.outputs[0])


def _transpose(build: Build, op: FileOperator) -> None:
    x, order = operands(build, op, 2)
    axes = build.integers(order)
    lift = lift_of(build, (x, *op.outputs)) or (bool(axes) and axes[0] != 0)
    shape = build.shape(x, lift)
    if lift:
        axes = (0, *(axis + 1 for axis in axes))
    if sorted(axes) != list(range(len(shape))):
        raise build.refuse(op, f"order {axes} of {list(shape)}", "each axis once")
    moved = [axis for axis in axes if shape[axis] > 1]
    if moved == sorted(moved):  # only axes of 1 move: no value does
        build.put(ops.Reshape("", (build.read(x),), ("",), build.shape(op.outputs[0])), op.outputs[0])
        return
    build.put(ops.Transpose("", (build.read(x, lift),), ("",), axes), op.outputs[0], build.shape(op.outputs[0], lift))


def _concat(build: Build, op: FileOperator) -> None:
    inputs = operands(build, op, 1, 64)
    out = op.outputs[0]
    axis = _axis(build, op, op.options["Axis"], len(build.entry(out).shape))
    lift = lift_of(build, (*inputs, out)) or axis == 0
    names = tuple(_at_rank(build, number, lift) for number in inputs)
    if fused(build, op) != "none":
        raise build.refuse(op, "a fused activation", "none")
    build.put(ops.Concat("", names, ("",), axis + lift), out, build.shape(out, lift))


def _at_rank(build: Build, number: int, lift: bool) -> str:
    """The operand with the file's own axes, behind one more where it is lifted; constants too."""
    return build.reshaped(build.read(number, lift), build.shape(number, lift))


def _pack(build: Build, op: FileOperator) -> None:
    inputs = operands(build, op, 1, 64)
    out = op.outputs[0]
    shape = build.entry(out).shape
    axis = _axis(build, op, op.options["Axis"], len(shape))
    lift = build.lifted(out) or axis == 0
    single = (*shape[:axis], 1, *shape[axis + 1 :])
    names = tuple(build.reshaped(build.read(number), (1, *single) if lift else single) for number in inputs)
    build.put(ops.Concat("", names, ("",), axis + lift), out, build.shape(out, lift))


def _pieces(build: Build, op: FileOperator, x: int, axis: int, sizes: list[int]) -> None:
    """One Slice an output, each of its size along ``axis``; outputs of fewer axes follow through a Reshape."""
    shape = build.entry(x).shape
    if len(sizes) != len(op.outputs) or sum(sizes) != shape[axis] or min(sizes, default=0) < 1:
        raise build.refuse(op, f"pieces of {sizes} for {len(op.outputs)} outputs", f"in all {shape[axis]}")
    lift = build.lifted(x) or axis == 0
    whole = build.shape(x, lift)
    name, at = build.read(x, lift), 0
    for number, size in zip(op.outputs, sizes, strict=True):
        begin = tuple(at if i == axis + lift else 0 for i in range(len(whole)))
        piece = tuple(size if i == axis + lift else d for i, d in enumerate(whole))
        build.put(ops.Slice("", (name,), ("",), begin, piece, (1,) * len(whole)), number, piece)
        at += size


def _split(build: Build, op: FileOperator) -> None:
    if len(op.inputs) != (2 if op.kind == "SPLIT" else 3) or min(op.inputs) < 0:
        raise build.refuse(op, f"{len(op.inputs)} inputs", "a tensor, an axis, and for SPLIT_V sizes")
    x, dimension = (op.inputs[1], op.inputs[0]) if op.kind == "SPLIT" else (op.inputs[0], op.inputs[2])
    shape = build.entry(x).shape
    axis = _axis(build, op, (*build.integers(dimension), 0)[0], len(shape))
    if op.kind == "SPLIT":
        sizes = [shape[axis] // len(op.outputs)] * len(op.outputs) if op.outputs else []
    else:
        sizes = list(build.integers(op.inputs[1]))
        if sizes.count(-1) == 1:
            sizes[sizes.index(-1)] = shape[axis] - sum(sizes) - 1
    _pieces(build, op, x, axis, sizes)


def _unpack(build: Build, op: FileOperator) -> None:
    if len(op.inputs) != 1 or op.inputs[0] < 0:
        raise build.refuse(op, f"{len(op.inputs)} inputs", "one")
    x = op.inputs[0]
    axis = _axis(build, op, op.options["Axis"], len(build.entry(x).shape))
    _pieces(build, op, x, axis, [1] * len(op.outputs))


def _slice(build: Build, op: FileOperator) -> None:
    x, begin, size = operands(build, op, 3)
    shape, starts, sizes = build.entry(x).shape, build.integers(begin), build.integers(size)
    if not len(shape) == len(starts) == len(sizes):
        raise build.refuse(op, f"begin {starts} and size {sizes} of {list(shape)}", "one an axis")
    sizes = tuple(whole - at if n == -1 else n for whole, at, n in zip(shape, starts, sizes, strict=True))
    _sliced(build, op, x, starts, sizes, (1,) * len(shape))


def _strided_slice(build: Build, op: FileOperator) -> None:
    x, *bounds = operands(build, op, 4)
    shape = build.entry(x).shape
    begins, ends, steps = (build.integers(number) for number in bounds)
    o = op.options
    if o["EllipsisMask"] or o["NewAxisMask"] or not len(begins) == len(ends) == len(steps) <= len(shape) or min(steps, default=1) < 1:
        raise build.refuse(op, f"begin {begins}, end {ends}, strides {steps}, or new axes", "an entry an axis, strides of at least 1")
    starts, sizes, strides = [0] * len(shape), list(shape), [1] * len(shape)
    for i, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        whole, bit = shape[i], 1 << i
        end = begin + end if o["Offset"] else end
        start = 0 if o["BeginMask"] & bit else min(max(begin + whole if begin < 0 else begin, 0), whole)
        stop = whole if o["EndMask"] & bit else min(max(end + whole if end < 0 else end, 0), whole)
        if o["ShrinkAxisMask"] & bit:
            stop = start + 1
        starts[i], sizes[i], strides[i] = start, max(-(-(stop - start) // step), 0), step
    _sliced(build, op, x, tuple(starts), tuple(sizes), tuple(strides))


def _sliced(build: Build, op: FileOperator, x: int, begin: tuple[int, ...], size: tuple[int, ...], step: tuple[int, ...]) -> None:
    """Axes that the output has no more (shrunk) go with a Reshape."""
    shape = build.entry(x).shape
    lift = build.lifted(x) or not shape or size[0] != 1 or shape[0] != 1
    if lift:
        begin, size, step = (0, *begin), (1, *size), (1, *step)
    build.put(ops.Slice("", (build.read(x, lift),), ("",), begin, size, step), op.outputs[0], size)


def _gather(build: Build, op: FileOperator) -> None:
    """Rows of a constant table. EMBEDDING_LOOKUP has the indices first."""
    first, second = operands(build, op, 2)
    table, indices = (second, first) if op.kind == "EMBEDDING_LOOKUP" else (first, second)
    if op.options.get("Axis", 0) != 0 or op.options.get("BatchDims", 0) != 0 or not build.is_constant(table) or build.is_constant(indices):
        raise build.refuse(op, f"axis {op.options.get('Axis', 0)} or a table that is computed", "rows of a constant table")
    shape = (*build.shape(indices), *build.shape(table)[1:])
    build.put(ops.Gather("", (build.read(table), build.read(indices)), ("",)), op.outputs[0], shape)


def _pad(build: Build, op: FileOperator) -> None:
    x, amounts, *fill = operands(build, op, 2, 3)
    shape, flat = build.entry(x).shape, build.integers(amounts)
    if len(flat) != 2 * len(shape):
        raise build.refuse(op, f"{len(flat)} amounts", f"two for each of {len(shape)} axes")
    pairs = tuple((flat[i], flat[i + 1]) for i in range(0, len(flat), 2))
    lift = build.lifted(x) or (bool(pairs) and any(pairs[0]))
    name = build.read(x, lift)
    kind = "zero"
    if fill:
        constant, tensor = build.constant(fill[0]), build.tensors[name]
        values = np.asarray(constant.data).ravel()
        zero = 0 if tensor.quantization is None else tensor.quantization.single[1]
        lowest = np.iinfo(values.dtype).min if values.dtype.kind == "i" else np.finfo(np.float32).min
        if values.size != 1 or not (values[0] == zero or values[0] <= lowest):
            raise build.refuse(op, "another fill value", "zero, or the lowest")
        kind = "zero" if values[0] == zero else "lowest"
    made = ops.Pad("", (name,), ("",), ((0, 0), *pairs) if lift else pairs, kind)
    build.put(made, op.outputs[0], build.shape(op.outputs[0], lift))


_REDUCERS: dict[str, type[ops.Mean | ops.Sum | ops.ReduceMax]] = {"MEAN": ops.Mean, "SUM": ops.Sum, "REDUCE_MAX": ops.ReduceMax}


def _reduce(build: Build, op: FileOperator) -> None:
    x, axes = operands(build, op, 2)
    rank = len(build.entry(x).shape)
    chosen = tuple(dict.fromkeys(_axis(build, op, axis, rank) for axis in build.integers(axes)))
    lift, keep = build.lifted(x) or 0 in chosen, bool(op.options["KeepDims"])
    chosen = tuple(sorted(axis + lift for axis in chosen))
    whole = build.shape(x, lift)
    shape = tuple(1 if i in chosen else d for i, d in enumerate(whole) if keep or i not in chosen)
    build.put(_REDUCERS[op.kind]("", (build.read(x, lift),), ("",), chosen, keep), op.outputs[0], shape)


def _resize(build: Build, op: FileOperator) -> None:
    x, size = operands(build, op, 2)
    cls = ops.ResizeBilinear if op.kind == "RESIZE_BILINEAR" else ops.ResizeNearest
    wanted = build.integers(size)
    if len(wanted) != 2:
        raise build.refuse(op, f"size {wanted}", "height and width")
    corners, centers = bool(op.options["AlignCorners"]), bool(op.options["HalfPixelCenters"])
    build.put(cls("", (build.read(x),), ("",), (wanted[0], wanted[1]), corners, centers), op.outputs[0])


READERS: dict[str, Read] = {
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), _reshape),
    "TRANSPOSE": _transpose,
    "CONCATENATION": _concat,
    "PACK": _pack,
    "UNPACK": _unpack,
    "SPLIT": _split,
    "SPLIT_V": _split,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "GATHER": _gather,
    "EMBEDDING_LOOKUP": _gather,
    "PAD": _pad,
    "PADV2": _pad,
    "MEAN": _reduce,
    "SUM": _reduce,
    "REDUCE_MAX": _reduce,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "RESIZE_BILINEAR": _resize,
}
