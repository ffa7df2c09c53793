"""What TensorFlow Lite Micro does not take: kernels of tflite_micro's resolver of all operators, October 2026.

Read off its kernels' type checks (tensorflow/lite/micro/kernels: reduce_common.cc, prelu_common.cc, hard_swish_common.cc,
resize_bilinear.cc, elementwise.cc, dequantize_common.cc) and seen when files with those operators are loaded.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference import limits
from edgekd.quant.reference.profiles import UNSUPPORTED
from edgekd.runtimes.lacks import Lack, Survey

#: Operators whose kernels know int8 and float32, but not int16.
NO_INT16: tuple[type[ops.Op], ...] = (ops.ReduceMax, ops.PRelu, ops.HardSwish, ops.ResizeBilinear, ops.Rsqrt, ops.Gather)


def survey(graph: QuantGraph, tflite: Path | None = None) -> Survey:
    """Operators without a kernel, or without one for their dtype or rank."""
    found = [Lack(op.name, type(op).__name__, reason) for op in graph.ops if (reason := _reason(op, graph)) is not None]
    try:
        by = f"kernels of tflite-micro {version('tflite-micro')}"
    except PackageNotFoundError:
        by = "kernels of tflite-micro, October 2026"
    return Survey(by, tuple(found))


def _reason(op: ops.Op, graph: QuantGraph) -> str | None:
    if isinstance(op, UNSUPPORTED["tflm"]):
        return "no kernel"
    dtypes = [graph.tensor(name).dtype for name in (*op.inputs, *op.outputs)]
    if "float16" in dtypes:
        return "no float16"
    if isinstance(op, NO_INT16) and "int16" in dtypes:
        return "no kernel for int16"
    return limits.lacks(op, graph, "tflm")
