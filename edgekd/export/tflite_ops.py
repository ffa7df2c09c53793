"""What each operator of a QuantGraph is in TFLite: builtin code, lowest version of it that does the job, options, extra constants.

Versions as in TensorFlow's op_version.cc (2024): a runtime refuses a file that asks for more than it has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekd.export import tflite_elementwise, tflite_shape
from edgekd.export.tflite_builtin import CODE, FUSED, Builtin, check_fixed_scale, check_int16, integer_two, is_integer, refuse
from edgekd.quant import ops
from edgekd.quant.graph import STORAGE, QuantGraph
from edgekd.quant.passes.explicit_padding import same_or_valid

PADDING = {"SAME": schema.Padding.SAME, "VALID": schema.Padding.VALID}


def builtin(op: ops.Op, graph: QuantGraph) -> Builtin:
    """Raises InputError for what TFLite cannot state. Padding must be explicit (see the pass explicit_padding)."""
    make = BUILTINS.get(type(op))
    if make is None:
        raise refuse(op, graph, f"{type(op).__name__} has no counterpart", ", ".join(cls.__name__ for cls in BUILTINS))
    check_int16(op, graph)
    return make(op, graph)


def _padding(op: Any, graph: QuantGraph) -> int:
    padding = same_or_valid(op, graph)
    if padding is None:
        raise refuse(op, graph, f"padding {op.padding} is neither SAME nor VALID", "a graph that went through explicit_padding")
    return PADDING[padding]


def _shapes(op: ops.Op, graph: QuantGraph) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Of input, weight and output."""
    return graph.tensor(op.inputs[0]).shape, graph.tensor(op.inputs[1]).shape, graph.tensor(op.outputs[0]).shape


def _conv(op: ops.Conv2D, graph: QuantGraph) -> Builtin:
    x, weight, y = _shapes(op, graph)
    if x[3] != weight[3] * op.groups or weight[0] != y[3] or weight[0] % op.groups:
        raise refuse(op, graph, f"weight {weight} with {op.groups} groups from {x} to {y}", "[out, kh, kw, in/groups]")
    options = schema.Conv2DOptionsT(_padding(op, graph), op.stride[1], op.stride[0], FUSED[op.activation], op.dilation[1], op.dilation[0])
    version = _weighted_version(op, graph, 3, 4) or (2 if op.dilation != (1, 1) else 1)
    return Builtin(CODE.CONV_2D, max(version, 6) if op.groups > 1 else version, options)


def _weighted_version(op: ops.Op, graph: QuantGraph, eight: int, sixteen: int) -> int:
    """Of a convolution with int8 weights, or 4-bit ones (its version 7), or on int16; 0 for a float one."""
    if graph.tensor(op.inputs[1]).dtype == "int4":
        return 6 if isinstance(op, ops.DepthwiseConv2D) else 7  # LiteRT's reference kernel takes them, but is listed up to 6
    return {"int8": eight, "int16": sixteen}.get(graph.tensor(op.inputs[0]).dtype, 0)


def _depthwise(op: ops.DepthwiseConv2D, graph: QuantGraph) -> Builtin:
    x, weight, y = _shapes(op, graph)
    if weight[0] != 1 or weight[3] != x[3] * op.multiplier or weight[3] != y[3]:
        raise refuse(op, graph, f"weight {weight} with multiplier {op.multiplier} from {x} to {y}", "[1, kh, kw, out]")
    options = schema.DepthwiseConv2DOptionsT(
        _padding(op, graph), op.stride[1], op.stride[0], op.multiplier, FUSED[op.activation], op.dilation[1], op.dilation[0]
    )
    version = _weighted_version(op, graph, 3, 5) or (2 if op.dilation != (1, 1) else 1)
    return Builtin(CODE.DEPTHWISE_CONV_2D, version, options)


def _fully_connected(op: ops.FullyConnected, graph: QuantGraph) -> Builtin:
    x, weight, y = _shapes(op, graph)
    if x[-1] != weight[1] or y != (*x[:-1], weight[0]):
        raise refuse(op, graph, f"weight {weight} from {x} to {y}", "[out, in]")
    keep = len(x) > 2
    version = {"int8": 4, "int16": 7}.get(graph.tensor(op.inputs[0]).dtype, 1)
    if keep:
        version = max(version, 5)
    weight_tensor = graph.tensor(op.inputs[1])
    quantization = weight_tensor.quantization
    sixteen = graph.tensor(op.inputs[0]).dtype == "int16"
    if len(op.inputs) < 3:  # of int16, nothing else says then that its sums have 64 bits
        version = 11 if sixteen else max(version, 6)
    if weight_tensor.dtype == "int4":
        version = 10
    if quantization is not None and quantization.axis is not None:
        version = 12
    options = schema.FullyConnectedOptionsT(FUSED[op.activation], keepNumDims=keep)
    options.quantizedBiasType = schema.TensorType.INT64 if version > 10 and sixteen else 0
    return Builtin(CODE.FULLY_CONNECTED, version, options)


def _pool(op: ops.AveragePool2D | ops.MaxPool2D, graph: QuantGraph) -> Builtin:
    code = CODE.AVERAGE_POOL_2D if isinstance(op, ops.AveragePool2D) else CODE.MAX_POOL_2D
    options = schema.Pool2DOptionsT(_padding(op, graph), op.stride[1], op.stride[0], op.kernel[1], op.kernel[0], FUSED[op.activation])
    return Builtin(code, integer_two(op, graph), options)


def _mean(op: ops.Mean, graph: QuantGraph) -> Builtin:
    rank = len(graph.tensor(op.inputs[0]).shape)
    axes = sorted(axis % rank for axis in op.axes)
    if not axes or axes[0] == 0:
        raise refuse(op, graph, f"mean over axes {op.axes}", "axes other than the batch")
    return Builtin(CODE.MEAN, integer_two(op, graph), schema.ReducerOptionsT(op.keepdims), (np.array(axes, np.int32),))


def _reshape(op: ops.Reshape, graph: QuantGraph) -> Builtin:
    shape = graph.tensor(op.outputs[0]).shape
    if shape[0] != 1 or graph.tensor(op.inputs[0]).shape[0] != 1:
        raise refuse(op, graph, f"to {shape}", "a shape that keeps the batch of 1 first")
    # −1 lets LiteRT resize the batch.
    return Builtin(CODE.RESHAPE, 1, None, (np.array([-1, *shape[1:]], np.int32),))


def _concat(op: ops.Concat, graph: QuantGraph) -> Builtin:
    axis = op.axis % len(graph.tensor(op.outputs[0]).shape)
    if axis == 0:
        raise refuse(op, graph, "concatenation along the batch", "another axis")
    return Builtin(CODE.CONCATENATION, integer_two(op, graph), schema.ConcatenationOptionsT(axis))


def _pad(op: ops.Pad, graph: QuantGraph) -> Builtin:
    amounts = np.array(op.amounts, np.int32)
    if amounts.shape != (len(graph.tensor(op.inputs[0]).shape), 2) or amounts[0].any():
        raise refuse(op, graph, f"amounts {op.amounts}", "(before, after) for every axis, none for the batch")
    if op.fill == "zero":
        return Builtin(CODE.PAD, integer_two(op, graph), schema.PadOptionsT(), (amounts,))
    dtype = STORAGE[graph.tensor(op.inputs[0]).dtype]
    lowest = np.array(np.iinfo(dtype).min, dtype) if is_integer(op.inputs[0], graph) else np.array(np.finfo(np.float32).min)
    return Builtin(CODE.PADV2, integer_two(op, graph), schema.PadV2OptionsT(), (amounts, lowest))


def _relu(op: ops.Relu, graph: QuantGraph) -> Builtin:
    if op.activation == "none":
        raise refuse(op, graph, "a rectifier without activation", "relu or relu6")
    x, y = graph.tensor(op.inputs[0]).quantization, graph.tensor(op.outputs[0]).quantization
    if op.activation == "relu" or x is None or y is None or x.single == y.single:
        return Builtin(CODE.RELU if op.activation == "relu" else CODE.RELU6, integer_two(op, graph))
    scale, zero_point = y.single
    top = np.iinfo(STORAGE[graph.tensor(op.outputs[0]).dtype]).max
    # RELU6 in TFLM does not change scales, RELU does; and RELU is the same where the output's largest integer stands for at most 6.
    if round(6 / scale) + zero_point < top:
        raise refuse(
            op, graph, f"relu6 into another scale, {scale}", f"at most 6 at {top}: a scale of at most {6 / (top - zero_point):.6g}"
        )
    return Builtin(CODE.RELU, integer_two(op, graph))


def _softmax(op: ops.Softmax, graph: QuantGraph) -> Builtin:
    check_fixed_scale(op, graph, (1 / 256, -128))
    return Builtin(CODE.SOFTMAX, integer_two(op, graph), schema.SoftmaxOptionsT(1.0))


def _logistic(op: ops.Logistic, graph: QuantGraph) -> Builtin:
    check_fixed_scale(op, graph, (1 / 256, -128))
    return Builtin(CODE.LOGISTIC, integer_two(op, graph))


BUILTINS: dict[type[ops.Op], Callable[[Any, QuantGraph], Builtin]] = {
    ops.Conv2D: _conv,
    ops.DepthwiseConv2D: _depthwise,
    ops.FullyConnected: _fully_connected,
    ops.AveragePool2D: _pool,
    ops.MaxPool2D: _pool,
    ops.Mean: _mean,
    ops.Reshape: _reshape,
    ops.Concat: _concat,
    ops.Pad: _pad,
    ops.Relu: _relu,
    ops.Softmax: _softmax,
    ops.Logistic: _logistic,
    **tflite_elementwise.BUILTINS,
    **tflite_shape.BUILTINS,
}
