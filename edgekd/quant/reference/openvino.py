"""OpenVINO's rules (2026.4, its CPU plugin, f32 hint) for the IRs that edgekd exports: int8 activations.

Found on x86-64 with AVX-512, VNNI and AMX, and said of no other instruction set: without VNNI int8 products saturate, and the integers of
convolutions are others (``holds_on``).

    convolutions, matmuls  rint(float32(acc) · (s_x·s_w/s_y)), as XNNPACK has it
    average pool           rint(float32(sum)/count + z)
    sum, difference        float32: rint((s_a·a + s_b·b) · (255/range) − low · 255/range), from the output's range of real values
    mean over an image     rint(float32(sum) · (s_x/(s_y·count))), as onnxruntime's
    what moves values      the integers themselves
    everything else        as onnxruntime's, whose module says how

Not foretold bit for bit, each never more than one off in a single operator. Only ties differ, whose direction hangs on what the plugin
fuses, so that the shares are small unless scales stand in small ratios: sums and differences of vectors with zero points (up to 1.2 % of
the integers), products (up to 0.6 %), sums and means over other axes than an image's positions (up to 8 %), bilinear resizing (up to 8 %).
What follows carries the difference on, and a softmax enlarges it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference import onnxruntime
from edgekd.quant.reference.memory import Memory
from edgekd.quant.reference.profiles import quantization

Compute = Callable[..., np.ndarray]
#: The CPU flags of the machine that the rules were found on, of those that decide how OpenVINO multiplies int8.
FOUND_WITH = ("avx512f", "avx512_vnni", "amx_int8")
FOUND_ON = "rules found with AVX-512, VNNI and AMX"


def holds_on(flags: Collection[str]) -> bool:
    """Whether a processor with these flags (as Linux names them) has the instruction set that the rules were found on."""
    return set(FOUND_WITH) <= set(flags)


def add(op: ops.Add | ops.Sub, graph: QuantGraph, profile: str) -> Compute:
    """Real values summed, then levels counted from the output's lowest value: rint(v·(255/range) − low·255/range), each rounded to float32.

    Of a vector and a constant the vector's scale is moved behind the sum, so that the constant is divided by it. Found on all pairs.
    """
    if op.activation != "none" and not onnxruntime.symmetric(graph):
        return onnxruntime.COMPILE[type(op)](op, graph, profile)
    s_y, zero = quantization(graph, op.outputs[0])
    moved = len(graph.tensor(op.outputs[0]).shape) < 4 and graph.tensor(op.inputs[1]).is_constant
    s_a, s_b = (np.float32(quantization(graph, name)[0]) for name in op.inputs)
    low, high = (np.float32(limit - zero) * np.float32(s_y) / (s_a if moved else np.float32(1)) for limit in (-128, 127))
    factor, shift = np.float32(255) / (high - low), -low * np.float32(255) / (high - low)
    sign = np.float32(-1 if isinstance(op, ops.Sub) else 1)
    smallest = np.float32(0 if op.activation == "none" else 128 + zero)

    def compute(memory: Memory, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        total = a + sign * (b * s_b / s_a) if moved else a * s_a + sign * (b * s_b)
        return np.clip(np.rint(total * factor + shift), smallest, 255) - np.float32(128 + zero)

    return compute


def average_pool(op: ops.AveragePool2D, graph: QuantGraph, profile: str) -> Compute:
    """The integers' own mean, exact but for one division, and the zero point added before it is rounded."""
    inner = onnxruntime.floats.COMPILE[ops.AveragePool2D](op, graph, profile)
    zero = quantization(graph, op.inputs[0])[1]

    def compute(memory: Memory, x: np.ndarray) -> np.ndarray:
        rounded = np.rint(inner(memory, x) + np.float32(zero))
        return np.clip(rounded, -128, 127) - np.float32(zero)

    return compute


#: Operators whose rule is not that of the integer kernels elsewhere.
COMPILE: dict[type[ops.Op], Callable[..., Compute]] = {
    **onnxruntime.COMPILE,
    ops.Add: add,
    ops.Sub: add,
    ops.AveragePool2D: average_pool,
}
