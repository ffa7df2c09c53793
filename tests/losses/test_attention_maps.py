from __future__ import annotations

import math

import pytest
import torch

from edgekd.errors import InputError
from edgekd.losses.attention_maps import attention_maps

LABELS = torch.full((2,), -1)


def matrix(q: torch.Tensor, k: torch.Tensor, n: int, head: int, heads: int, *, softmax: bool) -> list[list[float]]:
    """One sample's attention matrix of one head."""
    size = q.shape[2] // heads
    at = range(head * size, (head + 1) * size)
    rows = [[sum(float(q[n, i, d] * k[n, j, d]) for d in at) / math.sqrt(size) for j in range(q.shape[1])] for i in range(q.shape[1])]
    if not softmax:
        return rows
    return [[math.exp(x) / sum(math.exp(y) for y in row) for x in row] for row in rows]


@pytest.mark.parametrize("softmax", [False, True])
def test_is_the_mean_squared_error_over_heads_and_tokens(softmax: bool) -> None:
    q, k, tq, tk = torch.randn(2, 3, 4), torch.randn(2, 3, 4), torch.randn(2, 3, 6), torch.randn(2, 3, 6)
    total = 0.0
    for n in range(2):
        for head in range(2):
            a, b = matrix(q, k, n, head, 2, softmax=softmax), matrix(tq, tk, n, head, 2, softmax=softmax)
            total += sum((a[i][j] - b[i][j]) ** 2 for i in range(3) for j in range(3))
    assert float(attention_maps([q, k], [tq, tk], LABELS, heads=2, softmax=softmax)) == pytest.approx(total / (2 * 2 * 9), rel=1e-4)


@pytest.mark.parametrize("softmax", [False, True])
def test_unequal_numbers_of_heads_are_compared_in_the_mean(softmax: bool) -> None:
    q, k, tq, tk = torch.randn(2, 3, 4), torch.randn(2, 3, 4), torch.randn(2, 3, 6), torch.randn(2, 3, 6)
    total = 0.0
    for n in range(2):
        ours = [matrix(q, k, n, h, 2, softmax=softmax) for h in range(2)]
        theirs = [matrix(tq, tk, n, h, 3, softmax=softmax) for h in range(3)]
        for i in range(3):
            for j in range(3):
                total += (sum(m[i][j] for m in ours) / 2 - sum(m[i][j] for m in theirs) / 3) ** 2
    assert float(attention_maps([q, k], [tq, tk], LABELS, heads=[2, 3], softmax=softmax)) == pytest.approx(total / 18, rel=1e-4)


def test_layers_are_summed() -> None:
    ours, theirs = [torch.randn(2, 3, 4) for _ in range(4)], [torch.randn(2, 3, 6) for _ in range(4)]
    expected = attention_maps(ours[:2], theirs[:2], LABELS, heads=2) + attention_maps(ours[2:], theirs[2:], LABELS, heads=2)
    torch.testing.assert_close(attention_maps(ours, theirs, LABELS, heads=2), expected)


def test_a_layer_that_answers_queries_keys_and_values() -> None:
    ours, theirs = [torch.randn(2, 3, 4) for _ in range(4)], [torch.randn(2, 3, 6) for _ in range(6)]
    packed = [torch.cat(theirs[:3], 2), torch.cat(theirs[3:], 2)]
    expected = attention_maps(ours, [theirs[0], theirs[1], theirs[3], theirs[4]], LABELS, heads=2)
    torch.testing.assert_close(attention_maps(ours, packed, LABELS, heads=2, packed="teacher"), expected)
    torch.testing.assert_close(attention_maps(packed, packed, LABELS, heads=2, packed="both"), torch.tensor(0.0))


def test_queries_that_hold_the_scale_already() -> None:
    q, k, tq, tk = (torch.randn(2, 3, 4) for _ in range(4))
    expected = attention_maps([q, k], [tq, tk], LABELS, heads=2)
    torch.testing.assert_close(attention_maps([q / math.sqrt(2), k], [tq, tk], LABELS, heads=2, prescaled="student"), expected)


def test_equal_attention_gives_zero_and_large_values_stay_finite() -> None:
    x = torch.randn(1, 3, 4)
    assert float(attention_maps([x, x], [x, x], LABELS[:1], heads=1)) == 0
    for softmax in (False, True):
        assert torch.isfinite(attention_maps([x * 1e6, x], [x, x], LABELS[:1], heads=1, softmax=softmax))


@pytest.mark.parametrize("softmax", [False, True])
def test_gradient(softmax: bool) -> None:
    q, k = (torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    teacher = [torch.randn(2, 3, 6, dtype=torch.float64) for _ in range(2)]
    for heads in (2, [2, 3]):
        torch.autograd.gradcheck(lambda a, b, h=heads: attention_maps([a, b], teacher, LABELS, heads=h, softmax=softmax), (q, k))


@pytest.mark.parametrize(
    ("student", "teacher", "options", "message"),
    [
        ([4, 4], [6, 6], {"heads": 4}, r"heads = 4 does not divide the teacher's width 6\n  expected: one of 1, 2, 3, 6"),
        ([4, 4], [6, 6], {"heads": [3, 3]}, r"heads = 3 does not divide the student's width 4"),
        ([4, 4], [6, 6], {"heads": 0}, r"heads = 0\n"),
        ([4, 4], [6, 6], {"heads": [1, 2, 3]}, r"heads = \[1, 2, 3\]\n.*or \[student's, teacher's\]\n.*heads = \[3, 12\]"),
        ([4, 4], [6, 6], {"heads": True}, r"heads = True\n"),
        ([4, 4], [6, 6], {"heads": 2.5}, r"heads = 2.5\n"),
        ([4, 4], [6, 6], {"heads": [2, "two"]}, r"heads = \[2, 'two'\]\n"),
        ([4, 4], [6, 6], {"heads": 2, "softmax": 1}, r"softmax = 1\n"),
        ([4, 4], [6, 6], {"heads": 2, "packed": "yes"}, r"packed = 'yes'\n.*none, student, teacher, both"),
        ([4, 4], [6, 6], {"heads": 2, "prescaled": "yes"}, r"prescaled = 'yes'\n"),
        ([4, 4], [8], {"heads": 2, "packed": "teacher"}, r"the teacher's width 8 is not a multiple of 3"),
        ([4], [6, 6], {"heads": 2}, r"the student taps 1 tensor\n.*\n.*packed = \"student\""),
        ([4, 4, 4, 4], [6, 6], {"heads": 2}, r"queries and keys of 2 of the student's layers, of 1 of the teacher's"),
        ([4, 8], [6, 6], {"heads": 2}, r"the student's tensors have shapes \[2, 3, 4\] and \[2, 3, 8\]"),
    ],
)
def test_what_cannot_be_compared(student: list[int], teacher: list[int], options: dict[str, object], message: str) -> None:
    ours, theirs = [torch.zeros(2, 3, d) for d in student], [torch.zeros(2, 3, d) for d in teacher]
    with pytest.raises(InputError, match="loss attention_maps: " + message):
        attention_maps(ours, theirs, LABELS, **options)  # pyright: ignore[reportArgumentType]


def test_tokens_only_and_as_many() -> None:
    x = torch.zeros(2, 3, 4)
    with pytest.raises(InputError, match=r"the student's tensor has shape \[2, 4\].*\n.*tokens"):
        attention_maps([torch.zeros(2, 4)] * 2, [x, x], LABELS, heads=2)
    with pytest.raises(InputError, match="5 tokens of the student, 3 of the teacher"):
        attention_maps([torch.zeros(2, 5, 4)] * 2, [x, x], LABELS, heads=2)
