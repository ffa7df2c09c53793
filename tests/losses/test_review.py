from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from edgekd.errors import InputError
from edgekd.losses.review import Review, context_loss

LABELS = torch.full((2,), -1)
INDICES = torch.arange(2)


def places(*sizes: int) -> list[tuple[int, ...]]:
    return list(itertools.product(*map(range, sizes)))


def convolution(x: torch.Tensor, layer: nn.Conv2d) -> torch.Tensor:
    """With zeros around, one number after the other."""
    pad = layer.kernel_size[0] // 2
    out = torch.zeros(x.shape[0], layer.out_channels, *x.shape[2:])
    for n, o, i, j in places(*out.shape):
        total = 0.0 if layer.bias is None else float(layer.bias[o].detach())
        for c, di, dj in places(x.shape[1], 2 * pad + 1, 2 * pad + 1):
            y, z = i + di - pad, j + dj - pad
            if 0 <= y < x.shape[2] and 0 <= z < x.shape[3]:
                total += float(layer.weight[o, c, di, dj].detach()) * float(x[n, c, y, z])
        out[n, o, i, j] = total
    return out


def batch_norm(x: torch.Tensor) -> torch.Tensor:
    """As a batch normalization begins: factor 1, offset 0."""
    out = torch.zeros_like(x)
    for c in range(x.shape[1]):
        values = x[:, c].flatten().tolist()
        mean = sum(values) / len(values)
        deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values) + 1e-5)
        out[:, c] = (x[:, c] - mean) / deviation
    return out


def mean_square(a: torch.Tensor, b: torch.Tensor, cells: int) -> float:
    """Mean squared error of averages over ``cells`` x ``cells`` cells of square maps, whose size it divides."""
    n, c, size = a.shape[:3]
    step = size // cells
    total = 0.0
    for m, o, i, j in places(n, c, cells, cells):
        inside = [(i * step + y, j * step + x) for y, x in places(step, step)]
        total += (sum(float(a[m, o, y, x]) - float(b[m, o, y, x]) for y, x in inside) / len(inside)) ** 2
    return total / (n * c * cells * cells)


def context(a: torch.Tensor, b: torch.Tensor) -> float:
    loss, total, weight = mean_square(a, b, a.shape[2]), 1.0, 1.0
    for cells in (4, 2, 1):
        if cells < a.shape[2]:
            weight /= 2
            loss, total = loss + weight * mean_square(a, b, cells), total + weight
    return loss / total


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_the_context_loss_compares_averages_over_ever_larger_cells(size: int) -> None:
    a, b = torch.randn(2, 3, size, size), torch.randn(2, 3, size, size)
    assert float(context_loss(a, b)) == pytest.approx(context(a, b), rel=1e-4)


def test_deeper_maps_are_fused_into_shallower_ones() -> None:
    student, teacher = [torch.randn(2, 2, 4, 4), torch.randn(2, 3, 2, 2)], [torch.randn(2, 3, 4, 4), torch.randn(2, 4, 2, 2)]
    loss = Review(student, teacher, 100, width=2)
    shallow, deep = loss.fusions
    deeper = batch_norm(convolution(student[1], deep.narrow[0]))
    expected = context(batch_norm(convolution(deeper, deep.answer[0])), teacher[1])
    ours = batch_norm(convolution(student[0], shallow.narrow[0]))
    larger = torch.stack([deeper[:, :, i // 2, j // 2] for i, j in places(4, 4)], 2).reshape(2, 2, 4, 4)
    weights = convolution(torch.cat([ours, larger], 1), shallow.weigh)
    fused = torch.zeros_like(ours)
    for n, c, i, j in places(*ours.shape):
        a, b = (1 / (1 + math.exp(-float(weights[n, k, i, j]))) for k in range(2))
        fused[n, c, i, j] = a * ours[n, c, i, j] + b * larger[n, c, i, j]
    expected += context(batch_norm(convolution(fused, shallow.answer[0])), teacher[0])
    assert deep.weigh is None
    assert float(loss(student, teacher, LABELS, INDICES).detach()) == pytest.approx(expected, rel=1e-4)


def test_unequal_and_oblong_sizes_and_a_pooled_vector() -> None:
    student = [torch.randn(2, 3, 12, 5), torch.randn(2, 4, 6, 3), torch.randn(2, 5)]
    teacher = [torch.randn(2, 6, 7, 7), torch.randn(2, 8, 4, 3), torch.randn(2, 9)]
    loss = Review(student, teacher, 100)
    assert [f.narrow[0].out_channels for f in loss.fusions] == [5, 5, 5], "the width of the deepest"
    assert [f.answer[0].out_channels for f in loss.fusions] == [6, 8, 9]
    assert torch.isfinite(loss(student, teacher, LABELS, INDICES))


def test_one_map_reviews_nothing_but_itself() -> None:
    x = torch.randn(2, 3, 4, 4)
    loss = Review(x, x, 100)
    torch.testing.assert_close(loss(x, x, LABELS, INDICES), loss([x], [x], LABELS, INDICES))


def test_equal_maps_give_zero_and_large_ones_stay_finite() -> None:
    x = torch.randn(1, 3, 4, 6)
    assert float(context_loss(x, x)) == 0
    loss = Review([x, x], [x, x], 100)
    assert torch.isfinite(loss([x * 1e9, x], [x, x * 1e9], LABELS[:1], INDICES[:1]))


def test_keeps_no_averages_so_that_nothing_but_parameters_is_state() -> None:
    x = torch.randn(2, 3, 4, 4)
    loss = Review([x, x], [x, x], 100)
    assert not list(loss.buffers())


def test_gradient() -> None:
    student = tuple(torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((2, 2, 4, 4), (2, 3, 2, 2)))
    teacher = [torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 4, 2, 2, dtype=torch.float64)]
    loss = Review(list(student), teacher, 100, width=2)
    torch.autograd.gradcheck(lambda a, b: loss([a, b], teacher, LABELS, INDICES), student)
    loss(list(student), teacher, LABELS, INDICES).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in loss.parameters())


@pytest.mark.parametrize("width", [-1, 2.5, True])
def test_impossible_width(width: float) -> None:
    with pytest.raises(InputError, match=r"loss review: width = .*\n  expected: channels of the fusion"):
        Review(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), 100, width=width)  # pyright: ignore[reportArgumentType]


def test_what_cannot_be_compared() -> None:
    maps = torch.zeros(2, 3, 4, 4)
    with pytest.raises(InputError, match=r"loss review: the student taps 2 layers, the teacher 1\n.*shallow to deep"):
        Review([maps, maps], maps, 100)
    with pytest.raises(InputError, match=r"loss review: the teacher's tensor has shape \[2, 17, 3\]: tokens"):
        Review(maps, torch.zeros(2, 17, 3), 100)
