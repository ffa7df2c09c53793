from __future__ import annotations

import pytest
import torch
from torch import nn

from edgekd.errors import InputError
from edgekd.losses.adapters import adapter, check_rank, one_vector, pairs, same_size


@pytest.mark.parametrize(
    ("student", "teacher", "kind"),
    [
        ((2, 3, 8, 8), (2, 6, 4, 4), nn.Conv2d),
        ((2, 7, 3), (2, 7, 5), nn.Linear),
        ((2, 3), (2, 5), nn.Linear),
        ((2, 3, 8, 8), (2, 3, 4, 4), nn.Identity),
        ((2, 7, 3), (2, 7, 3), nn.Identity),
        ((2, 3), (2, 3), nn.Identity),
    ],
)
def test_goes_from_the_students_width_to_the_teachers(student: tuple[int, ...], teacher: tuple[int, ...], kind: type[nn.Module]) -> None:
    x = torch.randn(student, dtype=torch.float64)
    adapt = adapter(x, torch.randn(teacher))
    assert type(adapt) is kind
    axis = 1 if len(student) == 4 else -1
    answer = adapt(x)
    assert answer.dtype == torch.float64 and answer.shape[axis] == teacher[axis]
    assert answer.shape[2:] == x.shape[2:] if len(student) == 4 else answer.shape[:-1] == x.shape[:-1]


def test_always_learns_a_layer_when_asked() -> None:
    assert isinstance(adapter(torch.randn(2, 3), torch.randn(2, 3), always=True), nn.Linear)
    assert isinstance(adapter(torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4), always=True), nn.Conv2d)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (
            (2, 3, 8, 8),
            (2, 50, 6),
            r"loss hint: the teacher's tensor has shape \[2, 50, 6\]: tokens.*\n.*feature maps \[N, C, H, W\]\n.*stage",
        ),
        ((2, 50, 6), (2, 3, 8, 8), r"the teacher's tensor has shape \[2, 3, 8, 8\]: feature maps.*\n.*tokens \[N, T, D\]\n.*transformer"),
        ((2, 3, 8, 8), (2, 10), r"the teacher's tensor has shape \[2, 10\]: vectors.*\n.*feature maps"),
        ((2, 3, 8, 8, 8), (2, 3, 8, 8, 8), r"the student's tensor has shape \[2, 3, 8, 8, 8\]: neither"),
        ((2, 49, 6), (2, 50, 6), r"loss hint: 49 tokens of the student, 50 of the teacher"),
    ],
)
def test_shapes_that_cannot_meet(student: tuple[int, ...], teacher: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        adapter(torch.zeros(student), torch.zeros(teacher), loss="hint")


def test_pairs_of_one_and_of_several() -> None:
    a, b = torch.zeros(1), torch.ones(1)
    assert pairs(a, b, loss="x") == [(a, b)]
    assert pairs([a], b, loss="x") == [(a, b)]
    assert pairs([a, b], [b, a], loss="x") == [(a, b), (b, a)]


@pytest.mark.parametrize(("student", "teacher"), [(2, 3), (1, 2), (0, 0)])
def test_lists_of_unequal_length(student: int, teacher: int) -> None:
    with pytest.raises(InputError, match=rf"loss hint: the student taps {student} .*, the teacher {teacher}\n.*as many paths in teacher"):
        pairs([torch.zeros(1)] * student, [torch.zeros(1)] * teacher, loss="hint")


def test_rank() -> None:
    check_rank(torch.zeros(2, 3), 2, side="student", loss="x")
    with pytest.raises(InputError, match=r"vectors \[N, D\]\n  expected: feature maps.*\n  to mend:  teacher ="):
        check_rank(torch.zeros(2, 3), 4, side="teacher", loss="x")


def test_maps_are_averaged_to_the_smaller_height_and_the_smaller_width() -> None:
    a, b = torch.randn(2, 3, 8, 4), torch.randn(2, 5, 4, 6)
    x, y = same_size(a, b)
    assert x.shape == (2, 3, 4, 4) and y.shape == (2, 5, 4, 4)
    assert float(x[1, 2, 3, 0]) == pytest.approx((float(a[1, 2, 6, 0]) + float(a[1, 2, 7, 0])) / 2, abs=1e-6)


def test_equal_sizes_and_other_tensors_stay() -> None:
    a, b = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 4, 4)
    assert same_size(a, b) == (a, b)
    a, b = torch.randn(2, 3), torch.randn(2, 5)
    assert same_size(a, b) == (a, b)


def test_one_vector_a_sample() -> None:
    maps, tokens = torch.randn(2, 3, 4, 5), torch.randn(2, 4, 3)
    assert float(one_vector(maps)[1, 2]) == pytest.approx(sum(map(float, maps[1, 2].flatten())) / 20, abs=1e-6)
    assert float(one_vector(tokens)[1, 2]) == pytest.approx(sum(float(tokens[1, t, 2]) for t in range(4)) / 4, abs=1e-6)
    assert one_vector(maps[:, :, 0, 0]).equal(maps[:, :, 0, 0])
