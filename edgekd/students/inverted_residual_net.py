"""The module of an inverted-residual spec. Convolutions pad as TFLite's SAME does, so that an export needs no Pad of its own."""

from __future__ import annotations

import torch
from torch import nn

from edgekd.students.inverted_residual import KERNEL, Block, Spec, blocks, padding

#: Stated here and folded with the batch norm, so that no runtime's default matters.
EPS = 1e-5


class InvertedResidualNet(nn.Module):
    """Image [N, channels, height, width] of (p − 128)/128 → logits [N, classes]."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.stem, size = _unit(spec.channels, spec.stem, (spec.height, spec.width), kernel=KERNEL, stride=spec.stem_stride)
        layers: list[nn.Module] = []
        for block in blocks(spec):
            layer = InvertedResidual(block, size)
            size = layer.size
            layers.append(layer)
        self.blocks = nn.Sequential(*layers)
        last = spec.widths[-1]
        self.head = nn.Identity()
        if spec.head:
            self.head, _ = _unit(last, spec.head, size)
            last = spec.head
        self.classifier = nn.Linear(last, spec.classes)
        _initialize(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(self.blocks(self.stem(x)))
        return self.classifier(x.mean((2, 3)))


class InvertedResidual(nn.Module):
    """Expand, filter, project without a rectifier; added to its input where neither size nor width changes.

    ``size`` is the height and width of the output.
    """

    def __init__(self, block: Block, size: tuple[int, int]) -> None:
        super().__init__()
        self.residual = block.residual
        layers: list[nn.Module] = []
        if block.fused and block.inner == block.before:
            unit, size = _unit(block.before, block.after, size, kernel=KERNEL, stride=block.stride)
            layers.append(unit)
        else:
            if block.fused:
                unit, size = _unit(block.before, block.inner, size, kernel=KERNEL, stride=block.stride)
                layers.append(unit)
            else:
                if block.inner != block.before:
                    layers.append(_unit(block.before, block.inner, size)[0])
                unit, size = _unit(block.inner, block.inner, size, kernel=KERNEL, stride=block.stride, groups=block.inner)
                layers.append(unit)
            layers += [nn.Conv2d(block.inner, block.after, 1, bias=False), nn.BatchNorm2d(block.after, eps=EPS)]
        self.layers = nn.Sequential(*layers)
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


def _unit(
    before: int, after: int, size: tuple[int, int], *, kernel: int = 1, stride: int = 1, groups: int = 1
) -> tuple[nn.Sequential, tuple[int, int]]:
    """Convolution, batch norm, rectifier; and the height and width of what comes out."""
    layers: list[nn.Module] = []
    pads = (0, 0, 0, 0) if kernel == 1 else padding(*size, stride)
    top, bottom, left, right = pads
    symmetric = top == bottom and left == right
    if not symmetric:
        layers.append(nn.ZeroPad2d((left, right, top, bottom)))
    layers += [
        nn.Conv2d(before, after, kernel, stride, padding=(top, left) if symmetric else 0, groups=groups, bias=False),
        nn.BatchNorm2d(after, eps=EPS),
        nn.ReLU(),
    ]
    return nn.Sequential(*layers), (-(-size[0] // stride), -(-size[1] // stride))


def _initialize(net: nn.Module) -> None:
    """Normal weights of variance 2/fan_out (He et al. 2015); small for the classifier, whose inputs are means."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1] // module.groups
            nn.init.normal_(module.weight, 0.0, (2.0 / fan_out) ** 0.5)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            nn.init.zeros_(module.bias)
