from __future__ import annotations

import math

import pytest
import torch

from edgekd.errors import InputError
from edgekd.losses.similarity import similarity

LABELS = torch.full((4,), -1)


def rows(features: list[list[float]]) -> list[list[float]]:
    out = []
    for a in features:
        products = [sum(x * y for x, y in zip(a, b, strict=True)) for b in features]
        length = math.sqrt(sum(p * p for p in products))
        out.append([p / length for p in products])
    return out


def test_is_the_formula_of_the_paper() -> None:
    student, teacher = torch.randn(4, 2, 3, 3, dtype=torch.float64), torch.randn(4, 5, 2, 2, dtype=torch.float64)
    s, t = rows(student.reshape(4, 18).tolist()), rows(teacher.reshape(4, 20).tolist())
    expected = sum((t[i][j] - s[i][j]) ** 2 for i in range(4) for j in range(4)) / 4**2
    assert float(similarity(student, teacher, LABELS)) == pytest.approx(expected, rel=1e-9)


def test_its_gradient() -> None:
    student, teacher = torch.randn(4, 3, dtype=torch.float64, requires_grad=True), torch.randn(4, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: similarity(s, teacher, LABELS), (student,))


def test_the_teacher_itself_turned_and_scaled() -> None:
    teacher = torch.randn(4, 2)
    assert float(similarity(torch.stack([teacher[:, 1], -teacher[:, 0]], 1) * 3, teacher, LABELS)) == pytest.approx(0, abs=1e-9)


def test_lists_are_added() -> None:
    student, teacher = torch.randn(4, 3), torch.randn(4, 6)
    torch.testing.assert_close(similarity([student] * 2, [teacher] * 2, LABELS), 2 * similarity(student, teacher, LABELS))


def test_one_sample_is_like_itself() -> None:
    assert float(similarity(torch.randn(1, 3), torch.randn(1, 3), LABELS[:1])) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_dead_samples_and_large_values_stay_finite(scale: float) -> None:
    student = torch.randn(4, 3) * scale
    student[1] = 0
    student.requires_grad_()
    loss = similarity(student, torch.randn(4, 3), LABELS)
    loss.backward()
    assert loss.isfinite() and student.grad is not None and student.grad.isfinite().all()


def test_more_modules_of_one_side() -> None:
    with pytest.raises(InputError, match="loss similarity: the student taps 1 layer, the teacher 2"):
        similarity(torch.zeros(4, 3), [torch.zeros(4, 3)] * 2, LABELS)
