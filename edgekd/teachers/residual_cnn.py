"""A plain residual CNN, good enough to teach from and small enough to keep in a repository (He et al. 2015; Page 2018)."""

from __future__ import annotations

import torch
from torch import nn


def residual_cnn(*, channels: int, classes: int, width: int = 64) -> nn.Module:
    """Logits [N, classes] of images [N, channels, H, W]: three stages of width, 2·width and 4·width, any H and W ≥ 8."""
    return nn.Sequential(
        _conv(channels, width),
        _conv(width, width),
        nn.MaxPool2d(2),
        _conv(width, 2 * width),
        _Residual(2 * width),
        nn.MaxPool2d(2),
        _conv(2 * width, 4 * width),
        _Residual(4 * width),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(4 * width, classes),
    )


def _conv(into: int, out: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(into, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(width, width), _conv(width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)
