from __future__ import annotations

import pytest
import torch

from edgekd.errors import InputError
from edgekd.losses.soft_targets import soft_targets

LABELS = torch.zeros(3, dtype=torch.int64)


def test_is_the_divergence_times_t_squared() -> None:
    student, teacher, t = torch.randn(3, 5), torch.randn(3, 5), 3.0
    p, q = (teacher / t).softmax(1), (student / t).softmax(1)
    expected = (p * (p.log() - q.log())).sum(1).mean() * t * t
    torch.testing.assert_close(soft_targets(student, teacher, LABELS, temperature=t), expected)


def test_is_zero_for_the_teacher_itself_whatever_is_added_to_its_logits() -> None:
    logits = torch.randn(3, 5)
    assert float(soft_targets(logits + 7, logits, LABELS)) == pytest.approx(0, abs=1e-5)


def test_the_gradient_keeps_its_size_when_the_temperature_changes() -> None:
    """At high temperatures it tends to (student − teacher)/(N·C) for centred logits (Hinton et al. 2015, section 2.1)."""
    student, teacher = (torch.randn(3, 5) for _ in range(2))
    student, teacher = (x - x.mean(1, keepdim=True) for x in (student, teacher))
    student.requires_grad_()
    soft_targets(student, teacher, LABELS, temperature=1000.0).backward()
    torch.testing.assert_close(student.grad, (student - teacher).detach() / 15, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_impossible_temperature(temperature: float) -> None:
    with pytest.raises(InputError, match=r"loss soft_targets: temperature = .*\n  expected: above 0"):
        soft_targets(torch.zeros(3, 5), torch.zeros(3, 5), LABELS, temperature=temperature)
