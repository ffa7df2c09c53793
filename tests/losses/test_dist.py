from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from edgekd.errors import InputError
from edgekd.losses.dist import dist

LABELS = torch.full((4,), -1)


def correlation(a: list[float], b: list[float]) -> float:
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    both = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    return both / math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))


def probabilities(logits: list[list[float]], t: float) -> list[list[float]]:
    out = []
    for row in logits:
        e = [math.exp(z / t) for z in row]
        out.append([x / sum(e) for x in e])
    return out


@pytest.mark.parametrize(("beta", "gamma", "temperature"), [(2.0, 2.0, 1.0), (1.0, 0.0, 4.0), (0.0, 0.7, 2.0)])
def test_is_the_formula_of_the_paper(beta: float, gamma: float, temperature: float) -> None:
    student, teacher = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    p, q = probabilities(student.tolist(), temperature), probabilities(teacher.tolist(), temperature)
    between = sum(1 - correlation(p[n], q[n]) for n in range(4)) / 4
    within = sum(1 - correlation([row[c] for row in p], [row[c] for row in q]) for c in range(3)) / 3
    found = dist(student, teacher, LABELS, beta=beta, gamma=gamma, temperature=temperature)
    assert float(found) == pytest.approx((beta * between + gamma * within) * temperature**2, rel=1e-9)


def test_its_gradient() -> None:
    student, teacher = torch.randn(4, 3, dtype=torch.float64, requires_grad=True), torch.randn(4, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: dist(s, teacher, LABELS), (student,))


def test_the_teacher_itself_and_its_opposite() -> None:
    teacher = torch.randn(4, 3)
    assert float(dist(teacher, teacher, LABELS)) == pytest.approx(0, abs=1e-5)
    two = teacher[:, :1] * torch.tensor([1.0, -1.0])
    assert float(dist(-two, two, LABELS, beta=1, gamma=1)) == pytest.approx(4, abs=1e-4), "1 − ρ is 2 for both terms"


def test_one_sample_has_no_correlation_within_a_class() -> None:
    student, teacher = torch.randn(1, 3), torch.randn(1, 3)
    torch.testing.assert_close(dist(student, teacher, LABELS[:1], gamma=5), dist(student, teacher, LABELS[:1], gamma=0))


@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_no_variation_and_large_logits_stay_finite(scale: float) -> None:
    student = (torch.randn(4, 3) * scale).requires_grad_()
    loss = dist(student, torch.randn(4, 3) * 1e4, LABELS)
    loss.backward()
    assert loss.isfinite() and student.grad is not None and student.grad.isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": -1}, r"loss dist: beta = -1\n  expected: at least 0, usually 1 or 2"),
        ({"gamma": float("inf")}, r"loss dist: gamma = inf\n  expected: at least 0, usually 1 or 2"),
        ({"temperature": 0.0}, r"loss dist: temperature = 0.0\n  expected: above 0, usually 1 to 4"),
    ],
)
def test_impossible_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dist(torch.zeros(4, 3), torch.zeros(4, 3), LABELS, **options)


def test_other_classes_than_the_teachers() -> None:
    with pytest.raises(InputError, match=r"loss dist: student \(4, 3\), teacher \(4, 2\)"):
        dist(torch.zeros(4, 3), torch.zeros(4, 2), LABELS)
