"""What a teacher costs: the multiply-accumulates of one image."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def cost(teacher: nn.Module, shape: tuple[int, int, int]) -> int | None:
    """MACs (convolutions and matrix products) for one image of ``shape`` (height, width, channels).

    None for what another library computes, of which torch sees nothing.
    """
    height, width, channels = shape
    teacher.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        teacher(torch.zeros(1, channels, height, width))
    return counter.get_total_flops() // 2 or None
