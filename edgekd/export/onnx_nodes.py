"""One function an operator: channels-first QuantGraph operator → ONNX nodes, computing on real (dequantized) values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.ops import (
    Add,
    AveragePool2D,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Logistic,
    MaxPool2D,
    Mean,
    Op,
    Pad,
    Relu,
    Reshape,
    Softmax,
)

#: Names of the file's border. A tensor of the graph that bears one of them goes by ``NAME/value`` inside the file.
INPUT, OUTPUT = "input", "output"


class Nodes:
    """Final. The nodes and initializers of a file in the making, and under which name each tensor's real value is read.

    ``float_type`` is what is computed in: float32, or float16. ``int32_bias`` is False for TensorRT, which takes only float biases.
    ``unsigned`` holds activations as uint8, 128 above the graph's int8: the same real values.
    """

    def __init__(
        self, graph: QuantGraph, *, float_type: type[np.float32] | type[np.float16], int32_bias: bool, unsigned: bool = False
    ) -> None:
        self.graph, self.float_type, self.int32_bias, self.unsigned = graph, float_type, int32_bias, unsigned
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.values: dict[str, str] = {}

    def constant(self, name: str, array: np.ndarray) -> str:
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def node(self, kind: str, inputs: list[str], output: str, attributes: dict[str, Any] | None = None) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{kind}:{output}", **(attributes or {})))
        return output

    def quantize(self, value: str, tensor: Tensor, integers: str, result: str) -> str:
        """``value`` → QuantizeLinear → ``integers`` → DequantizeLinear → ``result``, with the scale and zero point of ``tensor``."""
        scale, zero = self._parameters(tensor)
        self.node("QuantizeLinear", [value, scale, zero], integers)
        return self.node("DequantizeLinear", [integers, scale, zero], result)

    def read(self, name: str) -> str:
        """The name under which the real value of an activation or a constant is read; a constant is added when first asked for."""
        if name not in self.values:
            self.values[name] = self._constant_value(self.graph.tensor(name))
        return self.values[name]

    def bias(self, op: Op) -> list[str]:
        """[name] of the operator's bias, int32 at scale s_x·s_w (QLinearConv's own rule) through DequantizeLinear, or [] without one."""
        if len(op.inputs) < 3:
            return []
        x, weight, bias = (self.graph.tensor(name) for name in op.inputs)
        if bias.data is None:
            raise InputError(f"bias {bias.name!r} is not a constant", where=f"{type(op).__name__} {op.name}", expected="a constant bias")
        if bias.dtype != "int32" or x.quantization is None or weight.quantization is None:
            return [self.read(bias.name)]
        scale = x.quantization.scale * weight.quantization.scale
        result = f"{bias.name}@{op.name}"
        if not self.int32_bias:
            return [self.constant(result, (bias.data * scale.astype(np.float64)).astype(np.float32))]
        integers = self.constant(bias.name, bias.data)
        one = weight.quantization.axis is None
        names = [integers, self.constant(f"{result}/scale", scale[0] if one else scale)]
        return [self.node("DequantizeLinear", names, result, None if one else {"axis": 0})]

    def _constant_value(self, tensor: Tensor) -> str:
        if tensor.data is None:
            raise InputError(f"{tensor.name!r} has no value", where=f"graph {self.graph.name}")
        if tensor.quantization is None:
            return self.constant(self._free(tensor.name), tensor.data.astype(self.float_type))
        scale, zero = self._parameters(tensor)
        axis = tensor.quantization.axis
        inputs = [self.constant(self._free(tensor.name), tensor.data), scale, zero]
        return self.node("DequantizeLinear", inputs, f"{tensor.name}/value", None if axis is None else {"axis": axis})

    def _parameters(self, tensor: Tensor) -> tuple[str, str]:
        q = tensor.quantization
        if q is None or tensor.dtype not in ("int8", "int4"):
            raise InputError(f"{tensor.name!r} is {tensor.dtype}", where="ONNX export", expected="int8 with a scale, or float")
        scale: Any = q.scale if q.axis is not None else q.scale[0]
        zero: Any = q.zero_point if q.axis is not None else q.zero_point[0]
        zero = (zero + 128).astype(np.uint8) if self.unsigned and not tensor.is_constant else zero.astype(np.int8)
        return self.constant(f"{tensor.name}/scale", scale), self.constant(f"{tensor.name}/zero_point", zero)

    @staticmethod
    def _free(name: str) -> str:
        return f"{name}/value" if name in (INPUT, OUTPUT) else name


def clamp(op: Op, quantization: Quantization | None) -> tuple[float, float] | None:
    """(low, high) of the operator's activation, high may be infinite; None where there is none or int8's own range clamps already."""
    activation = getattr(op, "activation", "none")
    if activation == "none":
        return None
    low, high = 0.0, 6.0 if activation == "relu6" else float("inf")
    if quantization is not None:
        scale, zero = quantization.single
        if zero <= -128:
            low = -float("inf")
        if zero + np.rint(high / scale) >= 127:
            high = float("inf")
        if low == -float("inf") and high == float("inf"):
            return None
    return 0.0, high


def add_clamp(nodes: Nodes, bounds: tuple[float, float], value: str, output: str) -> None:
    if bounds[1] == float("inf"):
        nodes.node("Relu", [value], output)
    else:
        limits = [nodes.constant(f"clip/{b:g}", np.array(b, nodes.float_type)) for b in bounds]
        nodes.node("Clip", [value, *limits], output)


def add_operator(nodes: Nodes, op: Op, output: str) -> None:
    """The nodes that compute ``op`` on real values, without its fused activation, into ``output``."""
    if type(op) not in _OPERATORS:
        raise InputError(
            f"{type(op).__name__} has no ONNX form", where=f"operator {op.name}", expected=", ".join(c.__name__ for c in _OPERATORS)
        )
    _OPERATORS[type(op)](nodes, op, output)


def _pads(padding: tuple[int, int, int, int]) -> list[int]:
    top, bottom, left, right = padding
    return [top, left, bottom, right]


def _convolution(nodes: Nodes, op: Any, output: str) -> None:
    weight = nodes.graph.tensor(op.inputs[1])
    groups = op.groups if isinstance(op, Conv2D) else nodes.graph.tensor(op.inputs[0]).shape[1]
    attributes = {
        "kernel_shape": list(weight.shape[2:]),
        "strides": list(op.stride),
        "pads": _pads(op.padding),
        "dilations": list(op.dilation),
        "group": groups,
    }
    nodes.node("Conv", [nodes.read(op.inputs[0]), nodes.read(op.inputs[1]), *nodes.bias(op)], output, attributes)


def _fully_connected(nodes: Nodes, op: Any, output: str) -> None:
    rank = len(nodes.graph.tensor(op.inputs[0]).shape)
    x, weight = nodes.read(op.inputs[0]), nodes.read(op.inputs[1])
    if rank == 2:
        # Gemm takes the weight as it lies ([out, in], per-channel axis 0); onnxruntime fuses it, with its bias, into QGemm.
        nodes.node("Gemm", [x, weight, *nodes.bias(op)], output, {"transB": 1})
        return
    transposed = nodes.graph.tensor(op.inputs[1])
    raise InputError(
        f"input of rank {rank}, weight {transposed.shape}",
        where=f"FullyConnected {op.name}",
        expected="a vector [N, features]; reshape before it",
    )


def _add(nodes: Nodes, op: Any, output: str) -> None:
    nodes.node("Add", [nodes.read(name) for name in op.inputs], output)


def _pool(nodes: Nodes, op: Any, output: str) -> None:
    attributes: dict[str, Any] = {"kernel_shape": list(op.kernel), "strides": list(op.stride), "pads": _pads(op.padding)}
    if isinstance(op, AveragePool2D):
        attributes["count_include_pad"] = 0
    nodes.node("AveragePool" if isinstance(op, AveragePool2D) else "MaxPool", [nodes.read(op.inputs[0])], output, attributes)


def _mean(nodes: Nodes, op: Any, output: str) -> None:
    x = nodes.graph.tensor(op.inputs[0])
    if len(x.shape) != 4 or set(op.axes) != {2, 3}:
        axes = nodes.constant(f"{op.name}/axes", np.array(op.axes, np.int64))
        nodes.node("ReduceMean", [nodes.read(op.inputs[0]), axes], output, {"keepdims": int(op.keepdims)})
        return
    if op.keepdims:
        nodes.node("GlobalAveragePool", [nodes.read(op.inputs[0])], output)
        return
    pooled = nodes.node("GlobalAveragePool", [nodes.read(op.inputs[0])], f"{op.name}/pooled")
    y = nodes.graph.tensor(op.outputs[0])
    if y.quantization is not None:
        # Quantized before it is flattened: a pool between Dequantize and Quantize is an integer kernel, pool and reshape together are none.
        pooled = nodes.quantize(pooled, y, f"{op.name}/pooled/q", f"{op.name}/pooled/value")
    nodes.node("Flatten", [pooled], output, {"axis": 1})


def _reshape(nodes: Nodes, op: Any, output: str) -> None:
    # 0 copies the batch, which stays free.
    shape = nodes.constant(f"{op.name}/shape", np.array([0, *op.shape[1:]], np.int64))
    nodes.node("Reshape", [nodes.read(op.inputs[0]), shape], output)


def _concat(nodes: Nodes, op: Any, output: str) -> None:
    nodes.node("Concat", [nodes.read(name) for name in op.inputs], output, {"axis": op.axis})


def _pad(nodes: Nodes, op: Any, output: str) -> None:
    amounts = [before for before, _ in op.amounts] + [after for _, after in op.amounts]
    pads = nodes.constant(f"{op.name}/pads", np.array(amounts, np.int64))
    nodes.node("Pad", [nodes.read(op.inputs[0]), pads, nodes.constant("pad/0", np.array(0, nodes.float_type))], output)


def _relu(nodes: Nodes, op: Any, output: str) -> None:
    add_clamp(nodes, (0.0, 6.0 if op.activation == "relu6" else float("inf")), nodes.read(op.inputs[0]), output)


def _softmax(nodes: Nodes, op: Any, output: str) -> None:
    nodes.node("Softmax", [nodes.read(op.inputs[0])], output, {"axis": -1})


def _logistic(nodes: Nodes, op: Any, output: str) -> None:
    nodes.node("Sigmoid", [nodes.read(op.inputs[0])], output)


_OPERATORS: dict[type[Op], Callable[[Nodes, Any, str], None]] = {
    Conv2D: _convolution,
    DepthwiseConv2D: _convolution,
    FullyConnected: _fully_connected,
    Add: _add,
    AveragePool2D: _pool,
    MaxPool2D: _pool,
    Mean: _mean,
    Reshape: _reshape,
    Concat: _concat,
    Pad: _pad,
    Relu: _relu,
    Softmax: _softmax,
    Logistic: _logistic,
}
