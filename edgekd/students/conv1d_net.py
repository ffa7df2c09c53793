"""The module of a conv1d spec."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from edgekd.students.conv1d import Block, Spec, blocks
from edgekd.students.sketch import Size
from edgekd.students.unit import initialize, unit


class Conv1dNet(nn.Module):
    """Features [N, planes, height, width] of (p − 128)/128, time downwards → logits [N, classes]."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        kernel, stride = (spec.stem_kernel, spec.width), (spec.stem_stride, spec.width)
        self.stem, size = unit(spec.planes, spec.stem, (spec.height, spec.width), kernel=kernel, stride=stride)
        layers: list[nn.Module] = []
        for block in blocks(spec):
            layer = TemporalBlock(block, spec, size)
            size = layer.size
            layers.append(layer)
        self.blocks = nn.Sequential(*layers)
        self.classifier = nn.Linear(spec.widths[-1], spec.classes)
        initialize(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.blocks(self.stem(x)).mean((2, 3)))


class TemporalBlock(nn.Module):
    """Two convolutions over time, added to their input or to a projection of it, and rectified.

    ``size`` is the height and width of the output.
    """

    def __init__(self, block: Block, spec: Spec, size: Size) -> None:
        super().__init__()
        first, after = _over_time(block.before, block.after, size, spec, stride=block.stride, rectified=True)
        second, self.size = _over_time(block.after, block.after, after, spec, stride=1, rectified=False)
        self.layers = nn.Sequential(first, second)
        self.shortcut: nn.Module = nn.Identity()
        if not block.straight:
            self.shortcut, _ = unit(block.before, block.after, size, stride=(block.stride, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.shortcut(x) + self.layers(x))


def _over_time(before: int, after: int, size: Size, spec: Spec, *, stride: int, rectified: bool) -> tuple[nn.Module, Size]:
    kernel, steps = (spec.kernel, 1), (stride, 1)
    if not spec.separable:
        return unit(before, after, size, kernel=kernel, stride=steps, rectified=rectified)
    depthwise, size = unit(before, before, size, kernel=kernel, stride=steps, groups=before)
    pointwise, size = unit(before, after, size, rectified=rectified)
    return nn.Sequential(depthwise, pointwise), size
