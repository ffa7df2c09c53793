"""Large layers become two of lower rank where that saves work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edgekd.compress.channels import module_macs
from edgekd.compress.factored import Factored, factored
from edgekd.compress.low_rank import large, low_rank
from edgekd.compress.shape import like
from edgekd.errors import InputError
from tests.compress.test_channels import same_everywhere
from tests.compress_nets import example, images, net


def test_a_layer_of_low_rank_is_kept_exactly() -> None:
    torch.manual_seed(0)
    linear, point = nn.Linear(64, 48), nn.Conv2d(32, 64, 1, stride=2, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(48, 6) @ torch.randn(6, 64))
        point.weight.copy_((torch.randn(64, 5) @ torch.randn(5, 32))[:, :, None, None])
    module = nn.Sequential(point, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear).eval()
    x = torch.randn(2, 32, 9, 9)
    made = low_rank(module, x, energy=0.999999)
    assert isinstance(made[0], Factored) and made[0][0].out_channels == 8 and made[0].stride == (2, 2)  # type: ignore[index]
    assert isinstance(made[4], Factored) and made[4][0].out_features == 8  # type: ignore[index]
    torch.testing.assert_close(made(x), module(x), rtol=1e-4, atol=1e-4)
    assert not any(isinstance(m, Factored) for m in module.modules()), "the original has changed"
    assert module_macs(made, x) == 25 * (32 + 64) * 8 + 8 * (64 + 48)


def test_the_best_approximation_of_a_rank() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(24, 16)
    made = factored(layer, 4)
    product = made[1].weight @ made[0].weight  # type: ignore[operator]
    s = torch.linalg.svdvals(layer.weight)
    torch.testing.assert_close((layer.weight - product).norm(), s[4:].norm(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made[0].weight.norm(), made[1].weight.norm())  # type: ignore[operator, union-attr]


def test_only_where_it_saves() -> None:
    module = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8)).eval()
    made = low_rank(module, torch.zeros(1, 64), rank=0.25)
    assert isinstance(made[0], Factored) and isinstance(made[2], nn.Linear)
    with pytest.raises(InputError, match=r"no layer takes fewer MACs at this rank"):
        low_rank(module, torch.zeros(1, 64), rank=0.6)
    with pytest.raises(InputError, match=r"energy and rank say the same in two ways"):
        low_rank(module, torch.zeros(1, 64), energy=0.5, rank=0.5)
    with pytest.raises(InputError, match=r"energy = 1\.5"):
        low_rank(module, torch.zeros(1, 64), energy=1.5)


class Reads(nn.Module):
    """Code that reads a layer's weight instead of calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.layer.weight)


def test_layers_that_others_read_are_left() -> None:
    with pytest.raises(InputError, match=r"with factored layers the module does not work"):
        low_rank(Reads(), torch.zeros(1, 64), rank=0.25)
    tied = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64), nn.MultiheadAttention(64, 2))
    tied[1].weight = tied[0].weight
    assert large(tied) == []


def test_a_fresh_module_takes_the_shapes_of_a_checkpoint(tmp_path: Path) -> None:
    made = low_rank(net("attending"), example(), rank=0.25, smallest=256)
    again = like(net("attending"), made.state_dict())
    again.load_state_dict(made.state_dict())
    torch.testing.assert_close(again.eval()(images(2)), made(images(2)))


def test_quantized_and_the_same_everywhere(tmp_path: Path) -> None:
    made = low_rank(net("depthwise"), example(), rank=0.25, smallest=256)
    assert isinstance(made.point[0], Factored)  # type: ignore[index]
    same_everywhere(made, tmp_path)
