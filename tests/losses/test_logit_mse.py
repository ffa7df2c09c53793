from __future__ import annotations

import math

import pytest
import torch

from edgekd.errors import InputError
from edgekd.losses.logit_mse import logit_mse
from edgekd.losses.soft_targets import soft_targets

LABELS = torch.full((3,), -1)


def standard(row: list[float], *, centred: bool, standardized: bool) -> list[float]:
    if centred or standardized:
        mean = sum(row) / len(row)
        row = [z - mean for z in row]
    if standardized:
        deviation = math.sqrt(sum(z * z for z in row) / len(row))
        row = [z / deviation for z in row]
    return row


@pytest.mark.parametrize(("centred", "standardized"), [(False, False), (True, False), (False, True), (True, True)])
def test_is_the_mean_of_squares(centred: bool, standardized: bool) -> None:
    student, teacher = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        s, t = (standard(row, centred=centred, standardized=standardized) for row in (s, t))
        for a, b in zip(s, t, strict=True):
            total += (a - b) ** 2
    found = logit_mse(student, teacher, LABELS, centred=centred, standardized=standardized)
    assert float(found) == pytest.approx(total / 15, rel=1e-9)


@pytest.mark.parametrize(("centred", "standardized"), [(False, False), (True, False), (False, True)])
def test_its_gradient(centred: bool, standardized: bool) -> None:
    student, teacher = torch.randn(3, 5, dtype=torch.float64, requires_grad=True), torch.randn(3, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: logit_mse(s, teacher, LABELS, centred=centred, standardized=standardized), (student,))


def test_shift_and_scale_that_do_not_count() -> None:
    teacher = torch.randn(3, 5)
    assert float(logit_mse(teacher, teacher, LABELS)) == 0
    assert float(logit_mse(teacher + 7, teacher, LABELS)) == pytest.approx(49, rel=1e-4)
    assert float(logit_mse(teacher + 7, teacher, LABELS, centred=True)) == pytest.approx(0, abs=1e-9)
    assert float(logit_mse(3 * teacher + 7, teacher, LABELS, standardized=True)) == pytest.approx(0, abs=1e-9)


def test_half_of_it_is_soft_targets_at_a_high_temperature() -> None:
    student, teacher = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    half = logit_mse(student, teacher, LABELS, centred=True) / 2
    torch.testing.assert_close(soft_targets(student, teacher, LABELS, temperature=1e4), half, rtol=1e-3, atol=0)


def test_rows_without_variation_one_sample_and_large_logits_stay_finite() -> None:
    student = torch.zeros(1, 5, requires_grad=True)
    for options in ({}, {"centred": True}, {"standardized": True}):
        loss = logit_mse(student, 1e4 * torch.randn(1, 5), LABELS[:1], **options)
        loss.backward()
        assert loss.isfinite() and student.grad is not None and student.grad.isfinite().all()


@pytest.mark.parametrize("option", ["centred", "standardized"])
def test_what_is_no_switch(option: str) -> None:
    with pytest.raises(InputError, match=rf"loss logit_mse: {option} = 'yes'\n  expected: true or false"):
        logit_mse(torch.zeros(3, 5), torch.zeros(3, 5), LABELS, **{option: "yes"})  # type: ignore[arg-type]


def test_feature_maps_are_no_logits() -> None:
    maps, shape = torch.zeros(3, 5, 2, 2), r"\(3, 5, 2, 2\)"
    message = rf"loss logit_mse: student {shape}, teacher {shape}\n  expected: logits.*\n  to mend:  no student and no teacher in"
    with pytest.raises(InputError, match=message):
        logit_mse(maps, maps, LABELS)
