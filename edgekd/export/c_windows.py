"""Pools as calls of C kernels."""

from __future__ import annotations

from edgekd.export.c_base import Build, Call, Field, Kernel, Kernels, bounds_of, suffix_of
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference.profiles import quantization


def average_pool(op: ops.AveragePool2D, graph: QuantGraph) -> list[Call]:
    return [Call(f"average_pool_{suffix_of(op, graph)}", "ek_pool", pool_fields(op, graph), op.inputs, op.outputs[0])]


def pool_fields(op: ops.AveragePool2D | ops.MaxPool2D, graph: QuantGraph) -> dict[str, Field]:
    x, y = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    low, high = bounds_of(op, graph)
    return {
        "in_zero": quantization(graph, x.name)[1], "out_zero": quantization(graph, y.name)[1], "low": low, "high": high,
        "in_h": x.shape[1], "in_w": x.shape[2], "out_h": y.shape[1], "out_w": y.shape[2], "channels": x.shape[3],
        "k_h": op.kernel[0], "k_w": op.kernel[1], "stride_h": op.stride[0], "stride_w": op.stride[1],
        "pad_top": op.padding[0], "pad_left": op.padding[2],
    }  # fmt: skip


PORTABLE: Kernels = {
    "average_pool_s8": (Kernel("ek_average_pool_s8", "portable/average_pool_s8.c"),),
}
BUILD: dict[type[ops.Op], Build] = {
    ops.AveragePool2D: average_pool,
}
