from __future__ import annotations

import math

import torch
from torch import nn

from edgekd.plan.score import naswot


def test_the_determinant_by_hand() -> None:
    """Two samples, three rectifiers: on (1, 0, 1) and (1, 1, 0): both on or both off once, so K = [[3, 1], [1, 3]]."""
    net = nn.Sequential(nn.Identity(), nn.ReLU())
    x = torch.tensor([[2.0, -1.0, 1.0], [1.0, 1.0, -3.0]])
    assert abs(naswot(net, x) - math.log(3 * 3 - 1) / 2) < 1e-9


def test_alike_or_without_rectifiers_is_minus_infinity() -> None:
    x = torch.ones(2, 3)
    assert naswot(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), x) == -math.inf
    assert naswot(nn.Linear(3, 4), torch.eye(3)) == -math.inf


def test_nothing_is_left_behind() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU()).eval()
    first, again = (naswot(net, torch.eye(3)) for _ in range(2))
    assert first == again and not net.training and not net[1]._forward_hooks
