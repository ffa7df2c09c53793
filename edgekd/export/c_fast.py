"""Layers with weights on Cortex-M: kernels for the DSP extension and for Helium, how they want their weights, and their scratch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekd.export.c_base import Array, Call, Field, Kernel, Kernels
from edgekd.export.c_weighted import folded_bias, is_pointwise

#: Cores with the DSP extension, and with Helium. Compiled for others, the kernels for the DSP extension are plain C.
DSP = ("cortex-m4", "cortex-m7", "cortex-m33")
HELIUM = "cortex-m55"
#: Weights that one step of the DSP kernels reads: rows are filled up to a multiple of it.
ROW = 8
#: Bytes that the planes of a depthwise convolution may take, unless three lines take more.
PLANES = 2048


def records(call: Call, sums: np.ndarray) -> Mapping[str, Field]:
    """``multiplier`` as the records of dsp/simd.c, int32 [out][bias, 2 m mod 2^32, s - 1]; ``sums`` of each channel's weights."""
    multiplier, shift = (_array(call, name).astype(np.int64) for name in ("multiplier", "shift"))
    folded = folded_bias(call, sums)["bias"]
    bias = folded.values.astype(np.int64) if isinstance(folded, Array) else np.zeros(len(multiplier), np.int64)
    # A multiplier of 0 takes the way of the rare ones, whatever its shift.
    columns = (bias, multiplier * 2, np.where(multiplier >= 1 << 30, -1 - shift, -1))
    wrapped = (np.stack(columns, axis=1) + (1 << 31) & 0xFFFFFFFF) - (1 << 31)
    return {"bias": None, "shift": None, "multiplier": Array(wrapped.astype(np.int32))}


def _array(call: Call, name: str) -> np.ndarray:
    value = call.fields[name]
    assert isinstance(value, Array), name
    return value.values


def padded_rows(call: Call) -> Mapping[str, Field]:
    """Weights [out][kh · kw · in / groups, zeros up to a multiple of ROW], and records."""
    rows = call.raw["weights"].reshape(call.number("out_c"), -1)
    filled = np.pad(rows, ((0, 0), (0, -rows.shape[1] % ROW)))
    return {"weights": Array(filled), **records(call, rows.sum(axis=1, dtype=np.int64))}


def tile_bytes(call: Call, core: str) -> int:
    """Four places of a convolution's input in 16 bits, and beside them either a row of in_zero or the four columns in 8 bits."""
    depth = call.number("depth")
    size = call.number("k_h") * call.number("k_w") * depth
    return 64 * -(-size // ROW) + (16 * -(-size // 4) if depth % 4 else depth)


def taps_of_three(call: Call) -> Mapping[str, Field]:
    """Depthwise weights [out][3][3 and a zero], and records."""
    taps = call.raw["weights"]
    filled = np.pad(taps.transpose(2, 0, 1), ((0, 0), (0, 0), (0, 1)))
    return {"weights": Array(filled), **records(call, taps.sum(axis=(0, 1), dtype=np.int64))}


def plane_bytes(call: Call, core: str) -> int:
    """The planes of four channels, as ek_lines_of in dsp/depthwise3_s8.c has them."""
    out_h, out_w, stride_h, stride_w = (call.number(name) for name in ("out_h", "out_w", "stride_h", "stride_w"))
    turned = out_w * -(-out_h // 4) < out_h * -(-out_w // 4)
    outputs, lines, stride, line_stride = (out_h, out_w, stride_h, stride_w) if turned else (out_w, out_h, stride_w, stride_h)
    words = -(-outputs // 4) * 2 * stride + 1
    band = min(max((PLANES // (16 * words) - 3) // line_stride + 1, 1), lines)
    return 16 * words * ((band - 1) * line_stride + 3)


def is_three_by_three(call: Call, core: str | None) -> bool:
    f = call.fields
    taps = (f["k_h"], f["k_w"], f["dilation_h"], f["dilation_w"], f["multiplier_or_groups"]) == (3, 3, 1, 1, 1)
    return has_dsp(call, core) and taps and call.number("out_c") >= 4 and {f["stride_h"], f["stride_w"]} <= {1, 2}


def has_dsp(call: Call, core: str | None) -> bool:
    return core in DSP


def has_dsp_and_rows(call: Call, core: str | None) -> bool:
    """Rows enough for a tile of four."""
    return has_dsp(call, core) and call.number("in_h") * call.number("in_w") > 2


def has_dsp_and_four(call: Call, core: str | None) -> bool:
    return has_dsp(call, core) and call.number("out_c") >= 4


def has_helium(call: Call, core: str | None) -> bool:
    return core == HELIUM


def as_rows(call: Call) -> Mapping[str, Field]:
    """Weights as TFLite has them, [out, …]; the bias holds what in_zero adds."""
    weights = call.raw["weights"]
    return {"weights": Array(weights), **folded_bias(call, weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64))}


def as_rows_and_records(call: Call) -> Mapping[str, Field]:
    """Weights as TFLite has them, [out, …]; ``multiplier`` int32 [out][bias, multiplier, shift]."""
    weights = call.raw["weights"]
    columns = _columns(call, weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64))
    return {"weights": Array(weights), "bias": None, "shift": None, "multiplier": Array(columns.T)}


def blocks_of_eight(call: Call) -> Mapping[str, Field]:
    """Depthwise weights [block][kh · kw][8] and ``multiplier`` int32 [block][bias, multiplier, shift][even channels, odd ones]; the last
    block holds the last eight channels, whatever their number."""
    weights = call.raw["weights"].reshape(-1, call.number("out_c"))
    channels = weights.shape[1]
    starts = np.minimum(np.arange(0, channels, 8), channels - 8)
    blocks = starts[:, None] + np.arange(8)
    columns = _columns(call, weights.sum(axis=0, dtype=np.int64))[:, blocks]
    halves = columns.reshape(3, len(starts), 4, 2).transpose(1, 0, 3, 2)
    return {"weights": Array(weights[:, blocks].transpose(1, 0, 2)), "bias": None, "shift": None, "multiplier": Array(halves)}


def _columns(call: Call, sums: np.ndarray) -> np.ndarray:
    """int32 [bias, multiplier, shift][out]. A multiplier of 0 gives 0 by whatever shift: to the right, as the fast way has it."""
    folded = folded_bias(call, sums)["bias"]
    multiplier, shift = _array(call, "multiplier"), _array(call, "shift")
    bias = folded.values if isinstance(folded, Array) else np.zeros(len(multiplier), np.int32)
    return np.stack([bias, multiplier, np.where(multiplier == 0, -1, shift)]).astype(np.int32)


def column_bytes(call: Call, core: str) -> int:
    """Four columns of 8 bits, where the input cannot be read as it lies."""
    return 0 if is_pointwise(call) else 4 * call.number("k_h") * call.number("k_w") * call.number("depth")


def pointer_bytes(call: Call, core: str) -> int:
    """A pointer for every tap, up to a multiple of four, and a row of in_zero."""
    return 16 * -(-call.number("k_h") * call.number("k_w") // 4) + call.number("in_c")


def has_helium_and_eight(call: Call, core: str | None) -> bool:
    return has_helium(call, core) and call.fields["multiplier_or_groups"] == 1 and call.number("out_c") >= 8


CMSIS: Kernels = {
    "conv_s8": (
        Kernel("ek_conv_mve_s8", "mve/conv_s8.c", as_rows_and_records, column_bytes, has_helium),
        Kernel("ek_conv_dsp_s8", "dsp/conv_s8.c", padded_rows, tile_bytes, has_dsp),
    ),
    "depthwise_s8": (
        Kernel("ek_depthwise_mve_s8", "mve/depthwise_s8.c", blocks_of_eight, pointer_bytes, has_helium_and_eight),
        Kernel("ek_depthwise3_dsp_s8", "dsp/depthwise3_s8.c", taps_of_three, plane_bytes, is_three_by_three),
    ),
    "fully_connected_s8": (
        Kernel("ek_row_mve_s8", "mve/row_s8.c", as_rows, when=has_helium),
        Kernel("ek_conv_dsp_s8", "dsp/conv_s8.c", padded_rows, tile_bytes, has_dsp_and_rows),
        Kernel("ek_row_dsp_s8", "dsp/row_s8.c", as_rows, when=has_dsp_and_four),
    ),
}
