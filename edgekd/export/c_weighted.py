"""Layers with weights as calls of C kernels, and how the portable kernels want their weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edgekd.errors import InputError
from edgekd.export.c_base import Array, Build, Call, Field, Kernel, Kernels, bounds_of, lacks, multipliers
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference.profiles import quantization
from edgekd.quant.reference.transpose_conv import output_size

#: Weights of this many channels lie side by side, as the portable kernels read them.
BLOCK = 4


def convolution(op: ops.Conv2D, graph: QuantGraph) -> list[Call]:
    """A convolution; one whose groups hold a channel each, in and out, is a depthwise one."""
    x, weights = graph.tensor(op.inputs[0]), _weights(op, graph)
    if op.groups == x.shape[3] == len(weights) and graph.tensor(op.inputs[1]).dtype == "int8":
        return [_call(op, graph, "depthwise", {**_window(op, graph, weights.shape[1:3], 1), "depth": 1}, _taps(weights))]
    return [_call(op, graph, "conv", _window(op, graph, weights.shape[1:3], op.groups), weights)]


def depthwise(op: ops.DepthwiseConv2D, graph: QuantGraph) -> list[Call]:
    """A depthwise convolution; one with several outputs a channel, or 4-bit weights, is a convolution in as many groups as channels."""
    weights = _weights(op, graph)[0]
    if op.multiplier == 1 and graph.tensor(op.inputs[1]).dtype == "int8":
        return [_call(op, graph, "depthwise", {**_window(op, graph, weights.shape[:2], 1), "depth": 1}, weights)]
    channels = graph.tensor(op.inputs[0]).shape[3]
    return [_call(op, graph, "conv", _window(op, graph, weights.shape[:2], channels), weights.transpose(2, 0, 1)[..., None])]


def transpose_conv(op: ops.TransposeConv2D, graph: QuantGraph) -> list[Call]:
    weights = _weights(op, graph)
    if output_size(op, graph) != graph.tensor(op.outputs[0]).shape[1:3]:
        raise InputError(
            f"output size {graph.tensor(op.outputs[0]).shape[1:3]}", where=f"operator {op.name}", expected=f"{output_size(op, graph)}"
        )
    window = _window(op, graph, weights.shape[1:3], 1)
    return [_call(op, graph, "transpose_conv", window, weights)]


def fully_connected(op: ops.FullyConnected, graph: QuantGraph) -> list[Call]:
    """As a convolution of one tap over rows, one above another."""
    weights = _weights(op, graph)
    rows, depth = math.prod(graph.tensor(op.inputs[0]).shape[:-1]), weights.shape[1]
    window = {
        "in_h": rows, "in_w": 1, "in_c": depth, "out_h": rows, "out_w": 1, "out_c": len(weights), "k_h": 1, "k_w": 1, "stride_h": 1,
        "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "pad_top": 0, "pad_left": 0, "multiplier_or_groups": 1, "depth": depth,
    }  # fmt: skip
    return [_call(op, graph, "fully_connected", window, weights)]


def _taps(weights: np.ndarray) -> np.ndarray:
    """[out, kh, kw, 1] → [kh, kw, out]."""
    return np.ascontiguousarray(weights[..., 0].transpose(1, 2, 0))


def _weights(op: ops.Op, graph: QuantGraph) -> np.ndarray:
    weight = graph.tensor(op.inputs[1])
    if weight.data is None or weight.dtype not in ("int4", "int8"):
        raise lacks(op, graph, f"with {weight.dtype if weight.data is not None else 'computed'} weights")
    if weight.quantization is None or weight.quantization.zero_point.any():
        raise InputError(f"quantization of weight {weight.name!r}", where=f"operator {op.name}", expected="scales, and zero point 0")
    return weight.data


def _window(
    op: ops.Conv2D | ops.DepthwiseConv2D | ops.TransposeConv2D, graph: QuantGraph, kernel: tuple[int, ...], groups: int
) -> dict[str, int]:
    x, y = graph.tensor(op.inputs[0]).shape, graph.tensor(op.outputs[0]).shape
    dilation = (1, 1) if isinstance(op, ops.TransposeConv2D) else op.dilation
    return {
        "in_h": x[1], "in_w": x[2], "in_c": x[3], "out_h": y[1], "out_w": y[2], "out_c": y[3], "k_h": kernel[0], "k_w": kernel[1],
        "stride_h": op.stride[0], "stride_w": op.stride[1], "dilation_h": dilation[0], "dilation_w": dilation[1],
        "pad_top": op.padding[0], "pad_left": op.padding[2], "multiplier_or_groups": groups, "depth": x[3] // groups,
    }  # fmt: skip


def _call(op: ops.Op, graph: QuantGraph, kind: str, window: Mapping[str, int], weights: np.ndarray) -> Call:
    x, weight, y = (graph.tensor(name) for name in (*op.inputs[:2], *op.outputs))
    where = f"graph {graph.name}, operator {op.name}"
    if (x.dtype, y.dtype) not in (("int8", "int8"), ("int16", "int16")) or (x.dtype == "int16" and weight.dtype != "int8"):
        raise lacks(op, graph, f"from {x.dtype} to {y.dtype} with {weight.dtype} weights")
    (s_in, z_in), (s_out, z_out) = quantization(graph, x.name), quantization(graph, y.name)
    assert weight.quantization is not None
    channels = window["out_c"]
    real = s_in * np.broadcast_to(weight.quantization.scale, channels).astype(np.float64) / s_out
    if x.dtype == "int16" and real.max() >= 1 << 7:
        raise InputError(f"multiplier {real.max():.4g}", where=where, expected="below 128, as TFLite wants it")
    if x.dtype == "int16" and (z_in or z_out):
        raise InputError(f"zero points {z_in} and {z_out} of int16", where=where, expected="0, as TFLite has it")
    sizes = [window[name] for name in ("in_w", "out_w", "out_c", "k_h", "k_w")]
    if max(sizes) > 0xFFFF or max(window[name] for name in ("stride_h", "stride_w", "dilation_h", "dilation_w")) > 0xFF:
        raise lacks(op, graph, "of more than 65535 columns, channels or taps, or with strides or dilations above 255")
    if max(window["pad_top"], window["pad_left"]) > 0x7FFF:
        raise lacks(op, graph, f"with padding ({window['pad_top']}, {window['pad_left']})")
    multiplier, shift = multipliers(real, where)
    low, high = bounds_of(op, graph)
    fields: dict[str, Field] = {
        "multiplier": Array(multiplier), "shift": Array(shift), "in_zero": z_in, "out_zero": z_out, "low": low, "high": high, **window,
    }  # fmt: skip
    raw = {"weights": weights}
    if len(op.inputs) > 2:
        bias = graph.tensor(op.inputs[2]).data
        if bias is None or bias.shape != (channels,):
            raise InputError(f"bias {op.inputs[2]!r}", where=where, expected=f"a constant of {channels} values")
        raw["bias64" if x.dtype == "int16" else "bias"] = bias.astype("int64" if x.dtype == "int16" else "int32")
    suffix = "s16" if x.dtype == "int16" else "s4" if weight.dtype == "int4" else "s8"
    return Call(f"{kind}_{suffix}", "ek_conv", fields, (x.name,), y.name, raw)


def folded_bias(call: Call, sums: np.ndarray) -> dict[str, Field]:
    """The bias less in_zero times the ``sums`` of each channel's weights, as 32-bit registers hold it; none where all are 0."""
    bias = call.raw.get("bias", np.int32(0)) - np.int64(call.number("in_zero")) * sums.astype(np.int64)
    wrapped = ((bias + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)
    return {"bias": Array(wrapped.astype(np.int32)) if wrapped.any() else None}


def blocked(weights: np.ndarray, groups: int = 1) -> np.ndarray:
    """[out, …] → of each group blocks of BLOCK channels […][BLOCK], then one channel after the other."""
    return np.concatenate([values for values, _ in _blocks(weights, groups)])


def packed_nibbles(weights: np.ndarray, groups: int = 1) -> np.ndarray:
    """As ``blocked``, two weights a byte, the first in the low half; a block and a channel start at a byte."""
    parts: list[np.ndarray] = []
    for values, channels in _blocks(weights, groups):
        for row in values.reshape(channels, -1):
            halves = np.append(row, np.zeros(row.size % 2, np.int8)).astype(np.uint8) & 15
            parts.append(halves[::2] | halves[1::2] << 4)
    return np.concatenate(parts).view(np.int8)


def _blocks(weights: np.ndarray, groups: int) -> list[tuple[np.ndarray, int]]:
    """Blocks in the order in which kernels read them, each flat, and into how many pieces it falls: the channels after the last whole
    block are one each."""
    parts: list[tuple[np.ndarray, int]] = []
    for group in np.split(weights.reshape(len(weights), -1), groups):
        whole = len(group) // BLOCK * BLOCK
        parts += [(group[at : at + BLOCK].T.ravel(), 1) for at in range(0, whole, BLOCK)]
        parts += [(group[whole:].ravel(), len(group) - whole)] if whole < len(group) else []
    return parts


def _sums(weights: np.ndarray) -> np.ndarray:
    return weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64)


def pack_conv(call: Call) -> Mapping[str, Field]:
    weights, groups = call.raw["weights"], call.number("multiplier_or_groups")
    return {"weights": Array(blocked(weights, groups)), **folded_bias(call, _sums(weights))}


def pack_conv_s4(call: Call) -> Mapping[str, Field]:
    weights, groups = call.raw["weights"], call.number("multiplier_or_groups")
    return {"weights": Array(packed_nibbles(weights, groups)), **folded_bias(call, _sums(weights))}


def pack_unfolded(call: Call) -> Mapping[str, Field]:
    """Weights in blocks, the bias as it is: where zero points are 0, or leave by the activations."""
    others = {name: Array(values) for name, values in call.raw.items() if name != "weights"}
    return {"weights": Array(blocked(call.raw["weights"], call.number("multiplier_or_groups"))), **others}


def pack_depthwise(call: Call) -> Mapping[str, Field]:
    taps = call.raw["weights"].reshape(-1, call.number("out_c"))
    return {"weights": Array(blocked(taps.T)), **folded_bias(call, taps.sum(axis=0, dtype=np.int64))}


def is_pointwise(call: Call, core: str | None = None) -> bool:
    """One tap, no stride, padding or groups: rows of channels times a matrix."""
    f = call.fields
    return (f["k_h"], f["k_w"], f["stride_h"], f["stride_w"], f["pad_top"], f["pad_left"], f["multiplier_or_groups"]) == (
        1,
        1,
        1,
        1,
        0,
        0,
        1,
    ) and ((f["in_h"], f["in_w"]) == (f["out_h"], f["out_w"]))


PORTABLE: Kernels = {
    "conv_s8": (
        Kernel("ek_rows_s8", "portable/rows_s8.c", pack_conv, when=is_pointwise),
        Kernel("ek_conv_s8", "portable/conv_s8.c", pack_conv),
    ),
    "conv_s16": (
        Kernel("ek_rows_s16", "portable/rows_s16.c", pack_unfolded, when=is_pointwise),
        Kernel("ek_conv_s16", "portable/conv_s16.c", pack_unfolded),
    ),
    "conv_s4": (
        Kernel("ek_rows_s4", "portable/rows_s4.c", pack_conv_s4, when=is_pointwise),
        Kernel("ek_conv_s4", "portable/conv_s4.c", pack_conv_s4),
    ),
    "depthwise_s8": (Kernel("ek_depthwise_s8", "portable/depthwise_s8.c", pack_depthwise),),
    "depthwise_s16": (Kernel("ek_depthwise_s16", "portable/depthwise_s16.c"),),
    "fully_connected_s8": (Kernel("ek_rows_s8", "portable/rows_s8.c", pack_conv),),
    "fully_connected_s16": (Kernel("ek_rows_s16", "portable/rows_s16.c", pack_unfolded),),
    "fully_connected_s4": (Kernel("ek_rows_s4", "portable/rows_s4.c", pack_conv_s4),),
    "transpose_conv_s8": (Kernel("ek_transpose_conv_s8", "portable/transpose_conv_s8.c", pack_unfolded),),
    "transpose_conv_s16": (Kernel("ek_transpose_conv_s16", "portable/transpose_conv_s16.c", pack_unfolded),),
}
BUILD: dict[type[ops.Op], Build] = {
    ops.Conv2D: convolution,
    ops.DepthwiseConv2D: depthwise,
    ops.TransposeConv2D: transpose_conv,
    ops.FullyConnected: fully_connected,
}
