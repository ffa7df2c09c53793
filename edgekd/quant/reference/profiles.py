"""Which rule each operator follows under each profile, and what XNNPACK takes.

``litert_opt`` is not a profile of its own: it is the set of rules of LiteRT's optimized kernels, which run where XNNPACK declines. They are
those of x86-64; on aarch64 the optimized softmax works with a table of 16-bit integers instead of float32 (a model without softmax,
which is edgekd's output contract, has nothing that differs).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.ops import Op

PROFILES = ("tflm", "litert_ref", "xnnpack")
#: Runtimes of other formats, of which not every operator is foretold bit for bit.
OTHERS = ("onnxruntime", "openvino")

#: profile → kind of operator → rule. "fixed_point" and "…_once" are in rounding.py, the others in the file of their operator.
RULES: Mapping[str, Mapping[str, str]] = {
    "tflm": {
        "conv": "fixed_point",
        "fully_connected": "fixed_point",
        "add": "fixed_point",
        "mean": "fixed_point",
        "softmax": "fixed_point",
        "logistic": "fixed_point",
        "relu": "float64_ratio",
        "bounds": "tflite",
    },
    "litert_ref": {
        "conv": "fixed_point",
        "fully_connected": "float64_once",
        "add": "fixed_point",
        "mean": "fixed_point",
        "softmax": "fixed_point",
        "logistic": "tflite_table",
        "relu": "float32_ratio",
        "bounds": "tflite",
    },
    "xnnpack": {
        "conv": "float32_once",
        "fully_connected": "float32_once",
        "add": "xnnpack_20_bits",
        "mean": "float32",
        "logistic": "xnnpack_table",
        "bounds": "xnnpack",
    },
    "onnxruntime": {
        "conv": "float32_once",
        "fully_connected": "float32_once",
        "bounds": "xnnpack",
    },
    "openvino": {
        "conv": "float32_once",
        "fully_connected": "float32_once",
        "bounds": "xnnpack",
    },
    "litert_opt": {
        "conv": "fixed_point_half_up",
        "fully_connected": "fixed_point_half_up",
        "add": "fixed_point",
        "mean": "fixed_point",
        "softmax": "float_table",
        "relu": "float32_ratio",
        "bounds": "tflite",
    },
}


def rules_of(op: Op, graph: QuantGraph, profile: str) -> Mapping[str, str]:
    """The rules that hold for ``op``: those of ``profile``, or litert_opt's where XNNPACK declines."""
    return RULES[kernels_of(op, graph, profile)]


def kernels_of(op: Op, graph: QuantGraph, profile: str) -> str:
    """Whose kernels compute ``op``: ``profile``, or litert_opt where XNNPACK declines. Kernel files key their own rules by it."""
    return "litert_opt" if profile == "xnnpack" and not xnnpack_takes(op, graph) else profile


#: Operators that XNNPACK never takes as integers.
DECLINED: tuple[type[Op], ...] = (
    ops.AveragePool2D,
    ops.Relu,
    ops.Softmax,
    ops.Gather,
    ops.ResizeNearest,
    ops.Gelu,
    ops.HardSwish,
    ops.Maximum,
    ops.Minimum,
    ops.PRelu,
    ops.Rsqrt,
    ops.SquaredDifference,
)

#: Profile → operators that its runtime lacks.
UNSUPPORTED: Mapping[str, tuple[type[Op], ...]] = {"tflm": (ops.Gelu,)}

#: Profile → float operators that are not foretold bit for bit, with the largest error seen on values within ±8, relative to max(1, |y|):
#: a polynomial here, another library's function there. Operators of one IEEE operation a value are exact; those that sum differ by order.
FLOAT_ERROR: Mapping[str, Mapping[type[Op], float]] = {
    "tflm": {ops.Tanh: 2e-7, ops.Logistic: 2e-7, ops.Softmax: 3e-7},
    "litert_ref": {ops.Tanh: 2e-7, ops.Logistic: 2e-7, ops.Softmax: 3e-7, ops.Gelu: 1e-6},
    "xnnpack": {ops.Tanh: 4e-7, ops.Logistic: 2e-7, ops.Softmax: 3e-7, ops.Gelu: 1e-6, ops.HardSwish: 3e-7, ops.Rsqrt: 2e-7},
}


def xnnpack_takes(op: Op, graph: QuantGraph) -> bool:
    """Whether LiteRT delegates an operator to XNNPACK (ai-edge-litert 2.3; seen in its delegate and in what comes out)."""
    if isinstance(op, DECLINED) or is_int16(op, graph):
        return False
    condition = TAKES.get(type(op))
    return condition is None or condition(op, graph)


def _scales(op: Op, graph: QuantGraph) -> list[np.float32]:
    return [np.float32(quantization(graph, name)[0]) for name in (*op.inputs, *op.outputs)]


def _takes_sum(op: Op, graph: QuantGraph) -> bool:
    *inputs, output = _scales(op, graph)
    return all(2.0**-10 <= scale / output < 256 for scale in inputs)


def _takes_product(op: Op, graph: QuantGraph) -> bool:
    first, second, output = _scales(op, graph)
    return bool(2.0**-16 <= first * second / output < 256)


def _takes_leaky_relu(op: Op, graph: QuantGraph) -> bool:
    x, y = _scales(op, graph)
    alpha = np.float32(getattr(op, "alpha", 0))
    above, below = x / y, x / y * alpha
    normal = abs(alpha) >= np.finfo(np.float32).tiny and np.isfinite(alpha)
    return bool(normal and 2.0**-8 <= above <= 128 and -127.99609375 <= below <= 128 and abs(below) >= 2.0**-8)


def _takes_quantize(op: Op, graph: QuantGraph) -> bool:
    if not is_quantized(graph.tensor(op.inputs[0])):
        return True
    x, y = _scales(op, graph)
    return bool(2.0**-8 <= x / y <= 128)


def _takes_fully_connected(op: Op, graph: QuantGraph) -> bool:
    """Two weights of 4 bits share a byte, and a row must end with one."""
    weight = graph.tensor(op.inputs[1])
    return weight.dtype != "int4" or weight.shape[1] % 2 == 0


def _takes_eight_bits(op: Op, graph: QuantGraph) -> bool:
    return graph.tensor(op.inputs[1]).dtype != "int4"


#: Operator → on what condition XNNPACK takes it as integers; those not listed it takes always.
TAKES: dict[type[Op], Callable[[Op, QuantGraph], bool]] = {
    ops.Conv2D: _takes_eight_bits,
    ops.DepthwiseConv2D: _takes_eight_bits,
    ops.FullyConnected: _takes_fully_connected,
    ops.BatchMatMul: lambda op, graph: quantization(graph, op.inputs[1])[1] == 0,
    ops.Add: _takes_sum,
    ops.Sub: _takes_sum,
    ops.Mul: _takes_product,
    ops.LeakyRelu: _takes_leaky_relu,
    ops.Quantize: _takes_quantize,
}


def is_quantized(tensor: Tensor) -> bool:
    """Whether its integers stand for real values; int32 and int64 are indices (and biases, which are no activations)."""
    return tensor.dtype in ("int4", "int8", "int16")


def is_int16(op: Op, graph: QuantGraph) -> bool:
    """Whether ``op`` reads or writes 16-bit activations."""
    return any(graph.tensor(name).dtype == "int16" for name in (*op.inputs, *op.outputs))


def limits_of(tensor: Tensor) -> tuple[int, int]:
    """The smallest and the largest integer of an activation: of int16, or of int8."""
    return (-(1 << 15), (1 << 15) - 1) if tensor.dtype == "int16" else (-128, 127)


def is_float(op: Op, graph: QuantGraph) -> bool:
    """Whether ``op`` reads and writes no quantized tensor."""
    return not any(is_quantized(graph.tensor(name)) for name in (*op.inputs, *op.outputs))


def quantization(graph: QuantGraph, name: str) -> tuple[float, int]:
    """Scale and zero point of an activation. Raises InputError where there are none."""
    return quantization_of(graph.tensor(name))


def quantization_of(tensor: Tensor) -> tuple[float, int]:
    """Scale and zero point. Raises InputError where there are none, or more than one."""
    if tensor.quantization is None:
        raise InputError("no quantization", where=f"tensor {tensor.name}", expected="a scale and a zero point")
    return tensor.quantization.single
