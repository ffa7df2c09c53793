"""The module of an inverted-residual spec. Convolutions pad as TFLite's SAME does, so that an export needs no Pad of its own."""

from __future__ import annotations

import torch
from torch import nn

from edgekd.students.inverted_residual import KERNEL, Block, Spec, blocks
from edgekd.students.unit import EPS, initialize, unit

SQUARE = (KERNEL, KERNEL)


class InvertedResidualNet(nn.Module):
    """Image [N, channels, height, width] of (p − 128)/128 → logits [N, classes]."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.stem, size = unit(
            spec.channels, spec.stem, (spec.height, spec.width), kernel=SQUARE, stride=(spec.stem_stride, spec.stem_stride)
        )
        layers: list[nn.Module] = []
        for block in blocks(spec):
            layer = InvertedResidual(block, size)
            size = layer.size
            layers.append(layer)
        self.blocks = nn.Sequential(*layers)
        last = spec.widths[-1]
        self.head = nn.Identity()
        if spec.head:
            self.head, _ = unit(last, spec.head, size)
            last = spec.head
        self.classifier = nn.Linear(last, spec.classes)
        initialize(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(self.blocks(self.stem(x)))
        return self.classifier(x.mean((2, 3)))


class InvertedResidual(nn.Module):
    """Expand, filter, project without a rectifier; added to its input where neither size nor width changes.

    ``size`` is the height and width of the output.
    """

    def __init__(self, block: Block, size: tuple[int, int]) -> None:
        super().__init__()
        self.residual, stride = block.residual, (block.stride, block.stride)
        layers: list[nn.Module] = []
        if block.fused and block.inner == block.before:
            layer, size = unit(block.before, block.after, size, kernel=SQUARE, stride=stride)
            layers.append(layer)
        else:
            if block.fused:
                layer, size = unit(block.before, block.inner, size, kernel=SQUARE, stride=stride)
                layers.append(layer)
            else:
                if block.inner != block.before:
                    layers.append(unit(block.before, block.inner, size)[0])
                square = (block.kernel, block.kernel)
                layer, size = unit(block.inner, block.inner, size, kernel=square, stride=stride, groups=block.inner)
                layers.append(layer)
            layers += [nn.Conv2d(block.inner, block.after, 1, bias=False), nn.BatchNorm2d(block.after, eps=EPS)]
        self.layers = nn.Sequential(*layers)
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)
