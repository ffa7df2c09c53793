from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from edgekd.errors import InputError
from edgekd.losses.dkd import dkd
from edgekd.losses.soft_targets import soft_targets

LABELS = torch.tensor([2, 0, 4])


def by_hand(student: list[list[float]], teacher: list[list[float]], labels: list[int], alpha: float, beta: float, t: float) -> float:
    """Equations 1 to 7 of the paper, a sample and a class at a time."""
    total = 0.0
    for zs, zt, y in zip(student, teacher, labels, strict=True):
        es, et = [math.exp(z / t) for z in zs], [math.exp(z / t) for z in zt]
        ps, pt = es[y] / sum(es), et[y] / sum(et)
        target = pt * math.log(pt / ps) + (1 - pt) * math.log((1 - pt) / (1 - ps))
        rest = 0.0
        for c in range(len(zs)):
            if c != y:
                qs, qt = es[c] / (sum(es) - es[y]), et[c] / (sum(et) - et[y])
                rest += qt * math.log(qt / qs)
        total += alpha * target + beta * rest
    return total / len(labels) * t * t


@pytest.mark.parametrize(("alpha", "beta", "temperature"), [(1.0, 8.0, 4.0), (0.3, 0.0, 1.0), (0.0, 2.0, 2.5)])
def test_is_the_formula_of_the_paper(alpha: float, beta: float, temperature: float) -> None:
    student, teacher = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    expected = by_hand(student.tolist(), teacher.tolist(), LABELS.tolist(), alpha, beta, temperature)
    found = dkd(student, teacher, LABELS, alpha=alpha, beta=beta, temperature=temperature)
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_its_gradient() -> None:
    student, teacher = torch.randn(3, 5, dtype=torch.float64, requires_grad=True), torch.randn(3, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: dkd(s, teacher, torch.tensor([2, -1, 4])), (student,))


def test_with_the_teachers_own_weight_of_the_rest_it_is_soft_targets() -> None:
    """Equation 7: plain distillation is beta = 1 − the teacher's probability of the label, sample by sample."""
    student, teacher = torch.randn(1, 5), torch.randn(1, 5)
    beta = 1 - float((teacher / 3).softmax(1)[0, 2])
    torch.testing.assert_close(
        dkd(student, teacher, LABELS[:1], beta=beta, temperature=3.0), soft_targets(student, teacher, LABELS[:1], temperature=3.0)
    )


def test_the_teacher_itself_and_samples_without_a_label() -> None:
    student, teacher = torch.randn(3, 5, requires_grad=True), torch.randn(3, 5)
    assert float(dkd(teacher + 7, teacher, LABELS).abs()) < 1e-4
    torch.testing.assert_close(dkd(student, teacher, torch.tensor([2, -1, 4])), dkd(student[[0, 2]], teacher[[0, 2]], LABELS[[0, 2]]))
    none = dkd(student, teacher, torch.full((3,), -1))
    none.backward()
    assert float(none.detach()) == 0 and student.grad is not None and not student.grad.any()


def test_two_classes_and_large_logits() -> None:
    student = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    loss = dkd(student, -student.detach(), torch.tensor([0, 0]))
    loss.backward()
    assert loss.isfinite() and student.grad is not None and student.grad.isfinite().all() and student.grad.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -0.1}, r"loss dkd: alpha = -0.1\n  expected: at least 0, usually 1"),
        ({"beta": float("nan")}, r"loss dkd: beta = nan\n  expected: at least 0, usually 2 to 8"),
        ({"temperature": 0}, r"loss dkd: temperature = 0\n  expected: above 0, usually 1 to 10"),
        ({"temperature": "4"}, r"loss dkd: temperature = '4'\n  expected: above 0"),
        ({"temperature": True}, r"loss dkd: temperature = True\n"),
    ],
)
def test_impossible_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dkd(torch.zeros(3, 5), torch.zeros(3, 5), LABELS, **options)


def test_what_is_no_logits_of_the_same_classes() -> None:
    with pytest.raises(InputError, match=r"loss dkd: student \(3, 5\), teacher \(3, 6\)\n  expected: logits of the same classes"):
        dkd(torch.zeros(3, 5), torch.zeros(3, 6), LABELS)
    with pytest.raises(InputError, match="loss dkd: student a list of 1 tensors"):
        dkd([torch.zeros(3, 5)], torch.zeros(3, 5), LABELS)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"loss dkd: one class\n  expected: two classes or more"):
        dkd(torch.zeros(3, 1), torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64))
