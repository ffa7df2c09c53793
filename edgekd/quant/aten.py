"""ATen operators, as ``torch.export`` gives them, into ours: one small function each, listed in HANDLERS."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import fx

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Tensor


class Builder:
    """Collects tensors and operators of one graph. ``names`` says which tensor holds a node's value."""

    def __init__(self, name: str) -> None:
        self.title = name
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[ops.Op] = []
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.names: dict[str, str] = {}
        self.held: dict[str, np.ndarray] = {}

    def hold(self, node: str, value: np.ndarray) -> None:
        """Keep a parameter or buffer until an operator turns it into a constant."""
        self.held[node] = value

    def input(self, node: str, shape: tuple[int, ...]) -> None:
        self.tensors["input"] = Tensor("input", "float32", shape)
        self.names[node] = "input"
        self.inputs.append("input")

    def output(self, name: str) -> None:
        self.outputs.append(name)

    def constant(self, name: str, value: np.ndarray) -> str:
        self.tensors[name] = Tensor(name, "float32", value.shape, data=np.ascontiguousarray(value, np.float32))
        return name

    def value(self, argument: Any) -> np.ndarray | None:
        """The parameter behind an argument; None where it is None."""
        if argument is None:
            return None
        if not isinstance(argument, fx.Node) or argument.name not in self.held:
            raise InputError(
                f"{argument} is computed, but must be a parameter", where=self.title, expected="weights that do not depend on the input"
            )
        return self.held[argument.name]

    def name_of(self, argument: Any) -> str:
        """The tensor behind an argument."""
        if not isinstance(argument, fx.Node) or argument.name not in self.names:
            raise InputError(f"{argument} is a constant where an activation is expected", where=self.title, expected="a computed tensor")
        return self.names[argument.name]

    def alias(self, node: fx.Node, argument: Any) -> None:
        """``node`` is the same tensor as ``argument``."""
        self.names[node.name] = self.name_of(argument)

    def alias_argument(self, node: fx.Node) -> None:
        """The first argument of ``node`` was overwritten by it."""
        if isinstance(node.args[0], fx.Node):
            self.names[node.args[0].name] = self.names[node.name]

    def emit(self, node: fx.Node, op: ops.Op) -> None:
        self.tensors[node.name] = Tensor(node.name, "float32", tuple(node.meta["val"].shape))
        self.ops.append(op)
        self.names[node.name] = node.name

    def graph(self) -> QuantGraph:
        return QuantGraph(self.title, "channels_first", self.tensors, tuple(self.ops), tuple(self.inputs), tuple(self.outputs))


def _arguments(node: fx.Node, *defaults: Any) -> list[Any]:
    """Positional and keyword arguments in the operator's order; ``defaults`` fill the tail that torch leaves out."""
    given = list(node.args)
    names = [a.name for a in node.target._schema.arguments]  # pyright: ignore[reportFunctionMemberAccess,reportAttributeAccessIssue]
    for name in names[len(given) :]:
        if name in node.kwargs:
            given.append(node.kwargs[name])
        elif len(given) < len(defaults):
            given.append(defaults[len(given)])
    return given + list(defaults[len(given) :])


def _pair(value: int | list[int]) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])


def _convolution(builder: Builder, node: fx.Node) -> None:
    x, w, b, stride, padding, dilation, groups = _arguments(node, None, None, None, 1, 0, 1, 1)
    weight, bias = builder.value(w), builder.value(b)
    assert weight is not None
    channels = node.args[0].meta["val"].shape[1]  # pyright: ignore[reportAttributeAccessIssue,reportOptionalMemberAccess]
    inputs = [builder.name_of(x), builder.constant(f"{node.name}_weight", weight)]
    inputs.append(builder.constant(f"{node.name}_bias", bias if bias is not None else np.zeros(len(weight), np.float32)))
    if isinstance(padding, str):
        padding = [d * (k - 1) // 2 for k, d in zip(weight.shape[2:], _pair(dilation), strict=True)] if padding == "same" else 0
    p = _pair(padding)
    common: dict[str, Any] = {"stride": _pair(stride), "padding": (p[0], p[0], p[1], p[1]), "dilation": _pair(dilation)}
    if groups == channels and groups > 1:
        op: ops.Op = ops.DepthwiseConv2D(node.name, tuple(inputs), (node.name,), multiplier=len(weight) // channels, **common)
    else:
        op = ops.Conv2D(node.name, tuple(inputs), (node.name,), groups=groups, **common)
    builder.emit(node, op)


def _linear(builder: Builder, node: fx.Node) -> None:
    x, w, b = _arguments(node, None, None, None)
    weight, bias = builder.value(w), builder.value(b)
    assert weight is not None
    names = (
        builder.name_of(x),
        builder.constant(f"{node.name}_weight", weight),
        builder.constant(f"{node.name}_bias", bias if bias is not None else np.zeros(len(weight), np.float32)),
    )
    builder.emit(node, ops.FullyConnected(node.name, names, (node.name,)))


def _batch_norm(builder: Builder, node: fx.Node) -> None:
    """As a depthwise 1x1 convolution; the pass ``fuse`` then folds it into the convolution before it, where there is one."""
    x, gamma, beta, mean, variance = node.args[:5]
    eps = node.args[7]
    mu, var = builder.value(mean), builder.value(variance)
    if mu is None or var is None or not isinstance(eps, float):
        raise InputError("a batch norm without running statistics", where=node.name, expected="track_running_stats=True")
    one, zero = np.ones_like(mu), np.zeros_like(mu)
    g, b = builder.value(gamma), builder.value(beta)
    factor = (one if g is None else g).astype(np.float64) / np.sqrt(var.astype(np.float64) + eps)
    offset = (zero if b is None else b) - mu * factor
    names = (
        builder.name_of(x),
        builder.constant(f"{node.name}_weight", factor.reshape(-1, 1, 1, 1)),
        builder.constant(f"{node.name}_bias", offset),
    )
    builder.emit(node, ops.DepthwiseConv2D(node.name, names, (node.name,)))


def _relu(builder: Builder, node: fx.Node) -> None:
    builder.emit(node, ops.Relu(node.name, (builder.name_of(node.args[0]),), (node.name,)))


def _clamp(builder: Builder, node: fx.Node) -> None:
    x, low, high = _arguments(node, None, None, None)
    if str(node.target).startswith("aten.relu6"):
        low, high = 0, 6
    if low != 0 or high not in (6, None):
        raise InputError(f"a clamp to [{low}, {high}]", where=node.name, expected="relu (0, ∞) or relu6 (0, 6)")
    builder.emit(node, ops.Relu(node.name, (builder.name_of(x),), (node.name,), activation="relu" if high is None else "relu6"))


def _add(builder: Builder, node: fx.Node) -> None:
    a, b = node.args[:2]
    if node.kwargs.get("alpha", 1) != 1:
        raise InputError("an addition with alpha", where=node.name, expected="a + b")
    names = (builder.name_of(a), builder.name_of(b))
    if builder.tensors[names[0]].shape != builder.tensors[names[1]].shape:
        raise InputError("an addition that broadcasts", where=node.name, expected="two tensors of one shape")
    builder.emit(node, ops.Add(node.name, names, (node.name,)))


def _mean(builder: Builder, node: fx.Node) -> None:
    x, axes, keepdims = _arguments(node, None, None, False)[:3]
    rank = len(builder.tensors[builder.name_of(x)].shape)
    normal = tuple(sorted(a % rank for a in axes))
    builder.emit(node, ops.Mean(node.name, (builder.name_of(x),), (node.name,), axes=normal, keepdims=bool(keepdims)))


def _adaptive_average(builder: Builder, node: fx.Node) -> None:
    x, size = node.args[:2]
    source = builder.name_of(x)
    height, width = builder.tensors[source].shape[2:]
    rows, columns = _pair(size)  # pyright: ignore[reportArgumentType]
    if (rows, columns) == (1, 1):
        builder.emit(node, ops.Mean(node.name, (source,), (node.name,), axes=(2, 3), keepdims=True))
        return
    if height % rows or width % columns:
        raise InputError(f"adaptive pooling of {height}x{width} to {rows}x{columns}", where=node.name, expected="windows of equal size")
    window = (height // rows, width // columns)
    builder.emit(node, ops.AveragePool2D(node.name, (source,), (node.name,), kernel=window, stride=window))


def _pool(kind: Callable[..., ops.Op]) -> Callable[[Builder, fx.Node], None]:
    def handle(builder: Builder, node: fx.Node) -> None:
        x, kernel, stride, padding, fifth, sixth = _arguments(node, None, None, [], 0, None, None)[:6]
        average = kind is ops.AveragePool2D
        ceil_mode = fifth if average else sixth
        dilation = (1, 1) if average or fifth is None else _pair(fifth)
        p = _pair(padding)
        if ceil_mode or dilation != (1, 1) or (average and any(p) and sixth is not False):
            raise InputError(
                "pooling with ceil_mode, dilation or counted padding",
                where=node.name,
                expected="count_include_pad=False, the rest at its default",
            )
        name, k = builder.name_of(x), _pair(kernel)
        builder.emit(node, kind(node.name, (name,), (node.name,), kernel=k, stride=_pair(stride or k), padding=(p[0], p[0], p[1], p[1])))

    return handle


def _reshape(builder: Builder, node: fx.Node) -> None:
    source = builder.name_of(node.args[0])
    shape = tuple(node.meta["val"].shape)
    if shape == builder.tensors[source].shape:
        builder.alias(node, node.args[0])
    elif not shape or shape[0] != 1 or math.prod(shape) != math.prod(builder.tensors[source].shape):
        raise InputError(f"a reshape to {shape} that touches the batch", where=node.name, expected="the batch first and alone")
    else:
        builder.emit(node, ops.Reshape(node.name, (source,), (node.name,), shape=shape))


def _concat(builder: Builder, node: fx.Node) -> None:
    parts, axis = _arguments(node, [], 0)
    names = tuple(builder.name_of(p) for p in parts)
    builder.emit(node, ops.Concat(node.name, names, (node.name,), axis=axis % len(node.meta["val"].shape)))


def _pad(builder: Builder, node: fx.Node) -> None:
    x, amounts = node.args[:2]
    mode = node.args[2] if len(node.args) > 2 and isinstance(node.args[2], str) else "constant"
    value = node.args[-1] if len(node.args) > 2 and not isinstance(node.args[-1], str) else 0
    if mode != "constant" or (value or 0) != 0:
        raise InputError(f"padding with {mode} {value}", where=node.name, expected="zeros")
    source = builder.name_of(x)
    pairs = [(int(a), int(b)) for a, b in zip(amounts[::2], amounts[1::2], strict=True)][::-1]  # pyright: ignore[reportArgumentType]
    if any(a < 0 or b < 0 for a, b in pairs):
        raise InputError(f"negative padding {pairs}", where=node.name, expected="zeros around the tensor")
    rank = len(builder.tensors[source].shape)
    builder.emit(node, ops.Pad(node.name, (source,), (node.name,), amounts=tuple([(0, 0)] * (rank - len(pairs)) + pairs)))


def _last_axis(kind: Callable[..., ops.Op]) -> Callable[[Builder, fx.Node], None]:
    def handle(builder: Builder, node: fx.Node) -> None:
        source = builder.name_of(node.args[0])
        rank = len(builder.tensors[source].shape)
        if kind is ops.Softmax and int(node.args[1]) % rank != rank - 1:  # pyright: ignore[reportArgumentType]
            raise InputError("a softmax over another axis than the last", where=node.name, expected="softmax(x, dim=-1)")
        builder.emit(node, kind(node.name, (source,), (node.name,)))

    return handle


def _same(builder: Builder, node: fx.Node) -> None:
    builder.alias(node, node.args[0])


HANDLERS: dict[str, Callable[[Builder, fx.Node], None]] = {
    **dict.fromkeys(("conv2d", "convolution"), _convolution),
    **dict.fromkeys(("batch_norm", "_native_batch_norm_legit_no_training"), _batch_norm),
    **dict.fromkeys(("relu", "relu_"), _relu),
    **dict.fromkeys(("relu6", "hardtanh", "hardtanh_", "clamp", "clamp_"), _clamp),
    **dict.fromkeys(("add", "add_"), _add),
    **dict.fromkeys(("view", "reshape", "flatten", "_unsafe_view", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(("dropout", "dropout_", "clone", "contiguous", "alias", "detach", "to", "_to_copy", "lift_fresh_copy"), _same),
    "linear": _linear,
    "mean": _mean,
    "adaptive_avg_pool2d": _adaptive_average,
    "avg_pool2d": _pool(ops.AveragePool2D),
    "max_pool2d": _pool(ops.MaxPool2D),
    "cat": _concat,
    "softmax": _last_axis(ops.Softmax),
    "sigmoid": _last_axis(ops.Logistic),
}
