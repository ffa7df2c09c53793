"""Layers with weights on Cortex-M: kernels for the DSP extension and for Helium, how they want their weights, and their scratch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekd.export.c_base import Array, Call, Field, Kernel, Kernels
from edgekd.export.c_weighted import folded_bias

#: Cores with the DSP extension (the M55 has it as well).
DSP = ("cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")
#: Weights are read in words, the last of which may end this many bytes behind the array's last weight.
SPARE = 3


def dense(call: Call) -> Mapping[str, Field]:
    """Weights as TFLite has them, [out, kh, kw, in / groups], and SPARE bytes; the bias holds what in_zero adds."""
    weights = call.raw["weights"]
    sums = weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64)
    return {"weights": Array(np.concatenate([weights.ravel(), np.zeros(SPARE, np.int8)])), **folded_bias(call, sums)}


def tile_bytes(call: Call, core: str) -> int:
    """Four places of a convolution's input in 16 bits, and beside them either a row of in_zero or the four columns in 8 bits."""
    depth = call.number("depth")
    words = -(-call.number("k_h") * call.number("k_w") * depth // 4)
    return 32 * words + (16 * words if depth % 4 else depth)


def has_dsp(call: Call, core: str | None) -> bool:
    return core in DSP


CMSIS: Kernels = {
    "conv_s8": (Kernel("ek_conv_dsp_s8", "dsp/conv_s8.c", dense, tile_bytes, has_dsp),),
}
