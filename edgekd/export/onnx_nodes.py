"""One function an operator: channels-first QuantGraph operator → ONNX nodes, computing on real (dequantized) values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekd.errors import InputError
from edgekd.export import onnx_elementwise, onnx_shape
from edgekd.quant.graph import STORAGE, QuantGraph, Tensor
from edgekd.quant.ops import (
    AveragePool2D,
    BatchMatMul,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    MaxPool2D,
    Op,
    Relu,
    TransposeConv2D,
)

#: Names of the file's border. A tensor of the graph that bears one of them goes by ``NAME/value`` inside the file.
INPUT, OUTPUT = "input", "output"


class Nodes:
    """Final. The nodes and initializers of a file in the making, and under which name each tensor's real value is read.

    ``float_type`` is what is computed in: float32, or float16. ``int32_bias`` is False for TensorRT, which takes only float biases.
    ``unsigned`` holds activations as uint8, 128 above the graph's int8: the same real values. ``ties_away`` makes average pools round a
    half away from int8's 0, as TFLite does; QuantizeLinear rounds it to even.
    """

    def __init__(
        self,
        graph: QuantGraph,
        *,
        float_type: type[np.float32] | type[np.float16],
        int32_bias: bool,
        unsigned: bool = False,
        ties_away: bool = False,
    ) -> None:
        self.graph, self.float_type, self.int32_bias = graph, float_type, int32_bias
        self.unsigned, self.ties_away = unsigned, ties_away
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
        if bias.dtype not in ("int32", "int64") or x.quantization is None or weight.quantization is None:
            return [self.read(bias.name)]
        scale = x.quantization.scale * weight.quantization.scale
        result = f"{bias.name}@{op.name}"
        if not self.int32_bias or bias.dtype == "int64":
            return [self.constant(result, (bias.data * scale.astype(np.float64)).astype(np.float32))]
        integers = self.constant(bias.name, bias.data)
        one = weight.quantization.axis is None
        names = [integers, self.constant(f"{result}/scale", scale[0] if one else scale)]
        return [self.node("DequantizeLinear", names, result, None if one else {"axis": 0})]

    def _constant_value(self, tensor: Tensor) -> str:
        if tensor.data is None:
            raise InputError(f"{tensor.name!r} has no value", where=f"graph {self.graph.name}")
        name = self._free(tensor.name)
        if tensor.quantization is None:
            whole = tensor.dtype in ("int32", "int64")
            return self.constant(name, tensor.data if whole else tensor.data.astype(self.float_type))
        scale, zero = self._parameters(tensor)
        axis = tensor.quantization.axis
        if tensor.dtype == "int4" and name not in self.initializers:
            self.initializers[name] = helper.make_tensor(name, TensorProto.INT4, tensor.shape, _nibbles(tensor.data), raw=True)
        inputs = [self.constant(name, tensor.data), scale, zero]
        return self.node("DequantizeLinear", inputs, f"{tensor.name}/value", None if axis is None else {"axis": axis})

    def _parameters(self, tensor: Tensor) -> tuple[str, str]:
        q = tensor.quantization
        if q is None or tensor.dtype not in ("int8", "int4", "int16"):
            raise InputError(f"{tensor.name!r} is {tensor.dtype}", where="ONNX export", expected="int8 or int16 with a scale, or float")
        scale: Any = q.scale if q.axis is not None else q.scale[0]
        zero: Any = q.zero_point if q.axis is not None else q.zero_point[0]
        name = f"{tensor.name}/zero_point"
        if tensor.dtype == "int4" and name not in self.initializers:
            dims = zero.shape
            self.initializers[name] = helper.make_tensor(name, TensorProto.INT4, dims, _nibbles(np.asarray(zero)), raw=True)
        unsigned = self.unsigned and not tensor.is_constant
        zero = (zero + 128).astype(np.uint8) if unsigned else zero.astype(np.int16 if tensor.dtype == "int16" else np.int8)
        return self.constant(f"{tensor.name}/scale", scale), self.constant(name, zero)

    @staticmethod
    def _free(name: str) -> str:
        return f"{name}/value" if name in (INPUT, OUTPUT) else name


def _nibbles(values: np.ndarray) -> bytes:
    """4-bit integers two a byte, the first in the lower half."""
    flat = (values.reshape(-1).astype(np.int64) & 15).astype(np.uint8)
    flat = np.append(flat, np.zeros(len(flat) % 2, np.uint8))
    return (flat[::2] | flat[1::2] << 4).tobytes()


def clamp(op: Op, y: Tensor) -> tuple[float, float] | None:
    """(low, high) of the operator's activation, high may be infinite; None where there is none, or the integers' range clamps already."""
    activation = getattr(op, "activation", "none")
    if activation == "none":
        return None
    low, high = 0.0, 6.0 if activation == "relu6" else float("inf")
    if y.quantization is not None:
        scale, zero = y.quantization.single
        limits = np.iinfo(STORAGE[y.dtype])
        if zero <= limits.min:
            low = -float("inf")
        if zero + np.rint(high / scale) >= limits.max:
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
    if type(op) not in OPERATORS:
        raise InputError(
            f"{type(op).__name__} has no ONNX form", where=f"operator {op.name}", expected=", ".join(c.__name__ for c in OPERATORS)
        )
    OPERATORS[type(op)](nodes, op, output)


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
    """A vector's by Gemm, which takes the weight as it lies ([out, in], scales along axis 0): onnxruntime makes QGemm of it, with its bias.

    Several vectors of one sample are rows of a Gemm between two Reshapes, where there are integers: a sum after a MatMul stays float.
    """
    x, y = nodes.graph.tensor(op.inputs[0]), nodes.graph.tensor(op.outputs[0])
    value, weight, bias = nodes.read(x.name), nodes.read(op.inputs[1]), nodes.bias(op)
    if len(x.shape) == 2:
        nodes.node("Gemm", [value, weight, *bias], output, {"transB": 1})
        return
    if x.quantization is None or y.quantization is None:
        turned = nodes.node("Transpose", [weight], f"{output}/weight", {"perm": [1, 0]})
        product = nodes.node("MatMul", [value, turned], f"{output}/product" if bias else output)
        if bias:
            nodes.node("Add", [product, *bias], output)
        return
    shapes = [
        nodes.constant(f"{op.name}/{what}", np.array(v, np.int64))
        for what, v in (("rows", [-1, x.shape[-1]]), ("shape", [-1, *y.shape[1:]]))
    ]
    rows = nodes.node("Reshape", [value, shapes[0]], f"{output}/rows")
    rows = nodes.quantize(rows, x, f"{output}/rows/q", f"{output}/rows/value")
    made = nodes.node("Gemm", [rows, weight, *bias], f"{output}/made", {"transB": 1})
    made = nodes.quantize(made, y, f"{output}/made/q", f"{output}/made/value")
    nodes.node("Reshape", [made, shapes[1]], output)


def _max_pool(nodes: Nodes, op: Any, output: str) -> None:
    nodes.node("MaxPool", [nodes.read(op.inputs[0])], output, _window(op))


def _average_pool(nodes: Nodes, op: Any, output: str) -> None:
    """AveragePool, and where a window has an even count: average + s/(2·count)·Sign(average + s·z).

    A window's mean is a multiple of s/count, so that half of that takes ties, and nothing else, over the border between two integers.
    """
    attributes = {**_window(op), "count_include_pad": 0}
    x, y = nodes.graph.tensor(op.inputs[0]), nodes.graph.tensor(op.outputs[0])
    count = _count(op, x.shape[2:], y.shape[2:])
    even = count % 2 == 0
    if not nodes.ties_away or x.dtype != "int8" or x.quantization is None or not even.any():
        nodes.node("AveragePool", [nodes.read(x.name)], output, attributes)
        return
    scale, zero = x.quantization.single
    average = nodes.node("AveragePool", [nodes.read(x.name)], f"{output}/average", attributes)
    shift = nodes.constant(f"{output}/shift", np.array(scale * zero, np.float32))
    over = np.where(even, scale / (2 * count), 0).astype(np.float32)
    half = nodes.constant(f"{output}/half", over.reshape(-1)[0] if (over == over[0, 0]).all() else over[None, None])
    side = nodes.node("Sign", [nodes.node("Add", [average, shift], f"{output}/shifted")], f"{output}/side")
    nodes.node("Add", [average, nodes.node("Mul", [side, half], f"{output}/over")], output)


def _window(op: Any) -> dict[str, Any]:
    return {"kernel_shape": list(op.kernel), "strides": list(op.stride), "pads": _pads(op.padding)}


def _count(op: Any, size: Sequence[int], made: Sequence[int]) -> np.ndarray:
    """How many values each window has, int64 [H', W']; padding is none."""
    inside = []
    for axis in (0, 1):
        start = np.arange(made[axis]) * op.stride[axis] - op.padding[2 * axis]
        inside.append(np.minimum(start + op.kernel[axis], size[axis]) - np.maximum(start, 0))
    return np.multiply.outer(*inside)


def _relu(nodes: Nodes, op: Any, output: str) -> None:
    add_clamp(nodes, (0.0, 6.0 if op.activation == "relu6" else float("inf")), nodes.read(op.inputs[0]), output)


def _transpose_convolution(nodes: Nodes, op: Any, output: str) -> None:
    weight = nodes.graph.tensor(op.inputs[1])
    attributes = {
        "kernel_shape": list(weight.shape[2:]),
        "strides": list(op.stride),
        "pads": _pads(op.padding),
        "output_padding": list(op.extra),
    }
    nodes.node("ConvTranspose", [nodes.read(op.inputs[0]), nodes.read(op.inputs[1]), *nodes.bias(op)], output, attributes)


def _matmul(nodes: Nodes, op: Any, output: str) -> None:
    a, b = (nodes.read(name) for name in op.inputs)
    if op.adjoint_b:
        tensor = nodes.graph.tensor(op.inputs[1])
        rank = len(tensor.shape)
        b = nodes.node("Transpose", [b], f"{op.name}/b", {"perm": [*range(rank - 2), rank - 1, rank - 2]})
        if tensor.quantization is not None:
            b = nodes.quantize(b, tensor, f"{op.name}/b/q", f"{op.name}/b/value")
    nodes.node("MatMul", [a, b], output)


OPERATORS: dict[type[Op], Callable[[Nodes, Any, str], None]] = {
    Conv2D: _convolution,
    DepthwiseConv2D: _convolution,
    TransposeConv2D: _transpose_convolution,
    FullyConnected: _fully_connected,
    BatchMatMul: _matmul,
    AveragePool2D: _average_pool,
    MaxPool2D: _max_pool,
    Relu: _relu,
    **onnx_elementwise.OPERATORS,
    **onnx_shape.OPERATORS,
}
