from __future__ import annotations

import math

import pytest
import torch

from edgekd.errors import InputError
from edgekd.losses.attention_transfer import attention_transfer

LABELS = torch.full((2,), -1)


def attention(maps: torch.Tensor, n: int, power: float) -> list[float]:
    """One sample's sum over channels of |A|^power at each position, of Euclidean norm 1."""
    channels, height, width = maps.shape[1:]
    sums = [sum(abs(float(maps[n, c, y, x])) ** power for c in range(channels)) for y in range(height) for x in range(width)]
    norm = math.sqrt(sum(s * s for s in sums))
    return [s / norm for s in sums]


@pytest.mark.parametrize("power", [1, 2, 3.5])
def test_is_the_mean_squared_difference_of_normalized_attention(power: float) -> None:
    student, teacher = torch.randn(2, 3, 4, 5), torch.randn(2, 6, 4, 5) * 9
    total = 0.0
    for n in range(2):
        total += sum((a - b) ** 2 for a, b in zip(attention(student, n, power), attention(teacher, n, power), strict=True))
    assert float(attention_transfer(student, teacher, LABELS, power=power)) == pytest.approx(total / (2 * 20), rel=1e-4)


def test_unequal_sizes_are_averaged_to_the_smaller() -> None:
    student, teacher = torch.randn(1, 3, 4, 4), torch.randn(1, 6, 2, 2)
    pooled = torch.zeros(1, 3, 2, 2)
    for c in range(3):
        for y in range(2):
            for x in range(2):
                pooled[0, c, y, x] = sum(student[0, c, 2 * y + i, 2 * x + j] for i in range(2) for j in range(2)) / 4
    torch.testing.assert_close(attention_transfer(student, teacher, LABELS), attention_transfer(pooled, teacher, LABELS))
    torch.testing.assert_close(attention_transfer(teacher, student, LABELS), attention_transfer(pooled, teacher, LABELS))


def test_pairs_are_summed() -> None:
    a, b, c, d = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2), torch.randn(2, 7, 4, 4), torch.randn(2, 8, 2, 2)
    expected = attention_transfer(a, c, LABELS) + attention_transfer(b, d, LABELS)
    torch.testing.assert_close(attention_transfer([a, b], [c, d], LABELS), expected)


def test_neither_scale_nor_number_of_channels_matters() -> None:
    maps = torch.randn(2, 3, 4, 4)
    assert float(attention_transfer(maps, torch.cat([maps, maps], 1) * 50, LABELS)) == pytest.approx(0, abs=1e-12)


def test_gradient() -> None:
    student, teacher = torch.randn(2, 3, 4, 3, dtype=torch.float64, requires_grad=True), torch.randn(2, 5, 2, 3, dtype=torch.float64)
    for power in (1.0, 2.0, 3.0):
        torch.autograd.gradcheck(lambda s, power=power: attention_transfer(s, teacher, LABELS, power=power), student)


def test_extremes_stay_finite() -> None:
    teacher = torch.rand(1, 3, 4, 4)
    for student in (torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 1e30), torch.rand(1, 3, 4, 4) * 1e-30):
        student.requires_grad_()
        loss = attention_transfer(student, teacher, LABELS[:1], power=8)
        loss.backward()
        assert torch.isfinite(loss) and student.grad is not None and torch.isfinite(student.grad).all()


@pytest.mark.parametrize("power", [0.5, 0.0, -1.0, float("nan"), float("inf")])
def test_impossible_power(power: float) -> None:
    with pytest.raises(InputError, match=r"loss attention_transfer: power = .*\n  expected: at least 1, usually 2"):
        attention_transfer(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), LABELS, power=power)


def test_only_maps_show_where_a_network_looks() -> None:
    with pytest.raises(InputError, match=r"the student's tensor has shape \[2, 10\].*\n.*feature maps"):
        attention_transfer(torch.zeros(2, 10), torch.zeros(2, 10), LABELS)
    with pytest.raises(InputError, match=r"the teacher's tensor has shape \[2, 17, 10\].*\n.*feature maps"):
        attention_transfer(torch.zeros(2, 3, 4, 4), torch.zeros(2, 17, 10), LABELS)
    with pytest.raises(InputError, match="the student taps 1 layer, the teacher 2"):
        attention_transfer(torch.zeros(2, 3, 4, 4), [torch.zeros(2, 3, 4, 4)] * 2, LABELS)
