"""Layers as calls of CMSIS-NN 4.0 alone, one after the other, as who writes them by hand would: what the own kernels are compared with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekd.export.c_base import Array, Call, Field, Kernel, Kernels

HELIUM = "cortex-m55"


def as_tflite(call: Call) -> Mapping[str, Field]:
    """Weights and bias as the file has them; ``multiplier`` int32 [multipliers, shifts]."""
    scales = [field.values.astype(np.int32) for field in (call.fields["multiplier"], call.fields["shift"]) if isinstance(field, Array)]
    return {**{name: Array(values) for name, values in call.raw.items()}, "multiplier": Array(np.concatenate(scales)), "shift": None}


def conv_bytes(call: Call, core: str) -> int:
    """arm_convolve_wrapper_s8_get_buffer_size."""
    size = call.number("k_h") * call.number("k_w") * call.number("in_c")
    names = ("k_h", "k_w", "pad_top", "pad_left", "dilation_h", "dilation_w")
    if tuple(call.number(name) for name in names) == (1, 1, 0, 0, 1, 1):
        return 0
    return 4 * -(-size // 8) * 8 if core == HELIUM else 4 * size


def depthwise_bytes(call: Call, core: str) -> int:
    """arm_depthwise_conv_wrapper_s8_get_buffer_size."""
    if call.number("multiplier_or_groups") != 1 or (call.number("dilation_h"), call.number("dilation_w")) != (1, 1):
        return 0
    taps = call.number("k_h") * call.number("k_w")
    if core == HELIUM:
        return 4 * 124 * taps + 4
    return 2 * call.number("in_c") * taps if core not in ("cortex-m0", "cortex-m3") else 0


def pool_bytes(call: Call, core: str) -> int:
    return 4 * call.number("channels") if core not in ("cortex-m0", "cortex-m3", HELIUM) else 0


def _windows_inside(call: Call, core: str | None) -> bool:
    """Whether the first and the last window reach the input, as TFLite's always do: CMSIS-NN's faster functions take it for granted."""
    for axis, pad in (("h", "pad_top"), ("w", "pad_left")):
        size, out, taps, stride, dilation = (call.number(f"{name}_{axis}") for name in ("in", "out", "k", "stride", "dilation"))
        before = call.number(pad)
        if before > (taps - 1) * dilation or (out - 1) * stride - before >= size:
            return False
    return True


def _ungrouped(call: Call, core: str | None) -> bool:
    return call.fields["multiplier_or_groups"] == 1 and _windows_inside(call, core)


def _one_scale(call: Call, core: str | None) -> bool:
    return all(isinstance(f := call.fields[name], Array) and len(np.unique(f.values)) == 1 for name in ("multiplier", "shift"))


CMSIS_NN: Kernels = {
    "conv_s8": (Kernel("ek_conv_nn_s8", "cmsis/conv_s8.c", as_tflite, conv_bytes, _ungrouped),),
    "depthwise_s8": (Kernel("ek_depthwise_nn_s8", "cmsis/depthwise_s8.c", as_tflite, depthwise_bytes, _windows_inside),),
    "fully_connected_s8": (
        Kernel("ek_fully_connected_nn_s8", "cmsis/fully_connected_s8.c", as_tflite, when=_one_scale),
        Kernel("ek_conv_nn_s8", "cmsis/conv_s8.c", as_tflite, conv_bytes),
    ),
    "average_pool_s8": (Kernel("ek_average_pool_nn_s8", "cmsis/average_pool_s8.c", scratch=pool_bytes),),
}
