"""Which rule each operator follows under each profile, and what XNNPACK takes.

``litert_opt`` is not a profile of its own: it is the set of rules of LiteRT's optimized kernels, which run where XNNPACK declines. They are
those of x86-64; on aarch64 the optimized softmax works with a table of 16-bit integers instead of float32 (a model without softmax,
which is edgekd's output contract, has nothing that differs).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.ops import Add, AveragePool2D, Op, Relu, Softmax

PROFILES = ("tflm", "litert_ref", "xnnpack")

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
    "litert_opt": {
        "add": "fixed_point",
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
DECLINED: tuple[type[Op], ...] = (AveragePool2D, Relu, Softmax)


def xnnpack_takes(op: Op, graph: QuantGraph) -> bool:
    """Whether LiteRT delegates an int8 operator to XNNPACK (ai-edge-litert 2.3; seen in its delegate and in what comes out)."""
    if isinstance(op, DECLINED):
        return False
    condition = TAKES.get(type(op))
    return condition is None or condition(op, graph)


def _takes_add(op: Op, graph: QuantGraph) -> bool:
    scales = [np.float32(quantization(graph, name)[0]) for name in (*op.inputs, *op.outputs)]
    return all(2.0**-10 <= scale / scales[2] < 256 for scale in scales[:2])


#: Operator → on what XNNPACK takes it; those not listed it takes always.
TAKES: dict[type[Op], Callable[[Op, QuantGraph], bool]] = {
    Add: _takes_add,
}


def is_quantized(tensor: Tensor) -> bool:
    """Whether its integers stand for real values; int32 and int64 are indices (and biases, which are no activations)."""
    return tensor.dtype in ("int4", "int8", "int16")


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
