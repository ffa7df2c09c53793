"""TFLite's operators with weights, windows or two operands → the graph's; listed in READERS. See also tflite_shape.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgekd.importers.tflite_build import Build, lift_of
from edgekd.importers.tflite_tables import FileOperator
from edgekd.quant import ops
from edgekd.quant.graph import Tensor

#: schema.ActivationFunctionType and schema.Padding, by number.
ACTIVATIONS: dict[int, ops.Activation] = {0: "none", 1: "relu", 3: "relu6"}
SAME = 0
Read = Callable[[Build, FileOperator], None]


def operands(build: Build, op: FileOperator, least: int, most: int | None = None) -> tuple[int, ...]:
    """The operator's inputs without those that are left out at the end. Raises InputError unless there are ``least`` to ``most``."""
    inputs = op.inputs
    while inputs and inputs[-1] == -1:
        inputs = inputs[:-1]
    most = least if most is None else most
    if not least <= len(inputs) <= most or -1 in inputs or len(op.outputs) != 1:
        raise build.refuse(op, f"{len(inputs)} inputs and {len(op.outputs)} outputs", f"{least} to {most} inputs, one output")
    return inputs


def fused(build: Build, op: FileOperator) -> ops.Activation:
    code = op.options["FusedActivationFunction"]
    if code not in ACTIVATIONS:
        raise build.refuse(op, f"fused activation {code}", "none, relu or relu6")
    return ACTIVATIONS[code]


def _padding(same: bool, sizes: tuple[int, ...], stride: ops.Pair, extent: ops.Pair) -> ops.Padding:
    """TensorFlow's SAME: ceil(size / stride) outputs, the odd row or column at the end. VALID pads nothing."""
    amounts: list[int] = []
    for size, step, window in zip(sizes, stride, extent, strict=True):
        total = max((-(-size // step) - 1) * step + window - size, 0) if same else 0
        amounts += [total // 2, total - total // 2]
    return (amounts[0], amounts[1], amounts[2], amounts[3])


def _stride(build: Build, op: FileOperator) -> ops.Pair:
    stride = (op.options["StrideH"], op.options["StrideW"])
    if min(stride) < 1:
        raise build.refuse(op, f"stride {stride}", "at least 1")
    return stride


def _weighted(build: Build, op: FileOperator, inputs: tuple[int, ...]) -> tuple[str, ...]:
    x, weight = build.read(inputs[0]), build.read(inputs[1])
    if build.tensors[weight].data is None:
        raise build.refuse(op, f"weight {weight!r} is computed", "constant weights")
    return (x, weight, build.bias(inputs[2], x, weight)) if len(inputs) == 3 else (x, weight)


def _images(build: Build, op: FileOperator, *numbers: int) -> None:
    """Raises InputError unless each of the tensors is [1, H, W, C] (weights: of four axes)."""
    for number in numbers:
        if len(build.shape(number)) != 4:
            raise build.refuse(op, f"{build.name(number)!r} is {list(build.entry(number).shape)}", "four axes, a batch of 1 first")


def _conv(build: Build, op: FileOperator) -> None:
    inputs = operands(build, op, 2, 3)
    _images(build, op, *inputs[:2], op.outputs[0])
    x, weight = build.shape(inputs[0]), build.shape(inputs[1])
    stride, dilation = _stride(build, op), (op.options["DilationHFactor"], op.options["DilationWFactor"])
    extent = ((weight[1] - 1) * dilation[0] + 1, (weight[2] - 1) * dilation[1] + 1)
    padding = op.options.get("Amounts") or _padding(op.options["Padding"] == SAME, x[1:3], stride, extent)
    activation = fused(build, op)
    if op.kind == "DEPTHWISE_CONV_2D":
        multiplier = weight[3] // x[3]
        if op.options["DepthMultiplier"] not in (0, multiplier) or not multiplier:
            raise build.refuse(op, f"depth multiplier {op.options['DepthMultiplier']}", f"{multiplier}, as the weights have it")
        made: ops.Op = ops.DepthwiseConv2D("", _weighted(build, op, inputs), ("",), stride, padding, dilation, multiplier, activation)
    else:
        groups = max(x[3] // weight[3], 1)
        made = ops.Conv2D("", _weighted(build, op, inputs), ("",), stride, padding, dilation, groups, activation)
    build.put(made, op.outputs[0])


def _transpose_conv(build: Build, op: FileOperator) -> None:
    """TFLite states the output's shape and takes its padding from it, as if the convolution went the other way."""
    inputs = (-1, *operands(build, replace(op, inputs=op.inputs[1:]), 2, 3))
    _images(build, op, inputs[1], inputs[2], op.outputs[0])
    size, stride = build.shape(op.outputs[0])[1:3], _stride(build, op)
    x, kernel = build.shape(inputs[2])[1:3], build.shape(inputs[1])[1:3]
    padding = _padding(op.options["Padding"] == SAME, size, stride, (kernel[0], kernel[1]))
    amounts, extra = [], []
    for axis in (0, 1):
        before = padding[2 * axis]
        after = (x[axis] - 1) * stride[axis] + kernel[axis] - before - size[axis]
        amounts += [before, max(after, 0)]
        extra.append(max(-after, 0))
    names = _weighted(build, op, (inputs[2], inputs[1], *inputs[3:]))
    cut = (amounts[0], amounts[1], amounts[2], amounts[3])
    build.put(ops.TransposeConv2D("", names, ("",), stride, cut, (extra[0], extra[1]), fused(build, op)), op.outputs[0])


def _fully_connected(build: Build, op: FileOperator) -> None:
    """TFLite flattens whatever comes to rows of the weights' width."""
    inputs = operands(build, op, 2, 3)
    if op.options["WeightsFormat"] != 0:
        raise build.refuse(op, "shuffled weights", "weights as they are")
    x, weight = build.shape(inputs[0]), build.shape(inputs[1])
    if len(weight) != 2 or math.prod(x) % weight[1]:
        raise build.refuse(op, f"weight {list(weight)} for {list(x)}", "[out, in]")
    names = _weighted(build, op, inputs)
    if x[-1] != weight[1] or len(x) < 2:
        rows = math.prod(x) // weight[1]
        x = (1, weight[1]) if rows == 1 else (1, rows, weight[1])
        names = (build.reshaped(names[0], x), *names[1:])
    build.put(ops.FullyConnected("", names, ("",), fused(build, op)), op.outputs[0], (*x[:-1], weight[0]))


def _matmul(build: Build, op: FileOperator) -> None:
    inputs = operands(build, op, 2)
    lift = lift_of(build, (*inputs, *op.outputs))
    names = [build.read(number, lift) for number in inputs]
    if op.options["AdjX"]:
        a = build.tensors[names[0]]
        rank = len(a.shape)
        order = (*range(rank - 2), rank - 1, rank - 2)
        turned = tuple(a.shape[axis] for axis in order)
        view = type(a)(build.fresh(a.name), a.dtype, turned, a.quantization)
        names[0] = build.append(ops.Transpose("", (a.name,), ("",), order), view)
    made = ops.BatchMatMul("", tuple(names), ("",), bool(op.options["AdjY"]))
    build.put(made, op.outputs[0], build.shape(op.outputs[0], lift))


def _pool(build: Build, op: FileOperator) -> None:
    (x,) = operands(build, op, 1)
    _images(build, op, x, op.outputs[0])
    stride, kernel = _stride(build, op), (op.options["FilterHeight"], op.options["FilterWidth"])
    padding = _padding(op.options["Padding"] == SAME, build.shape(x)[1:3], stride, kernel)
    cls = ops.AveragePool2D if op.kind == "AVERAGE_POOL_2D" else ops.MaxPool2D
    build.put(cls("", (build.read(x),), ("",), kernel, stride, padding, fused(build, op)), op.outputs[0])


def _pair(build: Build, op: FileOperator) -> tuple[str, str]:
    """Two operands that broadcast: activations of equal rank, so that the batch stays first."""
    inputs = operands(build, op, 2)
    lift = lift_of(build, (*inputs, *op.outputs))
    rank = len(build.shape(op.outputs[0], lift))
    names = []
    for number in inputs:
        name = build.read(number, lift)
        shape = build.tensors[name].shape
        if not build.is_constant(number) and len(shape) < rank:
            name = build.reshaped(name, (*(1,) * (rank - len(shape)), *shape))
        names.append(name)
    return (names[0], names[1])


_ARITHMETIC: dict[str, type[ops.Add | ops.Sub | ops.Mul]] = {"ADD": ops.Add, "SUB": ops.Sub, "MUL": ops.Mul}
_COMPARING: dict[str, type[ops.Op]] = {
    "SQUARED_DIFFERENCE": ops.SquaredDifference,
    "MAXIMUM": ops.Maximum,
    "MINIMUM": ops.Minimum,
    "PRELU": ops.PRelu,
}


def _arithmetic(build: Build, op: FileOperator) -> None:
    names, activation = _pair(build, op), fused(build, op)
    if op.options.get("PotScaleInt16") and build.tensors[names[0]].dtype == "int16":
        raise build.refuse(op, "int16 with scales that are powers of two", "pot_scale_int16 false")
    made = _ARITHMETIC[op.kind]("", names, ("",), activation)
    build.put(made, op.outputs[0], build.shape(op.outputs[0], lift_of(build, (*op.inputs, *op.outputs))))


def _comparing(build: Build, op: FileOperator) -> None:
    made = _COMPARING[op.kind]("", _pair(build, op), ("",))
    build.put(made, op.outputs[0], build.shape(op.outputs[0], lift_of(build, (*op.inputs, *op.outputs))))


def _negate(build: Build, op: FileOperator) -> None:
    """−x, of floats alone: under integers the scales would have to be looked at."""
    (x,) = operands(build, op, 1)
    if build.entry(x).type != "FLOAT32":
        raise build.refuse(op, f"of {build.entry(x).type}", "float32")
    minus = Tensor(build.fresh("minus"), "float32", (), None, np.array(-1, np.float32))
    build.tensors[minus.name] = minus
    build.put(ops.Mul("", (build.read(x), minus.name), ("",)), op.outputs[0])


def _unary(build: Build, op: FileOperator) -> None:
    (x,) = operands(build, op, 1)
    name = (build.read(x),)
    made: ops.Op
    match op.kind:
        case "RELU" | "RELU6":
            made = ops.Relu("", name, ("",), "relu" if op.kind == "RELU" else "relu6")
        case "LEAKY_RELU":
            made = ops.LeakyRelu("", name, ("",), float(np.float32(op.options["Alpha"])))
        case "GELU":
            made = ops.Gelu("", name, ("",), bool(op.options["Approximate"]))
        case "SOFTMAX":
            if op.options["Beta"] != 1:
                raise build.refuse(op, f"beta {op.options['Beta']}", "1")
            made = ops.Softmax("", name, ("",))
        case _:
            made = _UNARY[op.kind]("", name, ("",))
    build.put(made, op.outputs[0])


_UNARY: dict[str, type[ops.Op]] = {
    "HARD_SWISH": ops.HardSwish,
    "RSQRT": ops.Rsqrt,
    "LOGISTIC": ops.Logistic,
    "TANH": ops.Tanh,
    "QUANTIZE": ops.Quantize,
    "DEQUANTIZE": ops.Dequantize,
}

READERS: dict[str, Read] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _conv,
    "TRANSPOSE_CONV": _transpose_conv,
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": _matmul,
    "NEG": _negate,
    "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    **dict.fromkeys(_ARITHMETIC, _arithmetic),
    **dict.fromkeys(_COMPARING, _comparing),
    **dict.fromkeys(("RELU", "RELU6", "LEAKY_RELU", "GELU", "SOFTMAX", *_UNARY), _unary),
}
