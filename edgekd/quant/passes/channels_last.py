"""Channels first to channels last."""

from __future__ import annotations

from edgekd.quant.graph import QuantGraph
from edgekd.quant.passes.layout_rules import convert


def channels_last(graph: QuantGraph) -> QuantGraph:
    """
    Given   channels first: [N, C, H, W], Conv2D [out, in, kh, kw], DepthwiseConv2D [out, 1, kh, kw], TransposeConv2D [in, out, kh, kw]
    Result  channels last:  [N, H, W, C], Conv2D [out, kh, kw, in], DepthwiseConv2D [1, kh, kw, out], TransposeConv2D [out, kh, kw, in]

    Inputs and outputs of four axes are images. A Transpose stays only where values must move (``layout.py``); a graph that is channels last
    already is returned as it is.
    """
    return convert(graph, "channels_last")
