from __future__ import annotations

import pytest
import torch
from torch import nn

from edgekd.errors import InputError
from edgekd.losses.hidden_states import HiddenStates
from tests.losses import gradients

LABELS = torch.full((2,), -1)
INDICES = torch.arange(2)


def test_is_the_mean_squared_error_of_projected_states_summed_over_layers() -> None:
    student = [torch.randn(2, 5, 3), torch.randn(2, 5, 4)]
    teacher = [torch.randn(2, 5, 4), torch.randn(2, 5, 4)]
    loss = HiddenStates(student, teacher, 100)
    projection, same = loss.projections
    assert isinstance(projection, nn.Linear) and isinstance(same, nn.Identity)
    weight, bias = projection.weight.tolist(), projection.bias.tolist()
    expected = 0.0
    for n in range(2):
        for t in range(5):
            for o in range(4):
                wide = bias[o] + sum(float(student[0][n, t, i]) * weight[o][i] for i in range(3))
                expected += (wide - float(teacher[0][n, t, o])) ** 2 / 40
                expected += (float(student[1][n, t, o]) - float(teacher[1][n, t, o])) ** 2 / 40
    assert float(loss(student, teacher, LABELS, INDICES).detach()) == pytest.approx(expected, rel=1e-5)


def test_equal_states_give_zero_and_large_ones_stay_finite() -> None:
    x = torch.randn(1, 5, 4)
    loss = HiddenStates(x, x, 100)
    assert float(loss(x, x, LABELS[:1], INDICES[:1])) == 0
    assert torch.isfinite(loss(x * 1e12, x, LABELS[:1], INDICES[:1]))


def test_vectors() -> None:
    student, teacher = torch.randn(2, 3), torch.randn(2, 3)
    expected = sum((float(student[n, i]) - float(teacher[n, i])) ** 2 for n in range(2) for i in range(3)) / 6
    assert float(HiddenStates(student, teacher, 100)(student, teacher, LABELS, INDICES)) == pytest.approx(expected, rel=1e-5)


def test_gradient() -> None:
    student, teacher = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True), torch.randn(2, 5, 4, dtype=torch.float64)
    gradients.check(HiddenStates(student, teacher, 100), student, teacher)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(InputError, match=r"loss hidden_states: the student's tensor has shape \[2, 3, 4, 4\]: feature maps"):
        HiddenStates(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), 100)
    with pytest.raises(InputError, match="loss hidden_states: 5 tokens of the student, 6 of the teacher"):
        HiddenStates(torch.zeros(2, 5, 4), torch.zeros(2, 6, 4), 100)
    with pytest.raises(InputError, match="loss hidden_states: the student taps 3 layers, the teacher 2"):
        HiddenStates([torch.zeros(2, 5, 4)] * 3, [torch.zeros(2, 5, 4)] * 2, 100)
