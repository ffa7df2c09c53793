"""The module of a DS-CNN spec."""

from __future__ import annotations

import torch
from torch import nn

from edgekd.students.ds_cnn import KERNEL, Spec
from edgekd.students.unit import initialize, unit


class DsCnnNet(nn.Module):
    """Features [N, planes, height, width] of (p − 128)/128 → logits [N, classes]."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        c = spec.channels
        self.stem, size = unit(spec.planes, c, (spec.height, spec.width), kernel=spec.stem_kernel, stride=spec.stem_stride)
        layers: list[nn.Module] = []
        for n in range(spec.blocks):
            depthwise, size = unit(c, c, size, kernel=KERNEL, stride=spec.block_stride if n == 0 else (1, 1), groups=c)
            pointwise, size = unit(c, c, size)
            layers.append(nn.Sequential(depthwise, pointwise))
        self.blocks = nn.Sequential(*layers)
        self.classifier = nn.Linear(c, spec.classes)
        initialize(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.blocks(self.stem(x)).mean((2, 3)))
