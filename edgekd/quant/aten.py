"""ATen operators, as ``torch.export`` gives them, into ours: one small function each, listed in HANDLERS."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
        self.memory: dict[str, str] = {}
        self.stale: set[str] = set()

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
        # A copy: the module goes on changing its own.
        self.tensors[name] = Tensor(name, "float32", value.shape, data=np.array(value, np.float32, order="C"))
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
        name = self.names[argument.name]
        if name in self.stale:
            raise InputError(f"{argument} is read after a view of it was overwritten", where=self.title, expected="inplace=False there")
        return name

    def alias(self, node: fx.Node, argument: Any, *, copy: bool = False) -> None:
        """``node`` holds the same values as ``argument``; in the same memory, unless it is a copy."""
        self.names[node.name] = self.name_of(argument)
        if not copy:
            self.memory[node.name] = self.memory.get(argument.name, str(argument.name))

    def alias_argument(self, node: fx.Node) -> None:
        """``node`` has overwritten its first argument: whoever reads the same memory from here on reads the result."""
        argument, result = node.args[0], self.names[node.name]
        assert isinstance(argument, fx.Node)
        old, where = self.names[argument.name], self.memory.get(argument.name, argument.name)
        self.memory[node.name] = where
        self.names = {key: result if self.memory.get(key, key) == where else name for key, name in self.names.items()}
        views = [{*op.inputs, *op.outputs} for op in self.ops if isinstance(op, ops.Reshape)]
        self.stale |= {name for view in views if old in view for name in view} - {old}

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


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])


def _convolution(builder: Builder, node: fx.Node) -> None:
    x, w, b, stride, padding, dilation, groups = _arguments(node, None, None, None, 1, 0, 1, 1)
    weight, bias = builder.value(w), builder.value(b)
    assert weight is not None
    channels = node.args[0].meta["val"].shape[1]  # pyright: ignore[reportAttributeAccessIssue,reportOptionalMemberAccess]
    inputs = [builder.name_of(x), builder.constant(f"{node.name}_weight", weight)]
    inputs.append(builder.constant(f"{node.name}_bias", bias if bias is not None else np.zeros(len(weight), np.float32)))
    if padding == "same":  # torch puts the odd one after
        reach = [d * (k - 1) for k, d in zip(weight.shape[2:], _pair(dilation), strict=True)]
        padding = (reach[0] // 2, reach[0] - reach[0] // 2, reach[1] // 2, reach[1] - reach[1] // 2)
    else:
        rows, columns = _pair(0 if padding == "valid" else padding)
        padding = (rows, rows, columns, columns)
    common: dict[str, Any] = {"stride": _pair(stride), "padding": padding, "dilation": _pair(dilation)}
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
    x, gamma, beta, mean, variance, training, _, eps = _arguments(node, *[None] * 8)[:8]
    mu, var = builder.value(mean), builder.value(variance)
    if mu is None or var is None or training:
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
    x, low, high = _arguments(node, None, None, None)[:3]
    if str(node.target).startswith("aten.relu6"):
        low, high = 0, 6
    elif str(node.target).startswith("aten.hardtanh"):
        low, high = -1 if low is None else low, 1 if high is None else high
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
    normal = tuple(sorted(a % rank for a in axes or range(rank)))
    if 0 in normal:
        raise InputError("a mean over the batch", where=node.name, expected="a mean over the axes of one sample")
    builder.emit(node, ops.Mean(node.name, (builder.name_of(x),), (node.name,), axes=normal, keepdims=bool(keepdims)))


def _adaptive_average(builder: Builder, node: fx.Node) -> None:
    x, size = _arguments(node, None, None)
    source = builder.name_of(x)
    height, width = builder.tensors[source].shape[2:]
    rows, columns = _pair(size)
    if (rows, columns) == (1, 1):
        builder.emit(node, ops.Mean(node.name, (source,), (node.name,), axes=(2, 3), keepdims=True))
        return
    if height % rows or width % columns:
        raise InputError(f"adaptive pooling of {height}x{width} to {rows}x{columns}", where=node.name, expected="windows of equal size")
    window = (height // rows, width // columns)
    builder.emit(node, ops.AveragePool2D(node.name, (source,), (node.name,), kernel=window, stride=window))


def _pool(kind: Callable[..., ops.Op]) -> Callable[[Builder, fx.Node], None]:
    def handle(builder: Builder, node: fx.Node) -> None:
        x, kernel, stride, padding, fifth, sixth, divisor = _arguments(node, None, None, [], 0, None, None, None)
        average = kind is ops.AveragePool2D
        ceil_mode = fifth if average else sixth
        dilation = (1, 1) if average or fifth is None else _pair(fifth)
        p = _pair(padding)
        if ceil_mode or divisor or dilation != (1, 1) or (average and any(p) and sixth is not False):
            raise InputError(
                "pooling with ceil_mode, dilation, a divisor or counted padding",
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
    if str(node.target).startswith("aten.constant_pad_nd"):
        (x, amounts, value), mode = _arguments(node, None, None, 0), "constant"
    else:
        x, amounts, mode, value = _arguments(node, None, None, "constant", None)
    if mode != "constant" or (value or 0) != 0:
        raise InputError(f"padding with {mode} {value or ''}".strip(), where=node.name, expected="zeros")
    source = builder.name_of(x)
    pairs = [(int(a), int(b)) for a, b in zip(amounts[::2], amounts[1::2], strict=True)][::-1]
    rank = len(builder.tensors[source].shape)
    if len(pairs) >= rank or any(a < 0 or b < 0 for a, b in pairs):
        raise InputError(f"padding {pairs}", where=node.name, expected="zeros around each sample")
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
    if node.meta["val"].dtype != node.args[0].meta["val"].dtype:  # pyright: ignore[reportAttributeAccessIssue,reportOptionalMemberAccess]
        raise InputError(f"a conversion to {node.meta['val'].dtype}", where=node.name, expected="float32 from end to end")
    builder.alias(node, node.args[0], copy="clone" in str(node.target) or "copy" in str(node.target))


HANDLERS: dict[str, Callable[[Builder, fx.Node], None]] = {
    **dict.fromkeys(("relu", "relu_"), _relu),
    **dict.fromkeys(("relu6", "relu6_", "hardtanh", "hardtanh_", "clamp", "clamp_"), _clamp),
    **dict.fromkeys(("add", "add_"), _add),
    **dict.fromkeys(("view", "reshape", "flatten", "_unsafe_view", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(("dropout", "dropout_", "clone", "contiguous", "alias", "detach", "to", "_to_copy", "lift_fresh_copy"), _same),
    "conv2d": _convolution,
    "batch_norm": _batch_norm,
    "linear": _linear,
    "mean": _mean,
    "adaptive_avg_pool2d": _adaptive_average,
    "avg_pool2d": _pool(ops.AveragePool2D),
    "max_pool2d": _pool(ops.MaxPool2D),
    "cat": _concat,
    "softmax": _last_axis(ops.Softmax),
    "sigmoid": _last_axis(ops.Logistic),
    "_assert_tensor_metadata": lambda _, node: None,  # stands before a conversion, which _same then judges
}
