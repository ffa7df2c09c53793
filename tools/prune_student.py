"""What bench_prune.py trains: MobileNetV2 of transformers, and Fashion-MNIST with a black border of two pixels, 32×32.

A module of its own, so that a recipe can name it: with this folder on the Python path, as it is while the tool runs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from edgekd.data.dataset import Dataset, Split
from edgekd.data.fashion_mnist import load


class MobileNet(nn.Module):
    """What transformers builds from a configuration, without its wrapping of the answer."""

    def __init__(self, channels: int, classes: int, size: int, width: float) -> None:
        from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

        super().__init__()
        config = MobileNetV2Config(depth_multiplier=width, image_size=size, num_channels=channels)
        config.num_labels = classes
        self.inner = MobileNetV2ForImageClassification(config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(pixel_values=x).logits


def mobilenet(*, channels: int, classes: int, height: int, width_multiplier: float = 1.0) -> nn.Module:
    """The untrained student: images [n, channels, height, height] → logits [n, classes]."""
    return MobileNet(channels, classes, height, width_multiplier)


def padded(*, train: int = 0, test: int = 0, validation: int = 5000) -> Dataset:
    """Fashion-MNIST as 32×32; only the first ``train`` and ``test`` images of these splits where they are not 0."""
    data = load(validation=validation)
    return replace(data, train=_padded(data.train, train), validation=_padded(data.validation, test), test=_padded(data.test, test))


def _padded(split: Split, first: int) -> Split:
    x = np.pad(split.x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    return Split(x[: first or None], split.y[: first or None])
