"""ATen operators with weights, and products of two activations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import fx

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.aten_builder import Builder, arguments, image, ours, pair, shape_of

#: Where a mask says "not here": far enough for softmax, near enough for one scale over what stands beside it.
MASKED = -32.0


def constants(builder: Builder, node: fx.Node, weight: np.ndarray, bias: np.ndarray | None, outputs: int) -> tuple[str, str]:
    return (
        builder.constant(f"{node.name}_weight", weight),
        builder.constant(f"{node.name}_bias", bias if bias is not None else np.zeros(outputs, np.float32)),
    )


def convolution(builder: Builder, node: fx.Node) -> None:
    x, w, b, stride, padding, dilation, groups = arguments(node, None, None, None, 1, 0, 1, 1)
    weight, bias = builder.value(w), builder.value(b)
    assert weight is not None
    flat = weight.ndim == 3
    source = as_image(builder, x) if flat else image(builder, x, "convolves")
    if flat:  # of height 1
        weight = weight[:, :, None]
        stride, dilation = (1, pair(stride)[0]), (1, pair(dilation)[0])
        padding = padding if isinstance(padding, str) else (0, pair(padding)[0])
    names = (source, *constants(builder, node, weight, bias, len(weight)))
    if padding == "same":  # torch puts the odd one after
        reach = [d * (k - 1) for k, d in zip(weight.shape[2:], pair(dilation), strict=True)]
        padding = (reach[0] // 2, reach[0] - reach[0] // 2, reach[1] // 2, reach[1] - reach[1] // 2)
    else:
        rows, columns = pair(0 if isinstance(padding, str) else padding)
        padding = (rows, rows, columns, columns)
    common: dict[str, Any] = {"stride": pair(stride), "padding": padding, "dilation": pair(dilation)}
    name = f"{node.name}_image" if flat else node.name
    channels = builder.tensors[source].shape[1]
    if groups == channels and groups > 1:
        op: ops.Op = ops.DepthwiseConv2D(name, names, (name,), multiplier=len(weight) // channels, **common)
    else:
        op = ops.Conv2D(name, names, (name,), groups=groups, **common)
    if flat:
        out = shape_of(node)
        from_image(builder, node, builder.step(op, (1, out[1], 1, out[2])))
    else:
        builder.emit(node, op)


def as_image(builder: Builder, argument: Any) -> str:
    """[N, C, L] as [N, C, 1, L]: the image behind it, where it was one."""
    name = builder.name_of(argument)
    if len(shape_of(argument)) != 3 or builder.batch[argument.name] != 0:
        raise InputError(f"convolves {shape_of(argument)}", where=str(argument), expected="[N, C, L], the batch alone on axis 0")
    before = next((op for op in builder.ops if op.outputs == (name,)), None)
    n, c, length = builder.tensors[name].shape
    if isinstance(before, ops.Reshape) and builder.tensors[before.inputs[0]].shape == (n, c, 1, length):
        return before.inputs[0]
    return builder.reshaped(name, (n, c, 1, length))


def from_image(builder: Builder, node: fx.Node, name: str) -> None:
    """``node`` [N, C, L] is the image ``name`` [N, C, 1, L] without its height."""
    builder.emit(node, ops.Reshape(node.name, (name,), (node.name,), shape=shape_of(node)))


def transposed_convolution(builder: Builder, node: fx.Node) -> None:
    x, w, b, stride, padding, extra, groups, dilation = arguments(node, None, None, None, 1, 0, 0, 1, 1)
    weight, bias = builder.value(w), builder.value(b)
    assert weight is not None
    if groups != 1 or pair(dilation) != (1, 1):
        raise InputError("a transposed convolution with groups or dilation", where=node.name, expected="groups=1, dilation=1")
    flat = weight.ndim == 3
    source = as_image(builder, x) if flat else image(builder, x, "convolves")
    if flat:
        weight = weight[:, :, None]
        stride, padding, extra = (1, pair(stride)[0]), (0, pair(padding)[0]), (0, pair(extra)[0])
    (rows, columns), (down, right) = pair(padding), pair(extra)
    # What torch appends, it first does not cut off.
    cut = (rows, max(rows - down, 0), columns, max(columns - right, 0))
    more = (max(down - rows, 0), max(right - columns, 0))
    name = f"{node.name}_image" if flat else node.name
    names = (source, *constants(builder, node, weight, bias, weight.shape[1]))
    op = ops.TransposeConv2D(name, names, (name,), stride=pair(stride), padding=cut, extra=more)
    if flat:
        out = shape_of(node)
        from_image(builder, node, builder.step(op, (1, out[1], 1, out[2])))
    else:
        builder.emit(node, op)


def linear(builder: Builder, node: fx.Node) -> None:
    x, w, b = arguments(node, None, None, None)
    weight = builder.value(w)
    assert weight is not None
    _linear(builder, node, x, weight, builder.value(b))


def _linear(builder: Builder, node: fx.Node, x: Any, weight: np.ndarray, bias: np.ndarray | None) -> None:
    if bias is not None and bias.shape != (len(weight),):
        raise InputError(f"a bias of shape {bias.shape}", where=node.name, expected=f"({len(weight)},)")
    names = (builder.name_of(x), *constants(builder, node, weight, bias, len(weight)))
    builder.emit(node, ops.FullyConnected(node.name, names, (node.name,)), builder.batch[x.name])


def matmul(builder: Builder, node: fx.Node) -> None:
    a, b = node.args[:2]
    if isinstance(b, fx.Node) and builder.is_held(b) and len(shape_of(b)) == 2:
        weight = builder.value(b)
        assert weight is not None
        _linear(builder, node, a, weight.T, None)
        return
    if min(len(shape_of(a)), len(shape_of(b))) < 2:
        raise InputError("a product with a vector", where=node.name, expected="two matrices")
    batch = builder.batch_of(node, a, b)
    names = (builder.operand(a, node, batch, suffix="a"), builder.operand(b, node, batch, suffix="b"))
    builder.emit(node, ops.BatchMatMul(node.name, names, (node.name,)), batch)


def addmm(builder: Builder, node: fx.Node) -> None:
    bias, x, w = node.args[:3]
    weight = builder.value(w)
    assert weight is not None
    _linear(builder, node, x, weight.T, builder.value(bias))


def embedding(builder: Builder, node: fx.Node) -> None:
    table, indices = node.args[:2]
    assert isinstance(indices, fx.Node)
    rows = builder.value(table)
    assert rows is not None
    names = (builder.constant(f"{node.name}_table", rows), builder.name_of(indices))
    builder.emit(node, ops.Gather(node.name, names, (node.name,)), builder.batch[indices.name])


def attention(builder: Builder, node: fx.Node) -> None:
    """softmax(q · scale · kᵀ + mask) · v (Vaswani et al. 2017), each factor an operator of its own."""
    q, k, v, mask, dropout, causal, scale, grouped = arguments(node, None, None, None, None, 0.0, False, None, False)
    if dropout or grouped:
        raise InputError("attention with dropout or grouped keys", where=node.name, expected="dropout_p=0.0, enable_gqa=False")
    batch = builder.batch_of(node, q, k, v)
    rows, columns = shape_of(q)[-2], shape_of(k)[-2]
    named = [builder.operand(each, node, batch, suffix=part) for each, part in ((q, "q"), (k, "k"), (v, "v"))]
    factor = float(scale) if scale is not None else 1 / math.sqrt(shape_of(q)[-1])
    inner = builder.tensors[named[0]].shape
    size = builder.constant(f"{node.name}_scale", np.full((1,) * len(inner), factor))
    scaled = f"{node.name}_scaled"
    builder.step(ops.Mul(scaled, (named[0], size), (scaled,)), inner)
    scores, weights = f"{node.name}_scores", f"{node.name}_weights"
    shape = (*builder.tensors[node_shape(builder, named[0], named[1])].shape[:-2], rows, columns)
    builder.step(ops.BatchMatMul(scores, (scaled, named[1]), (scores,), adjoint_b=True), shape)
    if (hidden := _mask(builder, node, mask, rows, columns) if mask is not None or causal else None) is not None:
        full = hidden.reshape((1,) * (len(shape_of(node)) - hidden.ndim) + hidden.shape)
        addend = builder.constant(f"{node.name}_mask", full.reshape(ours(full.shape, batch)))
        masked = f"{node.name}_masked"
        scores = builder.step(ops.Add(masked, (scores, addend), (masked,)), shape)
    builder.step(ops.Softmax(weights, (scores,), (weights,)), shape)
    builder.emit(node, ops.BatchMatMul(node.name, (weights, named[2]), (node.name,)), batch)


def node_shape(builder: Builder, a: str, b: str) -> str:
    """Of two tensors the one whose leading axes are larger: the other broadcasts."""
    return a if math.prod(builder.tensors[a].shape[:-2]) >= math.prod(builder.tensors[b].shape[:-2]) else b


def _mask(builder: Builder, node: fx.Node, mask: Any, rows: int, columns: int) -> np.ndarray | None:
    """What is added to the scores; None where that is nothing."""
    if mask is None:
        found = np.tril(np.ones((rows, columns), bool))
    elif not builder.is_held(mask):
        raise InputError("a mask that is computed", where=node.name, expected="attention over all, or a constant mask")
    else:
        found = builder.value(mask)
        assert found is not None
    added = np.where(found, 0.0, MASKED) if found.dtype == bool else np.maximum(found, MASKED)
    return added if added.any() else None
