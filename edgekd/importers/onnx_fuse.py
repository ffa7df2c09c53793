"""What is folded together in an imported net: before integers are found (real values), and after.

real      Conv → Mul, Add a channel (a batch norm)   Conv, in float64              Conv → Relu             Conv(activation)
          FullyConnected → Add a vector              its bias                      d = a − b → d · d       SquaredDifference
          Reshape → Relu                             Relu → Reshape
integers  Conv → Relu of the same scale              Conv(activation)              Mean(keepdims) → Reshape    Mean
          Reshape → Reshape                          one, or none
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekd.importers.onnx_elementwise import same
from edgekd.importers.onnx_net import Net
from edgekd.quant import ops
from edgekd.quant.graph import Tensor
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
    if getattr(before, "activation", "none") != "none" or op.activation != "none" and isinstance(op, ops.Mul):
        return
    values = _channels(net, before, constant)
    weight = net.tensors[before.inputs[1]]
    bias = net.tensors[before.inputs[2]] if len(before.inputs) > 2 else None
    if values is None or weight.data is None or (bias is not None and (bias.quantization is not None or bias.data is None)):
        return
    old = np.zeros(len(values)) if bias is None or bias.data is None else bias.data.astype(np.float64)
    if isinstance(op, ops.Add):
        weight_name, new = weight.name, old + values
    else:
        if weight.quantization is not None:
            return
        shape = (1, -1, 1, 1) if isinstance(before, ops.TransposeConv2D) else (-1, *(1,) * (weight.data.ndim - 1))
        weight_name = net.free(weight.name)
        data = (weight.data.astype(np.float64) * values.reshape(shape)).astype(weight.data.dtype)
        net.tensors[weight_name] = Tensor(weight_name, weight.dtype, weight.shape, None, data)
        new = old * values
    bias_name = net.free(f"{before.name}/bias" if bias is None else bias.name)
    net.tensors[bias_name] = Tensor(bias_name, "float32", new.shape, None, new.astype(np.float32))
    net.remove(net.maker[x])
    merged = replace(before, inputs=(before.inputs[0], weight_name, bias_name), outputs=op.outputs, activation=op.activation)  # pyright: ignore[reportCallIssue]
    net.swap(number, merged)


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


def _merge_transpose(net: Net, number: int, op: ops.BatchMatMul) -> None:
    before = net.producer(op.inputs[1])
    rank = len(net.tensors[op.inputs[1]].shape)
    if isinstance(before, ops.Transpose) and before.order == (*range(rank - 2), rank - 1, rank - 2) and net.sole_reader(op.inputs[1]) is op:
        net.swap(number, replace(op, inputs=(op.inputs[0], before.inputs[0]), adjoint_b=not op.adjoint_b))
