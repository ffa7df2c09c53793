from __future__ import annotations

import pytest
import torch
from torch import nn

from edgekd.errors import InputError
from edgekd.losses.hint import Hint
from tests.losses import gradients

LABELS = torch.full((2,), -1)
INDICES = torch.arange(2)


def test_is_half_the_squared_distance_of_the_regression_from_the_hint() -> None:
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)
    loss = Hint(student, teacher, 100)
    (regressor,) = loss.regressors
    assert isinstance(regressor, nn.Conv2d) and regressor.bias is not None
    weight, bias = regressor.weight.tolist(), regressor.bias.tolist()
    total = 0.0
    for n in range(2):
        for o in range(5):
            for y in range(2):
                for x in range(2):
                    guess = bias[o]
                    for c in range(3):
                        pooled = sum(float(student[n, c, 2 * y + i, 2 * x + j]) for i in range(2) for j in range(2)) / 4
                        guess += weight[o][c][0][0] * pooled
                    total += 0.5 * (guess - float(teacher[n, o, y, x])) ** 2
    assert float(loss(student, teacher, LABELS, INDICES).detach()) == pytest.approx(total / (2 * 5 * 2 * 2), rel=1e-5)


def test_pairs_are_summed_whatever_their_kind() -> None:
    student = [torch.randn(2, 3, 4, 4), torch.randn(2, 6)]
    teacher = [torch.randn(2, 5, 4, 4), torch.randn(2, 7)]
    loss = Hint(student, teacher, 100)
    parts = [(r(s) - t).square().mean() / 2 for r, s, t in zip(loss.regressors, student, teacher, strict=True)]
    torch.testing.assert_close(loss(student, teacher, LABELS, INDICES), parts[0] + parts[1])


def test_without_a_regressor_equal_layers_give_zero() -> None:
    layer = torch.randn(2, 3, 4, 4)
    loss = Hint(layer, layer, 100, regressor=False)
    assert not list(loss.parameters())
    assert float(loss(layer, layer, LABELS, INDICES)) == 0
    assert len(list(Hint(layer, layer, 100).parameters())) == 2


def test_gradients_reach_the_student_and_the_regressor() -> None:
    student, teacher = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True), torch.randn(2, 5, 2, 3, dtype=torch.float64)
    gradients.check(Hint(student, teacher, 100), student, teacher)


def test_one_sample_and_large_values() -> None:
    student, teacher = torch.full((1, 3, 4, 4), 1e6), torch.full((1, 5, 4, 4), -1e6)
    assert torch.isfinite(Hint(student, teacher, 100)(student, teacher, LABELS[:1], INDICES[:1]))


def test_what_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="loss hint: regressor = 3\n  expected: true or false"):
        Hint(torch.zeros(2, 3), torch.zeros(2, 3), 100, regressor=3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="loss hint: the student taps 2 layers, the teacher 1"):
        Hint([torch.zeros(2, 3)] * 2, torch.zeros(2, 3), 100)
    with pytest.raises(InputError, match="loss hint: the teacher's tensor"):
        Hint(torch.zeros(2, 3, 4, 4), torch.zeros(2, 17, 3), 100)
