"""Modules and the graphs that they are captured as: what they compute is compared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from edgekd.quant.capture import capture
from edgekd.quant.graph import QuantGraph
from edgekd.quant.passes.channels_last import channels_last
from edgekd.quant.reference import run

SHAPE = (4, 8, 8)


class Lambda(nn.Module):
    """``forward`` is the function given; parts that it uses are registered."""

    def __init__(self, function: Callable[..., torch.Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x, *self.parts)


class Tripled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.add(x, alpha=3)


def settled(model: nn.Module, shape: tuple[int, ...] = SHAPE) -> nn.Module:
    """With norms that have seen something, so that folding them is visible."""
    torch.manual_seed(1)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(part.weight, -2, 2) if part.affine else None
            nn.init.uniform_(part.bias, -1, 1) if part.affine else None
            if part.running_mean is not None and part.running_var is not None:
                part.running_mean.uniform_(-1, 1)
                part.running_var.uniform_(0.01, 2)
    return model.eval()


def kinds(graph: QuantGraph) -> list[str]:
    return [type(op).__name__ for op in graph.ops]


def same(model: nn.Module, shape: tuple[int, ...] = SHAPE) -> QuantGraph:
    """The captured graph, which computes in channels-last what torch computes."""
    settled(model)
    graph = channels_last(capture(model, shape))
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(x.clone()).numpy()
    found = run(graph, np.moveaxis(x.numpy(), 1, -1) if len(shape) == 3 else x.numpy(), "float")[graph.outputs[0]]
    if found.ndim == 4:
        found = np.moveaxis(found, -1, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    return graph
