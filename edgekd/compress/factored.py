"""One layer as a product of two of lower rank."""

from __future__ import annotations

import torch
from torch import nn

#: What is asked of a layer by code that stands around it, such as the padding of a convolution.
_SAID = ("in_features", "out_features", "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")


class Factored(nn.Sequential):
    """Two layers in place of one, which go on saying of themselves what that one said."""


def pointwise(layer: nn.Module) -> bool:
    """Whether ``layer`` is a convolution of single pixels over all channels: a linear layer at each place."""
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1 and layer.padding in ((0, 0), 0, "valid")


def factored(layer: nn.Linear | nn.Conv2d, rank: int) -> Factored:
    """``layer`` [out, in] as ``rank`` inner channels: the best approximation of its weight in the Frobenius norm (Eckart and Young 1936),
    both factors of one norm, so that neither needs another step size or learning rate.
    """
    weight = layer.weight.detach().flatten(1)
    u, s, v = torch.linalg.svd(weight, full_matrices=False)
    root = s[:rank].sqrt()
    inner, outer = root[:, None] * v[:rank], u[:, :rank] * root
    bias: torch.Tensor | None = layer.bias
    biased = bias is not None
    first: nn.Linear | nn.Conv2d
    if isinstance(layer, nn.Linear):
        first, second = nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias=biased)
    else:  # the stride goes first: fewer places are multiplied
        stride = (layer.stride[0], layer.stride[1])
        first = nn.Conv2d(layer.in_channels, rank, 1, stride, bias=False)
        second = nn.Conv2d(rank, layer.out_channels, 1, bias=biased)
    with torch.no_grad():
        first.weight.copy_(inner.reshape(first.weight.shape))
        second.weight.copy_(outer.reshape(second.weight.shape))
        if bias is not None and second.bias is not None:
            second.bias.copy_(bias)
    made = Factored(first, second)
    for name in _SAID:
        if hasattr(layer, name):
            setattr(made, name, getattr(layer, name))
    return made.train(layer.training)
