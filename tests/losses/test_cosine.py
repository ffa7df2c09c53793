from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from edgekd.errors import InputError
from edgekd.losses.cosine import Cosine
from tests.losses import gradients

LABELS = torch.full((2,), -1)
INDICES = torch.arange(2)


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def test_is_one_minus_the_mean_cosine_over_tokens() -> None:
    student, teacher = torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    expected = sum(1 - cosine(student[n, t].tolist(), teacher[n, t].tolist()) for n in range(2) for t in range(5)) / 10
    loss = Cosine(student, teacher, 100)
    assert not list(loss.parameters())
    assert float(loss(student, teacher, LABELS, INDICES)) == pytest.approx(expected, rel=1e-5)


def test_along_the_channels_of_maps() -> None:
    student, teacher = torch.randn(2, 4, 3, 2), torch.randn(2, 4, 3, 2)
    places = [(n, y, x) for n in range(2) for y in range(3) for x in range(2)]
    expected = sum(1 - cosine(student[n, :, y, x].tolist(), teacher[n, :, y, x].tolist()) for n, y, x in places) / len(places)
    assert float(Cosine(student, teacher, 100)(student, teacher, LABELS, INDICES)) == pytest.approx(expected, rel=1e-5)


def test_unequal_widths_meet_through_a_learned_layer_and_pairs_are_summed() -> None:
    student, teacher = [torch.randn(2, 3), torch.randn(2, 4)], [torch.randn(2, 5), torch.randn(2, 4)]
    loss = Cosine(student, teacher, 100)
    first, second = loss.adapters
    assert isinstance(first, nn.Linear) and isinstance(second, nn.Identity)
    weight, bias = first.weight.tolist(), first.bias.tolist()
    expected = 0.0
    for n in range(2):
        wide = [bias[o] + sum(weight[o][i] * float(student[0][n, i]) for i in range(3)) for o in range(5)]
        expected += (1 - cosine(wide, teacher[0][n].tolist())) / 2
        expected += (1 - cosine(student[1][n].tolist(), teacher[1][n].tolist())) / 2
    assert float(loss(student, teacher, LABELS, INDICES).detach()) == pytest.approx(expected, rel=1e-5)


def test_known_values() -> None:
    x = torch.randn(2, 5, 4)
    loss = Cosine(x, x, 100)
    assert float(loss(x * 1000, x, LABELS, INDICES)) == pytest.approx(0, abs=1e-6)
    assert float(loss(-x, x, LABELS, INDICES)) == pytest.approx(2, abs=1e-6)
    one = torch.zeros(1, 5, 4, requires_grad=True)
    value = loss(one, x[:1], LABELS[:1], INDICES[:1])
    value.backward()
    assert float(value.detach()) == 1 and one.grad is not None and torch.isfinite(one.grad).all()


def test_gradient() -> None:
    student, teacher = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True), torch.randn(2, 5, 4, dtype=torch.float64)
    gradients.check(Cosine(student, teacher, 100), student, teacher)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="loss cosine: 5 tokens of the student, 6 of the teacher"):
        Cosine(torch.zeros(2, 5, 4), torch.zeros(2, 6, 4), 100)
    with pytest.raises(InputError, match="loss cosine: the student taps 1 layer, the teacher 2"):
        Cosine(torch.zeros(2, 4), [torch.zeros(2, 4)] * 2, 100)
