from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from edgekd.errors import InputError
from edgekd.losses.rkd import rkd_angle, rkd_distance

LABELS = torch.full((5,), -1)
BOTH = pytest.mark.parametrize("loss", [rkd_distance, rkd_angle])
Loss = Callable[..., torch.Tensor]


def huber(x: float) -> float:
    return x * x / 2 if abs(x) <= 1 else abs(x) - 0.5


def distances(rows: list[list[float]]) -> dict[tuple[int, int], float]:
    found = {(i, j): math.dist(rows[i], rows[j]) for i in range(len(rows)) for j in range(len(rows)) if i != j}
    mean = sum(found.values()) / len(found)
    return {pair: d / mean for pair, d in found.items()}


def cosine(a: list[float], b: list[float], c: list[float]) -> float:
    """Of the angle at ``b``."""
    dot = sum((x - y) * (z - y) for x, y, z in zip(a, b, c, strict=True))
    return dot / (math.dist(a, b) * math.dist(c, b))


def test_distance_is_the_formula_of_the_paper() -> None:
    student, teacher = torch.randn(5, 3, dtype=torch.float64), 4 * torch.randn(5, 2, dtype=torch.float64) ** 3
    s, t = distances(student.tolist()), distances(teacher.tolist())
    expected = sum(huber(s[pair] - t[pair]) for pair in s) / 20
    assert float(rkd_distance(student, teacher, LABELS)) == pytest.approx(expected, rel=1e-9)


def test_angle_is_the_formula_of_the_paper() -> None:
    student, teacher = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    s, t = student.tolist(), teacher.tolist()
    total, count = 0.0, 0
    for i in range(5):
        for j in range(5):
            for k in range(5):
                if len({i, j, k}) == 3:
                    total += huber(cosine(s[i], s[j], s[k]) - cosine(t[i], t[j], t[k]))
                    count += 1
    assert count == 60
    assert float(rkd_angle(student, teacher, LABELS)) == pytest.approx(total / count, rel=1e-9)


@BOTH
def test_its_gradient(loss: Loss) -> None:
    student, teacher = torch.randn(5, 3, dtype=torch.float64, requires_grad=True), torch.randn(5, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher, LABELS), (student,))


@BOTH
def test_turned_moved_and_scaled_teachers_are_the_same_teacher(loss: Loss) -> None:
    teacher = torch.randn(5, 2)
    turned = torch.stack([teacher[:, 1], -teacher[:, 0]], 1) * 3 + 100
    assert float(loss(turned, teacher, LABELS)) == pytest.approx(0, abs=1e-6)


@BOTH
def test_feature_maps_are_flattened_and_lists_are_added(loss: Loss) -> None:
    student, teacher = torch.randn(5, 2, 3, 2), torch.randn(5, 4, 2, 2)
    once = loss(student, teacher, LABELS)
    torch.testing.assert_close(once, loss(student.reshape(5, 12), teacher.reshape(5, 16), LABELS))
    torch.testing.assert_close(loss([student, student], [teacher, teacher], LABELS), 2 * once)


@BOTH
@pytest.mark.parametrize("count", [1, 2])
def test_too_few_samples_for_a_relation(loss: Loss, count: int) -> None:
    student = torch.randn(count, 3, requires_grad=True)
    found = loss(student, torch.randn(count, 3), LABELS[:count])
    found.backward()
    assert float(found.detach()) == 0 and student.grad is not None and not student.grad.any()


@BOTH
@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e6])
def test_samples_that_coincide_and_large_values_stay_finite(loss: Loss, scale: float) -> None:
    student = torch.randn(5, 3) * scale
    student[1] = student[0]
    student.requires_grad_()
    found = loss(student, torch.randn(5, 3), LABELS)
    found.backward()
    assert found.isfinite() and student.grad is not None and student.grad.isfinite().all()


def test_an_offset_does_not_drown_the_angles() -> None:
    points = torch.randn(5, 64)
    assert float(rkd_angle(points + 1000, points, LABELS)) < 1e-6


@BOTH
def test_more_modules_of_one_side(loss: Loss) -> None:
    with pytest.raises(InputError, match=f"loss {loss.__name__}: the student taps 2 layers, the teacher 1"):
        loss([torch.zeros(5, 3)] * 2, torch.zeros(5, 3), LABELS)
