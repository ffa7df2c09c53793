"""Convolution, batch norm and rectifier, padded as TFLite's SAME pads, so that an export needs no Pad of its own."""

from __future__ import annotations

from torch import nn

from edgekd.students.sketch import Size, same_padding

#: Stated here and folded with the batch norm, so that no runtime's default matters.
EPS = 1e-5


def unit(
    before: int, after: int, size: Size, *, kernel: Size = (1, 1), stride: Size = (1, 1), groups: int = 1, rectified: bool = True
) -> tuple[nn.Sequential, Size]:
    """From ``before`` to ``after`` channels on maps of ``size``: the layers, and the height and width of what comes out."""
    layers: list[nn.Module] = []
    top, bottom, left, right = same_padding(size, kernel, stride)
    symmetric = top == bottom and left == right
    if not symmetric:
        layers.append(nn.ZeroPad2d((left, right, top, bottom)))
    layers += [
        nn.Conv2d(before, after, kernel, stride, padding=(top, left) if symmetric else 0, groups=groups, bias=False),
        nn.BatchNorm2d(after, eps=EPS),
    ]
    if rectified:
        layers.append(nn.ReLU())
    return nn.Sequential(*layers), (-(-size[0] // stride[0]), -(-size[1] // stride[1]))


def initialize(net: nn.Module) -> None:
    """Normal weights of variance 2/fan_out (He et al. 2015); small for the classifier, whose inputs are means."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1] // module.groups
            nn.init.normal_(module.weight, 0.0, (2.0 / fan_out) ** 0.5)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            nn.init.zeros_(module.bias)
