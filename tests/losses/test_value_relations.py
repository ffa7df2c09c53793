from __future__ import annotations

import math

import pytest
import torch

from edgekd.errors import InputError
from edgekd.losses.value_relations import value_relations

LABELS = torch.full((2,), -1)


def relation(a: torch.Tensor, b: torch.Tensor, n: int, head: int, heads: int) -> list[list[float]]:
    """One sample's distributions of one head: softmax of a·bᵀ/√d."""
    size = a.shape[2] // heads
    at = range(head * size, (head + 1) * size)
    rows = [[sum(float(a[n, i, d] * b[n, j, d]) for d in at) / math.sqrt(size) for j in range(a.shape[1])] for i in range(a.shape[1])]
    return [[math.exp(x) / sum(math.exp(y) for y in row) for x in row] for row in rows]


def divergence(student: list[list[float]], teacher: list[list[float]]) -> float:
    return sum(t * math.log(t / s) for ours, theirs in zip(student, teacher, strict=True) for s, t in zip(ours, theirs, strict=True))


def test_is_the_divergence_of_attention_and_of_value_relations() -> None:
    student, teacher = [torch.randn(2, 3, 4) for _ in range(3)], [torch.randn(2, 3, 6) for _ in range(3)]
    attention = values = 0.0
    for n in range(2):
        for h in range(2):
            attention += divergence(relation(student[0], student[1], n, h, 2), relation(teacher[0], teacher[1], n, h, 2)) / (2 * 2 * 3)
            values += divergence(relation(student[2], student[2], n, h, 2), relation(teacher[2], teacher[2], n, h, 2)) / (2 * 2 * 3)
    assert float(value_relations(student, teacher, LABELS, heads=2)) == pytest.approx(attention + values, rel=1e-4)
    assert float(value_relations(student[2], teacher[2:], LABELS, heads=2)) == pytest.approx(values, rel=1e-4)


def test_unequal_numbers_of_heads_are_compared_in_the_mean() -> None:
    student, teacher = torch.randn(2, 3, 4), torch.randn(2, 3, 6)
    total = 0.0
    for n in range(2):
        ours, theirs = [relation(student, student, n, h, 2) for h in range(2)], [relation(teacher, teacher, n, h, 3) for h in range(3)]
        mean_ours = [[sum(m[i][j] for m in ours) / 2 for j in range(3)] for i in range(3)]
        mean_theirs = [[sum(m[i][j] for m in theirs) / 3 for j in range(3)] for i in range(3)]
        total += divergence(mean_ours, mean_theirs) / 6
    assert float(value_relations(student, teacher, LABELS, heads=[2, 3])) == pytest.approx(total, rel=1e-4)


def test_a_layer_that_answers_queries_keys_and_values() -> None:
    student, teacher = [torch.randn(2, 3, 4) for _ in range(3)], [torch.randn(2, 3, 6) for _ in range(3)]
    expected = value_relations(student, teacher, LABELS, heads=2)
    torch.testing.assert_close(value_relations(student, torch.cat(teacher, 2), LABELS, heads=2, packed="teacher"), expected)


def test_the_scale_that_queries_hold_already_is_not_that_of_values() -> None:
    student, teacher = [torch.randn(2, 3, 4) for _ in range(3)], [torch.randn(2, 3, 6) for _ in range(3)]
    expected = value_relations(student, teacher, LABELS, heads=2)
    scaled = [student[0] / math.sqrt(2), *student[1:]]
    torch.testing.assert_close(value_relations(scaled, teacher, LABELS, heads=2, prescaled="student"), expected)


def test_equal_relations_give_zero_and_large_values_stay_finite() -> None:
    x = torch.randn(1, 3, 4)
    for heads in (2, [2, 4]):
        value = float(value_relations([x] * 3, [x] * 3, LABELS[:1], heads=heads))
        assert value == pytest.approx(0, abs=1e-6) if heads == 2 else value > 0
        assert torch.isfinite(value_relations([x * 1e4] * 3, [x] * 3, LABELS[:1], heads=heads))


def test_gradient() -> None:
    parts = tuple(torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    teacher = [torch.randn(2, 3, 6, dtype=torch.float64) for _ in range(3)]
    for heads in (2, [2, 3]):
        torch.autograd.gradcheck(lambda q, k, v, h=heads: value_relations([q, k, v], teacher, LABELS, heads=h), parts)


@pytest.mark.parametrize(
    ("student", "teacher", "options", "message"),
    [
        ([4], [6], {"heads": 4}, r"heads = 4 does not divide the teacher's width 6\n  expected: one of 1, 2, 3, 6"),
        ([4], [6], {"heads": -2}, r"heads = -2\n"),
        ([4], [6], {"heads": 2, "packed": "me"}, r"packed = 'me'\n"),
        ([4], [6], {"heads": 2, "prescaled": "me"}, r"prescaled = 'me'\n"),
        ([4, 4], [6, 6], {"heads": 2}, r"the student taps 2 tensors\n.*\n.*blocks.11.value"),
        ([4], [6, 6, 6], {"heads": 2}, r"the student taps 1 of queries, keys and values, the teacher 3\n"),
        ([4, 8, 4], [6, 6, 6], {"heads": 2}, r"the student's tensors have shapes"),
    ],
)
def test_what_cannot_be_compared(student: list[int], teacher: list[int], options: dict[str, object], message: str) -> None:
    ours, theirs = [torch.zeros(2, 3, d) for d in student], [torch.zeros(2, 3, d) for d in teacher]
    with pytest.raises(InputError, match="loss value_relations: " + message):
        value_relations(ours, theirs, LABELS, **options)  # pyright: ignore[reportArgumentType]


def test_tokens_only_and_as_many() -> None:
    x = torch.zeros(2, 3, 4)
    with pytest.raises(InputError, match=r"the teacher's tensor has shape \[2, 4, 3, 3\].*\n.*tokens"):
        value_relations(x, torch.zeros(2, 4, 3, 3), LABELS, heads=2)
    with pytest.raises(InputError, match="5 tokens of the student, 3 of the teacher"):
        value_relations(torch.zeros(2, 5, 4), x, LABELS, heads=2)
