"""Whether an imported graph holds together: shapes, dtypes and scales of every operator, before anything computes with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.errors import InputError
from edgekd.quant import io, ops
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.passes.channels_last import channels_last

Shape = tuple[int, ...]
FLOATS, ACTIVATIONS = ("float16", "float32"), ("int8", "int16")
#: dtype of x → dtypes of weight and bias.
_WEIGHTS = {"int8": (("int8", "int4"), ("int32",)), "int16": (("int8", "int4"), ("int32", "int64"))}
_BINARY = (ops.Add, ops.Sub, ops.Mul, ops.SquaredDifference, ops.Maximum, ops.Minimum)


def read_folder(folder: Path) -> QuantGraph:
    """The graph saved in ``folder``, which may be anyone's. Raises InputError where it is damaged, or does not hold together."""
    graph, where = io.load(folder), str(folder / io.GRAPH)
    try:
        last = channels_last(graph)
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"does not hold together ({error})", where=where, expected="shapes that the operators can take") from error
    check(last, where)
    return graph


def check(graph: QuantGraph, where: str) -> QuantGraph:
    """``graph`` (channels last), if every operator's output follows from its inputs. Raises InputError, naming the operator."""
    for op in graph.ops:
        tensors = [graph.tensor(name) for name in op.inputs]
        out = graph.tensor(op.outputs[0])
        at = f"{where}, {type(op).__name__} {op.name}"
        try:
            shape = _shape(op, [t.shape for t in tensors])
        except (ValueError, IndexError, TypeError) as error:
            shapes = " and ".join(str(list(t.shape)) for t in tensors)
            raise InputError(f"inputs of shape {shapes}: {error}", where=at, expected="shapes that the operator can take") from error
        if shape != out.shape:
            raise InputError(f"output of shape {list(out.shape)}", where=at, expected=str(list(shape)))
        _check_dtypes(op, tensors, out, at)
    return graph


def _check_dtypes(op: ops.Op, tensors: list[Tensor], out: Tensor, at: str) -> None:
    if isinstance(op, ops.WEIGHTED):
        _check_weights(tensors, at)
        read = tensors[:1]
    else:
        read = tensors[:1] if isinstance(op, ops.Gather) else tensors
    if isinstance(op, ops.Gather) and tensors[1].dtype not in ("int32", "int64"):
        raise InputError(f"indices are {tensors[1].dtype}", where=at, expected="int32")
    kinds = {"float" if t.dtype in FLOATS else t.dtype for t in (*read, out)}
    if isinstance(op, (ops.Quantize, ops.Dequantize)):
        wanted = FLOATS if isinstance(op, ops.Dequantize) else ACTIVATIONS
        if out.dtype not in wanted:
            raise InputError(f"output is {out.dtype}", where=at, expected=" or ".join(wanted))
    elif len(kinds) != 1:
        raise InputError(f"{' and '.join(sorted(kinds))} in one operator", where=at, expected="one dtype for inputs and output")
    for tensor in (*read, out):
        if tensor.dtype in ACTIVATIONS and (tensor.quantization is None or tensor.quantization.axis is not None):
            raise InputError(f"{tensor.name!r} is {tensor.dtype} without one scale", where=at, expected="a scale and a zero point")
    if isinstance(op, ops.SHARES_SCALE) and out.dtype in ACTIVATIONS:
        found = {t.quantization.single for t in (*read, out) if t.quantization is not None}
        if len(found) != 1:
            raise InputError(f"scales and zero points {sorted(found)}", where=at, expected="one for inputs and output")


def _check_weights(tensors: list[Tensor], at: str) -> None:
    x, weight = tensors[:2]
    weights, biases = _WEIGHTS.get(x.dtype, (FLOATS, FLOATS))
    if weight.data is None or any(t.data is None for t in tensors[2:]):
        raise InputError("a weight or bias that is no constant", where=at, expected="constants")
    if x.dtype not in _WEIGHTS and x.dtype not in FLOATS:
        raise InputError(f"input is {x.dtype}", where=at, expected="int8, int16 or float32")
    if weight.dtype not in weights:
        mixed = x.dtype in FLOATS and weight.dtype in ("int8", "int4")
        raise InputError(
            f"{weight.dtype} weights on {x.dtype}" + (": dynamic-range quantization, whose scales exist only at run time" if mixed else ""),
            where=at,
            expected=f"{' or '.join(weights)} weights",
        )
    if len(tensors) == 3 and tensors[2].dtype not in biases:
        raise InputError(f"{tensors[2].dtype} bias on {x.dtype}", where=at, expected=" or ".join(biases))


def _shape(op: ops.Op, shapes: list[Shape]) -> Shape:
    """Shape of the output. Raises ValueError, IndexError or TypeError for inputs that do not fit."""
    rule = _RULES.get(type(op))
    return rule(op, shapes) if rule else shapes[0]


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _bias(shapes: list[Shape], channels: int) -> None:
    _demand(len(shapes) < 3 or shapes[2] == (channels,), f"a bias of [{channels}] is wanted")


def _window(x: Shape, kernel: Shape, op: Any, dilation: ops.Pair = (1, 1)) -> Shape:
    sizes = []
    for axis in (0, 1):
        before, after = op.padding[2 * axis : 2 * axis + 2]
        size = x[1 + axis] + before + after - (kernel[axis] - 1) * dilation[axis] - 1
        _demand(size >= 0, "the window is larger than the padded input")
        sizes.append(size // op.stride[axis] + 1)
    return (sizes[0], sizes[1])


def _conv(op: ops.Conv2D, shapes: list[Shape]) -> Shape:
    x, weight = shapes[:2]
    _demand(len(x) == len(weight) == 4 and x[3] == weight[3] * op.groups and weight[0] % op.groups == 0, "[N, H, W, C], [out, kh, kw, in]")
    _bias(shapes, weight[0])
    return (x[0], *_window(x, weight[1:3], op, op.dilation), weight[0])


def _depthwise(op: ops.DepthwiseConv2D, shapes: list[Shape]) -> Shape:
    x, weight = shapes[:2]
    _demand(len(x) == len(weight) == 4 and weight[0] == 1 and weight[3] == x[3] * op.multiplier, "[N, H, W, C], [1, kh, kw, out]")
    _bias(shapes, weight[3])
    return (x[0], *_window(x, weight[1:3], op, op.dilation), weight[3])


def _transpose_conv(op: ops.TransposeConv2D, shapes: list[Shape]) -> Shape:
    x, weight = shapes[:2]
    _demand(len(x) == len(weight) == 4 and x[3] == weight[3], "[N, H, W, C], [out, kh, kw, in]")
    _bias(shapes, weight[0])
    sizes = [(x[1 + i] - 1) * op.stride[i] + weight[1 + i] - sum(op.padding[2 * i : 2 * i + 2]) + op.extra[i] for i in (0, 1)]
    return (x[0], *sizes, weight[0])


def _fully_connected(op: ops.FullyConnected, shapes: list[Shape]) -> Shape:
    x, weight = shapes[:2]
    _demand(len(x) >= 2 and len(weight) == 2 and x[-1] == weight[1], "[..., in] and [out, in]")
    _bias(shapes, weight[0])
    return (*x[:-1], weight[0])


def _matmul(op: ops.BatchMatMul, shapes: list[Shape]) -> Shape:
    a, b = shapes
    _demand(len(a) >= 2 and len(b) >= 2, "[..., m, k] and [..., k, n]")
    m, k, rows, columns = *a[len(a) - 2 :], *b[len(b) - 2 :]
    _demand(k == (columns if op.adjoint_b else rows), "[..., m, k] and [..., k, n]")
    return (*np.broadcast_shapes(a[:-2], b[:-2]), m, rows if op.adjoint_b else columns)


def _pool(op: ops.AveragePool2D | ops.MaxPool2D, shapes: list[Shape]) -> Shape:
    x = shapes[0]
    _demand(len(x) == 4, "[N, H, W, C]")
    # A window that lies in the padding alone would have nothing to pool.
    _demand(max(op.padding[:2]) < op.kernel[0] and max(op.padding[2:]) < op.kernel[1], "the padding is as large as the window")
    return (x[0], *_window(x, op.kernel, op), x[3])


def _reduce(op: ops.Mean | ops.Sum | ops.ReduceMax, shapes: list[Shape]) -> Shape:
    x = shapes[0]
    axes = {axis % len(x) for axis in op.axes if -len(x) <= axis < len(x)}
    _demand(len(axes) == len(op.axes) and 0 not in axes, f"axes {op.axes}")
    if op.keepdims:
        return tuple(1 if i in axes else size for i, size in enumerate(x))
    return tuple(size for i, size in enumerate(x) if i not in axes)


def _resize(op: ops.ResizeNearest | ops.ResizeBilinear, shapes: list[Shape]) -> Shape:
    _demand(len(shapes[0]) == 4, "[N, H, W, C]")
    return (shapes[0][0], *op.size, shapes[0][3])


def _broadcast(op: ops.Op, shapes: list[Shape]) -> Shape:
    return np.broadcast_shapes(*shapes)


def _reshape(op: ops.Reshape, shapes: list[Shape]) -> Shape:
    _demand(math.prod(shapes[0]) == math.prod(op.shape), f"{math.prod(op.shape)} elements are wanted")
    return op.shape


def _transpose(op: ops.Transpose, shapes: list[Shape]) -> Shape:
    _demand(len(op.order) == len(shapes[0]), f"order {op.order}")
    return tuple(shapes[0][axis] for axis in op.order)


def _concat(op: ops.Concat, shapes: list[Shape]) -> Shape:
    rank = len(shapes[0])
    _demand(-rank <= op.axis < rank and op.axis % rank != 0, f"axis {op.axis}")
    axis = op.axis % rank
    _demand(len({(*s[:axis], *s[axis + 1 :]) for s in shapes}) == 1, "they differ along another axis as well")
    return (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])


def _slice(op: ops.Slice, shapes: list[Shape]) -> Shape:
    x = shapes[0]
    _demand(len(op.begin) == len(x) and op.begin[0] == 0 and op.size[0] == x[0], "the batch is to stay whole")
    for begin, size, step, whole in zip(op.begin, op.size, op.step, x, strict=True):
        _demand(begin + (size - 1) * step < whole, f"from {begin}, {size} values {step} apart reach beyond {whole}")
    return op.size


def _gather(op: ops.Gather, shapes: list[Shape]) -> Shape:
    return (*shapes[1], *shapes[0][1:])


def _pad(op: ops.Pad, shapes: list[Shape]) -> Shape:
    _demand(len(op.amounts) == len(shapes[0]) and not any(op.amounts[0]), f"amounts {op.amounts}")
    _demand(min(min(pair) for pair in op.amounts) >= 0, f"amounts {op.amounts}")
    return tuple(before + size + after for (before, after), size in zip(op.amounts, shapes[0], strict=True))


_RULES: dict[type[ops.Op], Callable[[Any, list[Shape]], Shape]] = {
    ops.Conv2D: _conv,
    ops.DepthwiseConv2D: _depthwise,
    ops.TransposeConv2D: _transpose_conv,
    ops.FullyConnected: _fully_connected,
    ops.BatchMatMul: _matmul,
    ops.AveragePool2D: _pool,
    ops.MaxPool2D: _pool,
    ops.Mean: _reduce,
    ops.Sum: _reduce,
    ops.ReduceMax: _reduce,
    ops.ResizeNearest: _resize,
    ops.ResizeBilinear: _resize,
    **dict.fromkeys(_BINARY, _broadcast),
    ops.PRelu: _broadcast,
    ops.Reshape: _reshape,
    ops.Transpose: _transpose,
    ops.Concat: _concat,
    ops.Slice: _slice,
    ops.Gather: _gather,
    ops.Pad: _pad,
}
