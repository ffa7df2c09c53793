from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from edgekd.errors import InputError
from edgekd.losses.exits import Exits

LABELS, WHERE = torch.tensor([2, 0, 1]), torch.arange(3)


def softmax(row: list[float], t: float) -> list[float]:
    e = [math.exp(z / t) for z in row]
    return [x / sum(e) for x in e]


def linear(layer: nn.Module, x: list[float]) -> list[float]:
    weight, bias = layer.weight.flatten(1).tolist(), layer.bias.tolist()
    return [sum(a * b for a, b in zip(row, x, strict=True)) + bias[n] for n, row in enumerate(weight)]


def taps() -> list[torch.Tensor]:
    """A feature map, tokens, a vector."""
    return [torch.randn(3, *shape, dtype=torch.float64) for shape in ((2, 4, 4), (5, 6), (7,))]


def positions(tap: torch.Tensor) -> torch.Tensor:
    """[N, positions, channels]."""
    return tap.flatten(2).transpose(1, 2) if tap.ndim == 4 else tap.reshape(len(tap), -1, tap.shape[-1])


def by_hand(loss: Exits, shallow: list[torch.Tensor], logits: torch.Tensor, alpha: float, t: float) -> float:
    total = 0.0
    for tap, exit_ in zip(shallow, loss.classifiers, strict=True):
        for n, sample in enumerate(positions(tap).tolist()):
            pooled = [sum(position[c] for position in sample) / len(sample) for c in range(len(sample[0]))]
            answer = linear(exit_, pooled)
            q, soft, hard = softmax(logits[n].tolist(), t), softmax(answer, t), softmax(answer, 1)
            apart = sum(a * math.log(a / b) for a, b in zip(q, soft, strict=True))
            total += ((alpha - 1) * math.log(hard[LABELS[n]]) + alpha * t * t * apart) / 3
    return total


@pytest.mark.parametrize(("alpha", "temperature"), [(0.1, 3.0), (0.0, 1.0), (1.0, 2.0)])
def test_is_the_formula_of_the_paper(alpha: float, temperature: float) -> None:
    shallow, logits = taps(), torch.randn(3, 4, dtype=torch.float64)
    loss = Exits(shallow, logits, 3, alpha=alpha, temperature=temperature)
    expected = by_hand(loss, shallow, logits, alpha, temperature)
    assert float(loss(shallow, logits, LABELS, WHERE).detach()) == pytest.approx(expected, rel=1e-9)


def test_the_hint_is_added() -> None:
    shallow, logits = torch.randn(3, 2, 4, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    deep = torch.randn(3, 5, 2, 2, dtype=torch.float64)
    loss = Exits(shallow, [logits, deep], 3, hint=0.05)
    squares = 0.0
    for n in range(3):
        for y in range(2):
            for x in range(2):
                block = [shallow[n, c, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].tolist() for c in range(2)]
                pooled = [sum(map(sum, rows)) / 4 for rows in block]
                for c, found in enumerate(linear(loss.adapters[0], pooled)):
                    squares += (found - float(deep[n, c, y, x])) ** 2
    expected = by_hand(loss, [shallow], logits, 0.1, 3.0) + 0.05 * squares / deep.numel()
    assert float(loss(shallow, [logits, deep], LABELS, WHERE).detach()) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("hint", [0.0, 0.5])
def test_its_gradient(hint: float) -> None:
    shallow, logits = torch.randn(3, 2, 4, 4, dtype=torch.float64, requires_grad=True), torch.randn(3, 4, dtype=torch.float64)
    teacher = [logits, torch.randn(3, 5, 2, 2, dtype=torch.float64)] if hint else logits
    loss = Exits(shallow.detach(), teacher, 3, hint=hint)
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher, torch.tensor([2, -1, 1]), WHERE), (shallow,))
    loss(shallow, teacher, LABELS, WHERE).backward()
    assert all(p.grad is not None and p.grad.any() for p in loss.parameters()), "the exits learn too"


def test_samples_without_a_label_are_left_out() -> None:
    shallow, logits = taps(), torch.randn(3, 4, dtype=torch.float64)
    loss = Exits(shallow, logits, 3)
    found = loss(shallow, logits, torch.tensor([2, -1, 1]), WHERE)
    torch.testing.assert_close(found, loss([x[[0, 2]] for x in shallow], logits[[0, 2]], LABELS[[0, 2]], WHERE[:2]))
    shallow = [x.requires_grad_() for x in shallow]
    none = loss(shallow, logits, torch.full((3,), -1), WHERE)
    none.backward()
    assert float(none.detach()) == 0 and all(x.grad is not None and not x.grad.any() for x in shallow)


def test_one_sample_and_large_logits_stay_finite() -> None:
    shallow = (1e4 * torch.randn(1, 7)).requires_grad_()
    logits = 1e4 * torch.randn(1, 4)
    found = Exits(shallow, logits, 1)(shallow, logits, LABELS[:1], WHERE[:1])
    found.backward()
    assert found.isfinite() and shallow.grad is not None and shallow.grad.isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -0.1}, r"loss exits: alpha = -0.1\n  expected: 0 to 1, usually 0.1 to 0.5"),
        ({"temperature": 0}, r"loss exits: temperature = 0\n  expected: above 0, usually 3"),
        ({"hint": -1}, r"loss exits: hint = -1\n  expected: at least 0, usually 0.01 to 0.1"),
        ({"hint": 0.1}, r"loss exits: hint = 0.1 and no feature map to take it from\n  expected: hint above 0 with teacher ="),
    ],
)
def test_impossible_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Exits(torch.zeros(2, 3), torch.zeros(2, 4), 3, **options)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (torch.zeros(2, 3), [torch.zeros(2, 4), torch.zeros(2, 5)], "hint = 0.0 and a feature map of the student"),
        (torch.zeros(2, 3), torch.zeros(2, 4, 3, 3), r"student \[\(2, 3\)\], teacher \[\(2, 4, 3, 3\)\]\n  expected: student = paths"),
        (torch.zeros(2), torch.zeros(2, 4), r"student \[\(2,\)\]"),
        ([], torch.zeros(2, 4), r"student \[\]"),
    ],
)
def test_what_it_cannot_tap(student: Any, teacher: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"loss exits: {message}"):
        Exits(student, teacher, 3)
