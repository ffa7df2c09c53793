from __future__ import annotations

import pytest
import torch
from torch import nn

from edgekd.errors import InputError
from edgekd.quant.capture import capture
from edgekd.quant.grid import FIXED_OUTPUT, IMAGE_INPUT, Group, groups


class Net(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.a, self.b, self.head = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1), nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.a(x), self.b(x)
        match self.kind:
            case "concat":
                return torch.cat([a.relu(), b], 1)
            case "pools":
                return nn.functional.avg_pool2d(nn.functional.max_pool2d(a.relu(), 2), 2).flatten(1)
            case "softmax":
                return self.head(a.mean((2, 3))).softmax(-1)
            case "sum":
                return (a + b.relu()).relu()
            case "input":
                return torch.cat([x, nn.functional.max_pool2d(x, 3, 1, 1)], 1)
            case "clash":
                return torch.cat([x, a.sigmoid()], 1)
            case _:
                return torch.cat([a.sigmoid(), b.sigmoid()], 1)


def of(kind: str, *, symmetric: bool = False) -> tuple[Group, ...]:
    return groups(capture(Net(kind), (2, 4, 4)), symmetric=symmetric)


def test_concat_shares_and_one_member_below_zero_is_enough() -> None:
    _, shared = of("concat")
    assert len(shared.tensors) == 3 and not shared.rectified and shared.fixed is None


def test_pools_and_reshape_share_with_the_rectified_convolution() -> None:
    _, shared = of("pools")
    assert len(shared.tensors) == 4 and shared.rectified


def test_every_tensor_is_in_one_group_in_the_order_of_making() -> None:
    graph = capture(Net("sum"), (2, 4, 4))
    found = groups(graph, symmetric=False)
    assert [g.tensors for g in found] == [("input",), *[op.outputs for op in graph.ops]]
    assert [g.rectified for g in found] == [False, False, True, True]


def test_the_input_is_fixed_and_passes_on() -> None:
    (only,) = of("input")
    assert only.fixed is IMAGE_INPUT and not only.rectified
    assert IMAGE_INPUT.single == (1 / 128, 0)


def test_softmax_is_fixed() -> None:
    fixed = of("softmax")[-1].fixed
    assert fixed is not None and fixed.single == FIXED_OUTPUT.single == (1 / 256, -128)
    fixed = of("softmax", symmetric=True)[-1].fixed
    assert fixed is not None and fixed.single == (pytest.approx(1 / 127), 0)


def test_two_that_are_prescribed_alike_may_meet() -> None:
    assert of("alike")[-1].fixed is FIXED_OUTPUT


def test_two_that_are_prescribed_differently_may_not() -> None:
    with pytest.raises(InputError, match="must share one scale, but two are prescribed") as caught:
        of("clash")
    assert "softmax, logistic, tanh and the input not joined by concat" in str(caught.value)
