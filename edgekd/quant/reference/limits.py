"""What a runtime does less, or otherwise, than an operator says: for docs, and for whoever looks for what a target lacks.

The reference foretells the integers all the same, save where a runtime has no kernel to foretell. Operators that a runtime lacks
altogether are in profiles.UNSUPPORTED.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph

PRESCRIBED = "an int8 output of scale 1/256 and zero point -128 only: no file with another is loaded"
PRESCRIBED_SCALE = "an int8 output of scale 1/256 only: no file with another is loaded"

#: Profile → operator → in words.
LIMITS: Mapping[str, Mapping[type[ops.Op], str]] = {
    "tflm": {
        ops.Slice: "rank at most 5; with a step other than 1, at most 4",
        ops.Transpose: "rank at most 5",
        ops.BatchMatMul: "rank at most 5",
        ops.Gather: "an index beyond the table is an error",
        ops.Rsqrt: "a negative value is an error",
        ops.FullyConnected: "4-bit weights only with one scale for all",
        ops.Softmax: PRESCRIBED,
        ops.Logistic: PRESCRIBED,
    },
    "litert_ref": {
        ops.Rsqrt: "a negative value is an error",
        ops.Sum: "its kernel takes int8 for uint8: sums of other values wherever one is negative (foretold as they come)",
        ops.TransposeConv2D: "one sample at a time: the file fixes the output's batch",
        ops.Slice: "of rank 5, one sample at a time: the file fixes the output's batch",
        ops.Softmax: PRESCRIBED,
        ops.Logistic: PRESCRIBED_SCALE,
    },
    "xnnpack": {
        ops.Rsqrt: "a negative value is an error",
        ops.Add: "LiteRT's own kernel, where XNNPACK declines, overflows 16 bits if the inputs' scales are over 128 times the output's",
        ops.Quantize: "int8 to int8 by a ratio of scales outside 1/256 to 128: fewer than 16 values at a tensor's end may differ by 1",
        ops.BatchMatMul: "XNNPACK takes a second input of zero point 0; LiteRT's own kernel, slower, any other",
        ops.TransposeConv2D: "one sample at a time: the file fixes the output's batch",
        ops.Slice: "of rank 5, one sample at a time: the file fixes the output's batch",
        ops.Softmax: PRESCRIBED,
    },
}  # fmt: skip

#: Profile → operator → the same, of 16-bit activations.
LIMITS_16: Mapping[str, Mapping[type[ops.Op], str]] = {
    "tflm": {
        ops.Gather: "no kernel",
        ops.ReduceMax: "no kernel",
        ops.Logistic: "input scales below 2.67",
        ops.Tanh: "input scales below 2.67",
    },
    "litert_ref": {
        ops.Sum: "its kernel reads something else than int16: not foretold",
        ops.Logistic: "input scales below 2.67",
        ops.Tanh: "input scales below 2.67",
    },
    "xnnpack": {
        ops.Add: "of two activations of one shape, fewer than 16 values at a tensor's end may differ by 1",
        ops.Sum: "off by one here and there: not foretold",
        ops.Logistic: "an input scale of 1/4096 takes a kernel that is not foretold",
        ops.Tanh: "an input scale of 1/4096 or 1/2048 takes a kernel that is not foretold",
    },
}  # fmt: skip

#: What TFLM has kernels for, by rank of the input.
TFLM_RANKS: Mapping[type[ops.Op], int] = {ops.Slice: 5, ops.Transpose: 5, ops.BatchMatMul: 5}


def lacks(op: ops.Op, graph: QuantGraph, profile: str) -> str | None:
    """Why the runtime of ``profile`` has no kernel for ``op`` as it stands, or None."""
    if (limit := unprescribed(op, graph, profile)) is not None:
        return limit
    if profile != "tflm":
        return None
    if isinstance(op, ops.FullyConnected):
        weight = graph.tensor(op.inputs[1])
        per_channel = weight.quantization is not None and len(weight.quantization.scale) > 1
        return "4-bit weights with one scale an output" if weight.dtype == "int4" and per_channel else None
    rank = len(graph.tensor(op.inputs[0]).shape)
    most = TFLM_RANKS.get(type(op), rank)
    if isinstance(op, ops.Slice) and any(step > 1 and size > 1 for step, size in zip(op.step, op.size, strict=True)):
        most = 4
    return f"rank {rank}; {LIMITS['tflm'][type(op)]}" if rank > most else None


def unprescribed(op: ops.Op, graph: QuantGraph, profile: str) -> str | None:
    """The limit for which the runtime of ``profile`` loads no file where ``op`` writes under this scale; None where it does.

    Read off the checks of TFLite's and TFLM's kernels (activations.cc, logistic_common.cc, 2026).
    """
    limit, result = LIMITS.get(profile, {}).get(type(op)), graph.tensor(op.outputs[0])
    if limit not in (PRESCRIBED, PRESCRIBED_SCALE) or result.dtype != "int8":
        return None
    scale, zero_point = (0.0, 0) if result.quantization is None else result.quantization.single
    return None if scale == 1 / 256 and (zero_point == -128 or limit == PRESCRIBED_SCALE) else limit
