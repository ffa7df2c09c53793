"""What is folded together in an imported net: before integers are found (real values), and after.

real      Conv → Mul, Add a channel (a batch norm)   Conv, in float64              Conv → Relu             Conv(activation)
          FullyConnected → Add a vector              its bias                      d = a − b → d · d       SquaredDifference
          Reshape → Relu                             Relu → Reshape
integers  Conv → Relu of the same scale              Conv(activation)              Mean(keepdims) → Reshape    Mean
          Reshape → Reshape                          one, or none
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgekd.importers.onnx_draft import real_values
from edgekd.importers.onnx_elementwise import same
from edgekd.importers.onnx_net import Net
from edgekd.quant import ops
from edgekd.quant.graph import Quantization, Tensor
from edgekd.quant.ops import Op

CONVOLUTIONS = (ops.Conv2D, ops.DepthwiseConv2D, ops.TransposeConv2D)
RECTIFIABLE = (
    ops.Conv2D, ops.DepthwiseConv2D, ops.TransposeConv2D, ops.FullyConnected, ops.Add, ops.Sub, ops.Mul, ops.AveragePool2D, ops.MaxPool2D,
)  # fmt: skip
POINTWISE = (ops.Relu, ops.LeakyRelu, ops.HardSwish, ops.Gelu, ops.Rsqrt, ops.Logistic, ops.Tanh)
PAIRS = (ops.Add, ops.Sub, ops.Mul, ops.Maximum, ops.Minimum)


def fuse_real(net: Net) -> None:
    """On real values. What something else reads as well stays as it is."""
    for number in list(net.ops):
        op = net.ops.get(number)
        if op is None:
            continue
        if isinstance(op, (*POINTWISE, *PAIRS)) and _sink_reshape(net, number, op):
            op = net.ops[number]
        before = net.producer(op.inputs[0])
        if isinstance(op, ops.Relu):
            _fuse_relu(net, number, op)
        elif isinstance(op, ops.Mul) and op.inputs[0] == op.inputs[1] and isinstance(before, ops.Sub) and before.activation == "none":
            if net.sole_reader(before.outputs[0]) is op and op.activation == "none":
                net.remove(net.maker[before.outputs[0]])
                net.swap(number, ops.SquaredDifference(op.name, before.inputs, op.outputs))
        elif isinstance(op, (ops.Mul, ops.Add)):
            _fold_constant(net, number, op)
    for number in list(net.ops):
        op = net.ops.get(number)
        if isinstance(op, ops.Add):
            _norm(net, number, op)


def fuse_integers(net: Net) -> None:
    """Wherever the values stay what they are, bit for bit."""
    for number in list(net.ops):
        op = net.ops.get(number)
        if isinstance(op, ops.Relu):
            _fuse_relu(net, number, op)
        elif isinstance(op, ops.Reshape):
            _merge_reshape(net, number, op)
        elif isinstance(op, ops.BatchMatMul):
            _merge_transpose(net, number, op)
        elif isinstance(op, ops.FullyConnected):
            _merge_rows(net, number, op)


def _fuse_relu(net: Net, number: int, op: ops.Relu) -> None:
    before, x, y = net.producer(op.inputs[0]), net.tensors[op.inputs[0]], net.tensors[op.outputs[0]]
    if not isinstance(before, RECTIFIABLE) or before.activation != "none" or net.sole_reader(x.name) is not op:
        return
    if x.dtype == y.dtype and same(x.quantization, y.quantization):
        net.remove(net.maker[x.name])
        net.swap(number, replace(before, outputs=op.outputs, activation=op.activation))


def _sink_reshape(net: Net, number: int, op: Op) -> bool:
    """Reshapes before an operator that treats each value by itself go behind it (a signal is an image between two Reshapes)."""
    befores = [net.producer(name) for name in op.inputs]
    if not all(isinstance(b, ops.Reshape) and len(net.tensors[b.inputs[0]].shape) == 4 for b in befores):
        return False
    shapes = {net.tensors[b.inputs[0]].shape for b in befores if b is not None}
    outs = {net.tensors[name].shape for name in (*op.inputs, *op.outputs)}
    if len(shapes) != 1 or len(outs) != 1 or len(next(iter(outs))) != 3 or any(net.sole_reader(name) is None for name in op.inputs):
        return False
    y = net.tensors[op.outputs[0]]
    inner = net.tensor(f"{y.name}/image", y.dtype, shapes.pop(), y.quantization)
    name = net.free(f"{op.name}/reshape")
    net.swap(number, replace(op, inputs=tuple(b.inputs[0] for b in befores if b is not None), outputs=(inner,)))
    net.add(ops.Reshape(name, (inner,), op.outputs, y.shape), near=number)
    return True


def _channels(net: Net, op: Op, constant: Tensor) -> np.ndarray | None:
    """The constant as one float64 value for each output channel of ``op``, or None where it is not that."""
    y = net.tensors[op.outputs[0]]
    axis = 1 if isinstance(op, CONVOLUTIONS) else len(y.shape) - 1
    wanted = [1] * len(y.shape)
    wanted[axis] = y.shape[axis]
    if constant.data is None or constant.quantization is not None or list(constant.shape) not in (wanted, [1] * len(y.shape)):
        return None
    return np.broadcast_to(constant.data.astype(np.float64).reshape(-1), (y.shape[axis],))


def _fold_constant(net: Net, number: int, op: ops.Mul | ops.Add) -> None:
    constant = next((net.tensors[name] for name in op.inputs if net.tensors[name].data is not None), None)
    x = next((name for name in op.inputs if net.tensors[name].data is None), None)
    before = None if x is None else net.producer(x)
    if constant is None or x is None or net.sole_reader(x) is not op or not isinstance(before, ops.WEIGHTED):
        return
    if getattr(before, "activation", "none") != "none" or (op.activation != "none" and isinstance(op, ops.Mul)):
        return
    values = _channels(net, before, constant)
    weight = net.tensors[before.inputs[1]]
    bias = net.tensors[before.inputs[2]] if len(before.inputs) > 2 else None
    if values is None or weight.data is None or (bias is not None and bias.data is None):
        return
    old = np.zeros(len(values)) if bias is None else real_values(bias).astype(np.float64)
    if isinstance(op, ops.Add):
        weight_name, new = weight.name, old + values
    else:
        scaled = _scaled(weight, 1 if isinstance(before, ops.TransposeConv2D) else 0, values)
        if scaled is None:
            return
        weight_name, new = net.free(weight.name), old * values
        net.tensors[weight_name] = replace(scaled, name=weight_name)
    bias_name = net.free(f"{before.name}/bias" if bias is None else bias.name)
    net.tensors[bias_name] = Tensor(bias_name, "float32", new.shape, None, new.astype(np.float32))
    x_name = before.inputs[0]  # pyright: ignore[reportGeneralTypeIssues]
    net.remove(net.maker[x])
    changes: dict[str, Any] = {"inputs": (x_name, weight_name, bias_name), "outputs": op.outputs, "activation": op.activation}
    net.swap(number, replace(before, **changes))


def _scaled(weight: Tensor, axis: int, factor: np.ndarray) -> Tensor | None:
    """The weight times one factor an output channel; integers keep their values but for the sign, the scales take the factor."""
    assert weight.data is not None
    shape = [-1 if i == axis else 1 for i in range(weight.data.ndim)]
    q = weight.quantization
    if q is None:
        return replace(weight, data=(weight.data.astype(np.float64) * factor.reshape(shape)).astype(weight.data.dtype))
    lowest = -8 if weight.dtype == "int4" else np.iinfo(weight.data.dtype).min
    if q.axis not in (None, axis) or q.zero_point.any() or bool((weight.data == lowest).any()) or not np.isfinite(factor).all():
        return None
    scale = (q.scale * np.where(factor == 0, 1, np.abs(factor))).astype(np.float32)
    if not ((scale > 0).all() and np.isfinite(scale).all()):
        return None
    data = weight.data * np.sign(factor).astype(weight.data.dtype).reshape(shape)
    return replace(weight, data=data, quantization=Quantization(scale, np.zeros(len(scale), np.int32), axis))


def _norm(net: Net, number: int, op: ops.Add) -> None:
    """A batch norm that nothing takes in is a depthwise convolution of 1x1, which has an integer form."""
    tensors = net.tensors
    at = 0 if tensors[op.inputs[1]].data is not None else 1
    before = net.producer(op.inputs[at])
    if not isinstance(before, ops.Mul) or before.activation != "none" or net.sole_reader(op.inputs[at]) is not op:
        return
    constants = [next((n for n in o.inputs if tensors[n].data is not None), None) for o in (before, op)]
    y = tensors[op.outputs[0]]
    if None in constants or len(y.shape) != 4 or y.shape[1] == 1:
        return
    per_channel = [tensors[n] for n in constants if n is not None]
    if any(c.quantization is not None or c.shape != (1, y.shape[1], 1, 1) or c.data is None for c in per_channel):
        return
    names = []
    for c, shape in zip(per_channel, ((y.shape[1], 1, 1, 1), (y.shape[1],)), strict=True):
        names.append(net.free(c.name))
        assert c.data is not None
        tensors[names[-1]] = Tensor(names[-1], c.dtype, shape, None, c.data.reshape(shape))
    x = next(n for n in before.inputs if n != constants[0])
    net.remove(net.maker[before.outputs[0]])
    net.swap(number, ops.DepthwiseConv2D(op.name, (x, *names), op.outputs, activation=op.activation))


def _merge_reshape(net: Net, number: int, op: ops.Reshape) -> None:
    x, y = net.tensors[op.inputs[0]], net.tensors[op.outputs[0]]
    before = net.producer(x.name)
    if isinstance(before, ops.Reshape):
        net.swap(number, replace(op, inputs=before.inputs))
        x = net.tensors[before.inputs[0]]
    elif isinstance(before, ops.Mean) and before.keepdims and net.sole_reader(x.name) is op:
        left = tuple(d for a, d in enumerate(x.shape) if a not in before.axes)
        if left == y.shape and x.dtype == y.dtype and same(x.quantization, y.quantization):
            net.remove(net.maker[x.name])
            net.swap(number, replace(before, outputs=op.outputs, keepdims=False))
            return
    if x.shape == y.shape and same(x.quantization, y.quantization) and y.name not in net.outputs:
        net.remove(number)
        net.redirect(y.name, x.name)


def _merge_rows(net: Net, number: int, op: ops.FullyConnected) -> None:
    """[1, rows, in] → Reshape [rows, in] → FullyConnected → Reshape [1, rows, out]: one FullyConnected."""
    before, after = net.producer(op.inputs[0]), net.sole_reader(op.outputs[0])
    if not isinstance(before, ops.Reshape) or not isinstance(after, ops.Reshape):
        return
    x, y, made = net.tensors[before.inputs[0]], net.tensors[after.outputs[0]], net.tensors[op.outputs[0]]
    if x.shape[:-1] == y.shape[:-1] and x.shape[-1] == net.tensors[op.inputs[0]].shape[-1] and y.shape[-1] == made.shape[-1]:
        net.remove(net.maker[y.name])
        net.swap(number, replace(op, inputs=(x.name, *op.inputs[1:]), outputs=(y.name,)))


def _merge_transpose(net: Net, number: int, op: ops.BatchMatMul) -> None:
    before = net.producer(op.inputs[1])
    rank = len(net.tensors[op.inputs[1]].shape)
    if isinstance(before, ops.Transpose) and before.order == (*range(rank - 2), rank - 1, rank - 2) and net.sole_reader(op.inputs[1]) is op:
        net.swap(number, replace(op, inputs=(op.inputs[0], before.inputs[0]), adjoint_b=not op.adjoint_b))
