"""ATen operators that treat each value by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import fx

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.aten_builder import Builder, arguments, ours, shape_of
from edgekd.quant.aten_weighted import as_image, from_image

Handler = Callable[[Builder, fx.Node], None]


def relu(builder: Builder, node: fx.Node) -> None:
    _rectify(builder, node, node.args[0], "relu")


def clamp(builder: Builder, node: fx.Node) -> None:
    x, low, high = arguments(node, None, None, None)[:3]
    if str(node.target).startswith("aten.relu6"):
        low, high = 0, 6
    elif str(node.target).startswith("aten.hardtanh"):
        low, high = -1 if low is None else low, 1 if high is None else high
    if low == 0 and high in (6, None):
        _rectify(builder, node, x, "relu" if high is None else "relu6")
        return
    batch, name = builder.batch[x.name], builder.name_of(x)
    for kind, bound, what in ((ops.Maximum, low, "low"), (ops.Minimum, high, "high")):
        if bound is not None:
            result = f"{node.name}_{what}" if what == "low" and high is not None else node.name
            names = (name, builder.operand(float(bound), node, batch, suffix=f"{what}_bound"))
            name = builder.step(kind(result, names, (result,)), builder.tensors[name].shape)
    builder.bind(node, name, batch)


def _rectify(builder: Builder, node: fx.Node, x: Any, activation: ops.Activation) -> None:
    name = builder.name_of(x)
    before = next((op for op in builder.ops if op.outputs == (name,)), None)
    if isinstance(before, ops.Reshape) and before.name == name and len(shape_of(node)) == 3 and _was_convolved(builder, before):
        result = f"{node.name}_image"
        source = as_image(builder, x)
        op = ops.Relu(result, (source,), (result,), activation=activation)
        from_image(builder, node, builder.step(op, builder.tensors[source].shape))
    else:
        builder.emit(node, ops.Relu(node.name, (name,), (node.name,), activation=activation), builder.batch[x.name])


def _was_convolved(builder: Builder, view: ops.Reshape) -> bool:
    """Whether ``view`` takes the height off what a convolution of height 1 made: its rectifier fuses only beside it."""
    maker = next((op for op in builder.ops if op.outputs == view.inputs), None)
    return isinstance(maker, ops.Conv2D | ops.DepthwiseConv2D | ops.TransposeConv2D) and builder.tensors[view.inputs[0]].shape[2] == 1


def unary(kind: Callable[..., ops.Op]) -> Handler:
    def handle(builder: Builder, node: fx.Node) -> None:
        x: Any = node.args[0]
        builder.emit(node, kind(node.name, (builder.name_of(x),), (node.name,)), builder.batch[x.name])

    return handle


def leaky_relu(builder: Builder, node: fx.Node) -> None:
    x, slope = arguments(node, None, 0.01)[:2]
    alpha = float(np.float32(slope))
    builder.emit(node, ops.LeakyRelu(node.name, (builder.name_of(x),), (node.name,), alpha=alpha), builder.batch[x.name])


def prelu(builder: Builder, node: fx.Node) -> None:
    x, slope = node.args[:2]
    alpha = builder.value(slope)
    assert alpha is not None and isinstance(x, fx.Node)
    rank = len(shape_of(node))
    name = builder.constant(f"{node.name}_alpha", alpha.reshape(1, -1, *[1] * (rank - 2)) if rank > 1 else alpha)
    builder.emit(node, ops.PRelu(node.name, (builder.name_of(x), name), (node.name,)), builder.batch[x.name])


def gelu(builder: Builder, node: fx.Node) -> None:
    x: Any = node.args[0]
    op = ops.Gelu(node.name, (builder.name_of(x),), (node.name,), approximate=node.kwargs.get("approximate", "none") == "tanh")
    builder.emit(node, op, builder.batch[x.name])


def silu(builder: Builder, node: fx.Node) -> None:
    x: Any = node.args[0]
    name, gate = builder.name_of(x), f"{node.name}_gate"
    builder.step(ops.Logistic(gate, (name,), (gate,)), builder.tensors[name].shape)
    builder.emit(node, ops.Mul(node.name, (name, gate), (node.name,)), builder.batch[x.name])


def hard_sigmoid(builder: Builder, node: fx.Node) -> None:
    """relu6(x + 3) / 6."""
    x: Any = node.args[0]
    batch, shape = builder.batch[x.name], builder.shape(x)
    shifted = f"{node.name}_shifted"
    three, sixth = (builder.operand(value, node, batch, suffix=what) for value, what in ((3.0, "three"), (1 / 6, "sixth")))
    builder.step(ops.Add(shifted, (builder.name_of(x), three), (shifted,), activation="relu6"), shape)
    builder.emit(node, ops.Mul(node.name, (shifted, sixth), (node.name,)), batch)


def binary(kind: Callable[..., ops.Op]) -> Handler:
    def handle(builder: Builder, node: fx.Node) -> None:
        a, b = node.args[:2]
        if (alpha := node.kwargs.get("alpha", 1)) != 1:
            if not builder.is_held(b) and not isinstance(b, int | float):
                raise InputError("an addition with alpha", where=node.name, expected="a + b")
            b = float(b) * float(alpha) if isinstance(b, int | float) else b  # pyright: ignore[reportArgumentType]
            if isinstance(b, fx.Node):
                raise InputError("an addition with alpha", where=node.name, expected="a + b")
        _pairwise(builder, node, kind, a, b)

    return handle


def _pairwise(builder: Builder, node: fx.Node, kind: Callable[..., ops.Op], a: Any, b: Any) -> None:
    if not node.meta["val"].dtype.is_floating_point:
        raise InputError(f"arithmetic in {node.meta['val'].dtype}", where=node.name, expected="integers only as indices of an embedding")
    batch = builder.batch_of(node, a, b)
    held = [isinstance(each, int | float) or builder.is_held(each) for each in (a, b)]
    names = tuple(builder.operand(each, node, batch, suffix="constant" if h else "operand") for each, h in zip((a, b), held, strict=True))
    builder.emit(node, kind(node.name, names, (node.name,)), batch)


def reverse_subtract(builder: Builder, node: fx.Node) -> None:
    a, b = node.args[:2]
    _pairwise(builder, node, ops.Sub, b, a)


def negate(builder: Builder, node: fx.Node) -> None:
    _pairwise(builder, node, ops.Mul, node.args[0], -1.0)


def divide(builder: Builder, node: fx.Node) -> None:
    a, b = node.args[:2]
    if node.kwargs.get("rounding_mode") or not (isinstance(b, int | float) or builder.is_held(b)):
        raise InputError("a division by what is computed", where=node.name, expected="a division by a constant, or a product with rsqrt")
    if isinstance(b, int | float):
        _pairwise(builder, node, ops.Mul, a, 1 / b)
        return
    divisor = builder.value(b)
    assert divisor is not None
    batch, rank = builder.batch_of(node, a), len(shape_of(node))
    full = (1 / divisor.astype(np.float64)).reshape((1,) * (rank - divisor.ndim) + divisor.shape)
    inverse = builder.constant(f"{node.name}_inverse", full.reshape(ours(full.shape, batch)))
    builder.emit(node, ops.Mul(node.name, (builder.operand(a, node, batch), inverse), (node.name,)), batch)


def power(builder: Builder, node: fx.Node) -> None:
    x, exponent = node.args[:2]
    if exponent == 2:
        _pairwise(builder, node, ops.Mul, x, x)
    elif exponent == -0.5:
        unary(ops.Rsqrt)(builder, node)
    else:
        raise InputError(f"a power of {exponent}", where=node.name, expected="a power of 2 or −0.5")


def square(builder: Builder, node: fx.Node) -> None:
    _pairwise(builder, node, ops.Mul, node.args[0], node.args[0])


def softmax(builder: Builder, node: fx.Node) -> None:
    x: Any = node.args[0]
    source, axis = builder.name_of(x), builder.axis(x, int(node.args[1]))  # pyright: ignore[reportArgumentType]
    shape, batch = builder.tensors[source].shape, builder.batch[x.name]
    last = len(shape) - 1
    if axis == 0:
        raise InputError("a softmax over the batch", where=node.name, expected="softmax(x, dim=-1)")
    if axis == last:
        builder.emit(node, ops.Softmax(node.name, (source,), (node.name,)), batch)
        return
    order = tuple(last if i == axis else axis if i == last else i for i in range(last + 1))
    swapped = tuple(shape[i] for i in order)
    before, after = f"{node.name}_swapped", f"{node.name}_soft"
    builder.step(ops.Transpose(before, (source,), (before,), order), swapped)
    builder.step(ops.Softmax(after, (before,), (after,)), swapped)
    builder.emit(node, ops.Transpose(node.name, (after,), (node.name,), order), batch)


def same(builder: Builder, node: fx.Node) -> None:
    """What changes no value. Integers stay integers, whatever their width."""
    x: Any = node.args[0]
    kinds = {node.meta["val"].dtype.is_floating_point, x.meta["val"].dtype.is_floating_point}
    if len(kinds) == 2 or (kinds == {True} and node.meta["val"].dtype != x.meta["val"].dtype):
        raise InputError(f"a conversion to {node.meta['val'].dtype}", where=node.name, expected="float32 from end to end")
    builder.alias(node, x, copy="clone" in str(node.target) or "copy" in str(node.target))
