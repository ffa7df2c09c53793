from __future__ import annotations

import numpy as np
import pytest
import torch

from edgekd.data.dataset import Split
from edgekd.data.views import Views
from edgekd.train.distill import Feed, Term, student_input, total


def feed(n: int = 10, batch: int = 4, size: tuple[int, int] = (4, 4)) -> Feed:
    """Sample i is white with i in the corner; the teacher's logits are (view, i)."""
    x = np.full((n, 4, 4, 1), 255, np.uint8)
    x[:, 0, 0, 0] = np.arange(n)
    targets = np.stack([np.stack([np.full(n, v), np.arange(n)], 1) for v in range(2)]).astype(np.float16)
    return Feed(Split(x, np.arange(n)), Views(2, mirror=True), targets, batch, size)


def test_student_input_is_exact_on_the_grid_of_its_scale() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    x = student_input(pixels)
    assert x.shape == (1, 1, 16, 16) and torch.equal(x.flatten() * 128, torch.arange(-128.0, 128.0))
    assert student_input(np.zeros((2, 3, 4, 5), np.uint8)).shape == (2, 5, 3, 4)


def test_image_label_and_soft_target_belong_together() -> None:
    views = set()
    for x, teacher, labels in feed().batches(torch.Generator().manual_seed(0)):
        assert x.shape == (4, 1, 4, 4) and teacher.dtype == torch.float32 and labels.dtype == torch.int64
        for image, (view, sample), label in zip(x, teacher.tolist(), labels.tolist(), strict=True):
            corner = image[0, 0, -1 if view else 0] * 128 + 128
            assert corner == sample == label
            views.add(view)
    assert views == {0.0, 1.0}


def test_one_pass_shows_each_sample_at_most_once_in_an_order_that_the_seed_decides() -> None:
    def order(seed: int) -> list[int]:
        return torch.cat([y for _, _, y in feed().batches(torch.Generator().manual_seed(seed))]).tolist()

    assert len(order(0)) == len(set(order(0))) == 8
    assert order(0) == order(0) != order(1)


@pytest.mark.parametrize(("n", "batch", "steps", "size"), [(10, 4, 2, 4), (3, 4, 1, 3), (4, 4, 1, 4)])
def test_steps(n: int, batch: int, steps: int, size: int) -> None:
    batches = list(feed(n, batch).batches(torch.Generator()))
    assert len(batches) == feed(n, batch).steps == steps
    assert {len(y) for _, _, y in batches} == {size}


def test_resolution_of_the_student() -> None:
    x, _, _ = next(feed(size=(2, 2)).batches(torch.Generator()))
    assert x.shape == (4, 1, 2, 2)


def test_total_is_the_weighted_sum_and_leaves_out_what_weighs_nothing() -> None:
    def term(value: float) -> Term:
        def loss(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, *, factor: float = 1.0) -> torch.Tensor:
            return student.sum() * value * factor

        return Term(loss, 0.5, {"factor": 2.0})  # type: ignore[arg-type]

    def never(*_: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    one = torch.ones(1, 1)
    assert float(total([term(1), term(3), Term(never, 0.0, {})], one, one, one)) == 4.0  # type: ignore[arg-type]
