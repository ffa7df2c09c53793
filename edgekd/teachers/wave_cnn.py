"""A convolutional network that hears raw sound (Dai et al. 2017, Very deep convolutional neural networks for raw waveforms: their M5)."""

from __future__ import annotations

import torch
from torch import nn

#: Samples that the first convolution spans, and its stride: 10 ms and 0.5 ms at 8 kHz.
FIRST, STRIDE = 80, 4


def wave_cnn(*, classes: int, width: int = 64) -> nn.Module:
    """Logits [N, classes] of sound [N, samples], as a Reader feeds it, of any length: four convolutions of width to 4·width channels."""
    return nn.Sequential(
        _Channel(),
        *_stage(1, width, FIRST, STRIDE),
        nn.MaxPool1d(4, ceil_mode=True),
        *_stage(width, width, 3),
        nn.MaxPool1d(4, ceil_mode=True),
        *_stage(width, 2 * width, 3),
        nn.MaxPool1d(4, ceil_mode=True),
        *_stage(2 * width, 4 * width, 3),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(4 * width, classes),
    )


def _stage(before: int, after: int, kernel: int, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv1d(before, after, kernel, stride, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm1d(after), nn.ReLU(inplace=True)


class _Channel(nn.Module):
    """[N, samples] → [N, 1, samples]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, None]
