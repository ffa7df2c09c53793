"""Channels-last graph → the same graph channels-first, without a Transpose.

    Given                                         Result
    input [1, H, W, C]                            input [1, C, H, W]
      Conv2D        weight [O, kh, kw, I/g]         Conv2D        weight [O, I/g, kh, kw]
      Depthwise     weight [1, kh, kw, O]           Depthwise     weight [O, 1, kh, kw]
      Reshape       [1, H, W, C] → [1, HWC]         Reshape       [1, C, H, W] → [1, CHW]
      FullyConnected weight [K, HWC]                FullyConnected weight [K, CHW], its columns permuted

A vector that was flattened from a feature map comes out in another order. The pass follows that order through every operator that keeps
it (Relu, Logistic, Softmax, Add, Concat, Reshape) until a FullyConnected absorbs it into its weight's columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.ops import Add, Concat, Conv2D, DepthwiseConv2D, FullyConnected, Logistic, Mean, Op, Pad, Relu, Reshape, Softmax

#: Position in channels-first of each channels-last axis, and the transposition itself.
AXIS = (0, 2, 3, 1)
ACTIVATION = (0, 3, 1, 2)
DEPTHWISE = (3, 0, 1, 2)


def channels_first(graph: QuantGraph) -> QuantGraph:
    """Given a channels-last graph → Result: channels-first; one that is channels-first already is returned as it is.

    Raises InputError, naming the operator, where the order of the values cannot be followed (a reshape into a feature map, a graph whose
    output is a flattened feature map, Softmax or FullyConnected over a feature map's channels).
    """
    if graph.layout == "channels_first":
        return graph
    state = _State(graph)
    for name in graph.inputs:
        state.put(name, _canonical(graph.tensor(name).shape))
    ops = tuple(_convert(state, op) for op in graph.ops)
    for name in graph.outputs:
        if state.permuted(name):
            producer = graph.producer(name)
            raise InputError(
                "the output is a flattened feature map, whose order differs between the layouts",
                where=f"operator {producer.name if producer else name}",
                expected="an output that is a feature map, or a vector after a fully connected layer",
            )
    return QuantGraph(graph.name, "channels_first", state.tensors, ops, graph.inputs, graph.outputs, graph.metadata)


@dataclass
class _State:
    """``order`` gives, for every activation, the channels-last flat index of each of its values in channels-first memory order."""

    graph: QuantGraph
    tensors: dict[str, Tensor] = field(default_factory=dict)
    order: dict[str, np.ndarray] = field(default_factory=dict)

    def put(self, name: str, order: np.ndarray) -> None:
        """File the activation ``name`` under its new shape."""
        old = self.graph.tensor(name)
        self.order[name] = order
        self.tensors[name] = _transposed(old, ACTIVATION) if len(old.shape) == 4 else old

    def permuted(self, name: str) -> bool:
        """Whether a tensor that is not a feature map holds its values in another order than channels-last would."""
        order = self.order[name]
        return len(self.graph.tensor(name).shape) != 4 and not np.array_equal(order, np.arange(order.size))

    def put_constant(self, tensor: Tensor) -> str:
        """File a converted constant; one that other operators need in another form gets a name of its own."""
        name, count = tensor.name, 0
        while name in self.tensors and not np.array_equal(self.tensors[name].data, tensor.data):  # type: ignore[arg-type]
            count += 1
            name = f"{tensor.name}.{count}"
        self.tensors[name] = replace(tensor, name=name)
        return name


def _canonical(shape: tuple[int, ...]) -> np.ndarray:
    """Channels-last flat index of each value of a tensor of (channels-last) ``shape``, in channels-first memory order."""
    index = np.arange(int(np.prod(shape)))
    return index.reshape(shape).transpose(ACTIVATION).ravel() if len(shape) == 4 else index


def _transposed(tensor: Tensor, order: tuple[int, ...]) -> Tensor:
    quantization = tensor.quantization
    if quantization is not None and quantization.axis is not None:
        quantization = Quantization(quantization.scale, quantization.zero_point, order.index(quantization.axis))
    data = None if tensor.data is None else np.ascontiguousarray(tensor.data.transpose(order))
    return Tensor(tensor.name, tensor.dtype, tuple(tensor.shape[i] for i in order), quantization, data)


def _refuse(op: Op, what: str, expected: str) -> InputError:
    return InputError(what, where=f"{type(op).__name__} {op.name}", expected=expected, mend="export channels-last (TFLite) instead")


def _convert(state: _State, op: Op) -> Op:
    graph = state.graph
    shape = graph.tensor(op.inputs[0]).shape
    out = graph.tensor(op.outputs[0]).shape
    order = _canonical(out)
    if isinstance(op, (Conv2D, DepthwiseConv2D)):
        axes = ACTIVATION if isinstance(op, Conv2D) else DEPTHWISE
        op = _with_constants(state, op, _transposed(graph.tensor(op.inputs[1]), axes))
    elif isinstance(op, FullyConnected):
        op = _fully_connected(state, op)
    elif isinstance(op, Reshape):
        order = _reshaped(state, op)
        op = replace(op, shape=tuple(out[i] for i in ACTIVATION) if len(out) == 4 else out)
    elif isinstance(op, (Relu, Logistic, Softmax)):
        if isinstance(op, Softmax) and len(shape) == 4:
            raise _refuse(op, "softmax over the channels of a feature map", "softmax of a vector")
        order = state.order[op.inputs[0]]
    elif isinstance(op, Add):
        op, order = _add(state, op)
    elif isinstance(op, Concat):
        op, order = _concat(state, op)
    elif isinstance(op, Pad):
        if state.permuted(op.inputs[0]):
            raise _refuse(op, "pads a flattened feature map", "padding before it is flattened")
        if len(shape) == 4:
            op = replace(op, amounts=tuple(op.amounts[i] for i in ACTIVATION))
    elif isinstance(op, Mean):
        op, order = _mean(state, op)
    state.put(op.outputs[0], order)
    return op


def _with_constants(state: _State, op: Op, weight: Tensor) -> Op:
    names = [state.put_constant(weight)]
    names += [state.put_constant(state.graph.tensor(name)) for name in op.inputs[2:]]
    return replace(op, inputs=(op.inputs[0], *names))


def _fully_connected(state: _State, op: FullyConnected) -> Op:
    x = op.inputs[0]
    if len(state.graph.tensor(x).shape) == 4:
        raise _refuse(op, "fully connected over the channels of a feature map", "a 1x1 convolution, or a reshape to a vector before it")
    weight = state.graph.tensor(op.inputs[1])
    if weight.data is None:
        raise _refuse(op, f"weight {weight.name!r} is not a constant", "a constant weight")
    if state.permuted(x):
        order = state.order[x]
        if order.size != weight.shape[1]:
            raise _refuse(op, "several positions of a flattened feature map share one weight", "a vector")
        weight = replace(weight, data=np.ascontiguousarray(weight.data[:, order]))
    return _with_constants(state, op, weight)


def _reshaped(state: _State, op: Reshape) -> np.ndarray:
    order = state.order[op.inputs[0]]
    out = state.graph.tensor(op.outputs[0]).shape
    if len(out) == 4 and not np.array_equal(order, _canonical(out)):
        raise _refuse(op, f"makes a feature map {out} whose values would have to move", "a reshape that keeps the channels where they are")
    if len(out) not in (2, 4) and not np.array_equal(order, np.arange(order.size)):
        raise _refuse(op, f"flattens a feature map to {out}", "a vector [1, features]")
    return order


def _add(state: _State, op: Add) -> tuple[Op, np.ndarray]:
    constant = [state.graph.tensor(name).is_constant for name in op.inputs]
    if all(constant):
        raise _refuse(op, "adds two constants", "at least one activation")
    order = state.order[op.inputs[constant.index(False)]]
    names = list(op.inputs)
    for i, name in enumerate(op.inputs):
        tensor = state.graph.tensor(name)
        if constant[i]:
            if tensor.shape != state.graph.tensor(op.outputs[0]).shape or tensor.data is None:
                raise _refuse(op, f"constant {name!r} has shape {tensor.shape}", "the shape of the sum")
            moved = tensor.data.ravel()[order]
            new = _transposed(tensor, ACTIVATION) if len(tensor.shape) == 4 else replace(tensor, data=moved.reshape(tensor.shape))
            names[i] = state.put_constant(new)
        elif not np.array_equal(state.order[name], order):
            raise _refuse(op, "adds vectors whose values lie in different orders", "both flattened alike")
    return replace(op, inputs=tuple(names)), order


def _concat(state: _State, op: Concat) -> tuple[Op, np.ndarray]:
    """The order of a concatenation: that of its inputs, one after the other."""
    shape = state.graph.tensor(op.outputs[0]).shape
    axis = op.axis % len(shape)
    if len(shape) == 4:
        return replace(op, axis=AXIS[axis]), _canonical(shape)
    if not any(state.permuted(name) for name in op.inputs):
        return replace(op, axis=axis), _canonical(shape)
    if len(shape) != 2 or axis != 1:
        raise _refuse(op, "joins flattened feature maps along another axis than the features", "vectors [1, features] along axis 1")
    sizes = [state.order[name].size for name in op.inputs]
    starts = np.cumsum([0, *sizes[:-1]])
    return replace(op, axis=axis), np.concatenate([state.order[n] + start for n, start in zip(op.inputs, starts, strict=True)])


def _mean(state: _State, op: Mean) -> tuple[Op, np.ndarray]:
    shape = state.graph.tensor(op.inputs[0]).shape
    out = state.graph.tensor(op.outputs[0]).shape
    if state.permuted(op.inputs[0]):
        raise _refuse(op, "mean over a flattened feature map", "the mean before it is flattened")
    axes = tuple(a % len(shape) for a in op.axes)
    if len(shape) != 4:
        return replace(op, axes=axes), _canonical(out)
    if op.keepdims:
        return replace(op, axes=tuple(sorted(AXIS[a] for a in axes))), _canonical(out)
    kept = [a for a in range(4) if a not in axes]
    first = [a for a in ACTIVATION if a not in axes]
    order = np.arange(int(np.prod(out))).reshape([shape[a] for a in kept]).transpose([kept.index(a) for a in first]).ravel()
    if not np.array_equal(order, np.arange(order.size)):
        raise _refuse(op, f"mean over axes {op.axes} leaves channels beside positions", "keepdims, or the mean over both positions")
    return replace(op, axes=tuple(sorted(AXIS[a] for a in axes))), order
