"""The moving average of a student's weights, which is smoother than the weights themselves and often answers better."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """``average.model`` has the exponential moving average of everything that ``model`` learns (Polyak and Juditsky 1992; its use with a
    decay: Tarvainen and Valpola 2017, Mean teachers): of weights, the statistics of batch norms, and under quantization the log2 steps.

    The decay begins low, (1 + step) / (10 + step), so that the random beginning is soon forgotten. Integers are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = copy.deepcopy(model).requires_grad_(False), decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after ``step`` (from 0) of the training."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for mean, new in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(new, 1 - keep)
            else:
                mean.copy_(new)
