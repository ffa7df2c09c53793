"""What each ATen operator does with channels: ties some together, lets them pass, makes new ones, or fixes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgekd.compress.flow_shape import (
    Handler,
    Shape,
    aligned,
    argument,
    chunks,
    cut,
    expanded,
    flowing,
    joined,
    permuted,
    reshaped,
    transposed_axes,
)  # fmt: skip
from edgekd.compress.units import FIXED, Flow, Layer, Stored, Ties


def _each(ties: Ties, args: Sequence[Any], shape: Shape) -> Flow:
    """One value in, one out."""
    x = flowing(args[0])
    return x.moved(shape, x.axis)


def _together(ties: Ties, args: Sequence[Any], shape: Shape) -> Flow:
    """Two tensors, element by element, broadcast as torch does: their channels are the same from here on."""
    result: Flow | Stored | None = None
    for other in (one for one in args if isinstance(one, Flow | Stored)):
        if isinstance(other, Stored) and other.numel == 1:
            continue
        other = aligned(other, len(shape))
        result = other if result is None else _pair(ties, result, other, shape)
    return Flow(shape) if result is None or isinstance(result, Stored) else result.moved(shape, result.axis)


def _pair(ties: Ties, a: Flow | Stored, b: Flow | Stored, shape: Shape) -> Any:
    if isinstance(a, Stored):
        a, b = b, a
    if isinstance(a, Stored):
        return Flow(shape)
    if a.axis is None and isinstance(b, Flow) and b.axis is not None:
        a, b = b, a
    if a.axis is None or a.labels is None:
        return a
    axis = a.axis
    if isinstance(b, Stored):
        if b.shape[axis] == a.shape[axis]:
            ties.bind(b, axis - (len(shape) - len(b.shape)), a.labels)
        return a
    if b.axis is None and b.shape[axis] == 1:
        return a
    if b.axis == axis and b.labels is not None and a.shape[axis] == b.shape[axis]:
        ties.unite(a.labels, b.labels)
        return a
    ties.fix(a, b)
    return Flow(shape)


def _convolution(ties: Ties, args: Sequence[Any], shape: Shape) -> Flow:
    x, weight, bias = flowing(args[0]), args[1], argument(args, 2)
    groups = argument(args, 6) or 1
    if not isinstance(weight, Stored) or len(x.shape) != len(weight.shape):
        ties.other_macs += math.prod(shape) * math.prod(weight.shape[1:])
        return _unknown(ties, args, shape)
    ties.layers.append(Layer(weight.name, weight.shape, math.prod(shape[2:])))
    read = _read(ties, x, 1)
    out, per = weight.shape[0], x.shape[1] // groups
    if per == 1 and groups > 1:  # one filter or several for each channel: these go with it
        made = np.repeat(read, out // groups)
    else:
        if groups > 1:  # as many channels must go from each group: those of one place go together
            for group in read.reshape(groups, per)[1:]:
                ties.unite(read[:per], group)
        ties.bind(weight, 1, read[:per])
        ties.reads.add((weight.name, 1))
        made = np.tile(ties.fresh(out // groups), groups)
    ties.bind(weight, 0, made)
    ties.bind(bias, 0, made)
    return Flow(shape, 1, made)


def _transposed(ties: Ties, args: Sequence[Any], shape: Shape) -> Flow:
    """``conv_transpose2d(x, weight, bias, stride, padding, output_padding, groups, dilation)``; its weight is [in, out, …]."""
    x, weight, bias = flowing(args[0]), args[1], argument(args, 2)
    if not isinstance(weight, Stored) or len(x.shape) != len(weight.shape) or (argument(args, 6) or 1) != 1:
        ties.other_macs += math.prod(x.shape) * math.prod(weight.shape[1:])
        return _unknown(ties, args, shape)
    ties.layers.append(Layer(weight.name, weight.shape, math.prod(x.shape[2:])))
    ties.bind(weight, 0, _read(ties, x, 1))
    ties.reads.add((weight.name, 0))
    made = ties.fresh(weight.shape[1])
    ties.bind(weight, 1, made)
    ties.bind(bias, 0, made)
    return Flow(shape, 1, made)


def _linear(ties: Ties, args: Sequence[Any], shape: Shape) -> Flow:
    x, weight = flowing(args[0]), args[1]
    if not isinstance(weight, Stored):
        ties.other_macs += math.prod(shape) * weight.shape[-1]
        return _unknown(ties, args, shape)
    ties.layers.append(Layer(weight.name, weight.shape, math.prod(shape[:-1])))
    ties.bind(weight, 1, _read(ties, x, len(x.shape) - 1))
    ties.reads.add((weight.name, 1))
    made = ties.fresh(weight.shape[0])
    ties.bind(weight, 0, made)
    ties.bind(argument(args, 2), 0, made)
    return Flow(shape, len(shape) - 1, made)


def _product(ties: Ties, args: Sequence[Any], shape: Shape) -> Flow:
    """A product of two activations, as in attention."""
    ties.other_macs += math.prod(shape) * args[0].shape[-1]
    return _unknown(ties, args, shape)


def _attention(ties: Ties, args: Sequence[Any], shape: Shape) -> Flow:
    """``scaled_dot_product_attention(q, k, v, …)``: two products."""
    q, k, v = (one.shape for one in args[:3])
    ties.other_macs += math.prod(q[:-1]) * k[-2] * (q[-1] + v[-1])
    return _unknown(ties, args, shape)


def _batch_norm(ties: Ties, args: Sequence[Any], shape: Shape) -> Flow:
    x = flowing(args[0])
    if x.axis != 1 or x.labels is None:
        ties.fix(x)
        return Flow(shape)
    for stored in args[1:5]:
        ties.bind(stored, 0, x.labels)
    if isinstance(args[1], Stored):
        ties.scales.add(args[1].name)
    return x.moved(shape, 1)


def _prelu(ties: Ties, args: Sequence[Any], shape: Shape) -> Flow:
    x, slope = flowing(args[0]), args[1]
    if isinstance(slope, Stored) and slope.numel == 1:
        return x.moved(shape, x.axis)
    if x.axis != 1 or x.labels is None or not isinstance(slope, Stored):
        return _unknown(ties, args, shape)
    ties.bind(slope, 0, x.labels)
    return x.moved(shape, 1)


def _windows(ties: Ties, args: Sequence[Any], shape: Any) -> Any:
    """Pools and resizing: height and width change, channels do not; a maximum may also say where it was."""
    x = flowing(args[0])
    if x.axis not in (None, 1):
        ties.fix(x)
        x = Flow(x.shape)
    return [x.moved(one, x.axis) for one in shape] if isinstance(shape, list) else x.moved(shape, x.axis)


def _reduced(ties: Ties, args: Sequence[Any], shape: Shape) -> Flow:
    x = flowing(args[0])
    dims = argument(args, 1)
    dims = list(range(len(x.shape))) if not dims and dims != 0 else [dims] if isinstance(dims, int) else dims
    gone = {dim % len(x.shape) for dim in dims}
    if x.axis is None or x.axis in gone:
        ties.fix(x)
        return Flow(shape)
    kept = len(shape) == len(x.shape)
    return x.moved(shape, x.axis if kept else x.axis - sum(dim < x.axis for dim in gone))


def _padded(ties: Ties, args: Sequence[Any], shape: Shape) -> Flow:
    x = flowing(args[0])
    if x.axis is not None and x.shape[x.axis] != shape[x.axis]:
        ties.fix(x)
        return Flow(shape)
    return x.moved(shape, x.axis)


def _unknown(ties: Ties, args: Sequence[Any], shape: Shape) -> Flow:
    for one in args:
        ties.fix(*(part for part in (one if isinstance(one, list | tuple) else [one]) if isinstance(part, Flow)))
    return Flow(shape)


def _read(ties: Ties, x: Flow, axis: int) -> np.ndarray:
    """The channels that a layer reads along ``axis``; fixed where others lie there."""
    if x.axis == axis and x.labels is not None:
        return x.labels
    ties.fix(x)
    return np.full(x.shape[axis], FIXED, np.int64)


#: By the operator's name without overload and without the underscore of those in place. What is not here fixes what it is fed.
FLOWS: dict[str, Handler] = {
    **dict.fromkeys(("relu", "relu6", "hardtanh", "clamp", "clamp_min", "clamp_max", "silu", "hardswish", "hardsigmoid"), _each),
    **dict.fromkeys(("leaky_relu", "sigmoid", "tanh", "elu", "gelu", "neg", "pow", "square", "rsqrt", "sqrt", "abs", "exp", "rsub"), _each),
    **dict.fromkeys(("dropout", "feature_dropout", "clone", "contiguous", "detach", "alias", "to", "_to_copy", "mish", "softplus"), _each),
    **dict.fromkeys(("add", "sub", "mul", "div", "maximum", "minimum"), _together),
    **dict.fromkeys(("conv1d", "conv2d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), _transposed),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"), _windows),
    **dict.fromkeys(("adaptive_max_pool2d", "upsample_nearest2d", "upsample_bilinear2d"), _windows),
    **dict.fromkeys(("mean", "sum", "amax"), _reduced),
    **dict.fromkeys(("pad", "constant_pad_nd"), _padded),
    **dict.fromkeys(("view", "reshape", "flatten", "_unsafe_view", "squeeze", "unsqueeze", "unflatten"), reshaped),
    **dict.fromkeys(("transpose", "t", "mT", "swapaxes"), transposed_axes),
    **dict.fromkeys(("matmul", "bmm"), _product),
    **dict.fromkeys(("cat", "concat"), joined),
    **dict.fromkeys(("slice", "narrow", "select", "split", "split_with_sizes"), cut),
    "linear": _linear,
    "scaled_dot_product_attention": _attention,
    "batch_norm": _batch_norm,
    "prelu": _prelu,
    "permute": permuted,
    "expand": expanded,
    "chunk": chunks,
}
