from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgekd.data.dataset import Split, Task
from edgekd.data.views import Views
from edgekd.train.distill import Feed, student_input


def feed(n: int = 10, batch: int = 4, size: tuple[int, int] = (4, 4)) -> Feed:
    """Sample i is white with i in the corner; the teacher's logits are (view, i)."""
    x = np.full((n, 4, 4, 1), 255, np.uint8)
    x[:, 0, 0, 0] = np.arange(n)
    targets = np.stack([np.stack([np.full(n, v), np.arange(n)], 1) for v in range(2)]).astype(np.float16)
    return Feed(Split(x, np.arange(n)), Views(2, mirror=True), (targets,), batch, size)


def test_student_input_is_exact_on_the_grid_of_its_scale() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    x = student_input(pixels)
    assert x.shape == (1, 1, 16, 16) and torch.equal(x.flatten() * 128, torch.arange(-128.0, 128.0))
    assert student_input(np.zeros((2, 3, 4, 5), np.uint8)).shape == (2, 5, 3, 4)


def test_image_label_and_soft_target_belong_together() -> None:
    views = set()
    for batch in feed().batches(torch.Generator().manual_seed(0)):
        (teacher,), (labels,) = batch.teacher, batch.labels
        assert batch.x.shape == (4, 1, 4, 4) and batch.pixels.shape == (4, 4, 4, 1)
        assert teacher is not None and teacher.dtype == torch.float32 and labels.dtype == torch.int64
        assert torch.equal(student_input(batch.pixels), batch.x)
        for image, (view, sample), label, index in zip(batch.x, teacher.tolist(), labels.tolist(), batch.indices.tolist(), strict=True):
            corner = image[0, 0, -1 if view else 0] * 128 + 128
            assert corner == sample == label == index
            views.add(view)
    assert views == {0.0, 1.0}


def test_one_pass_shows_each_sample_at_most_once_in_an_order_that_the_seed_decides() -> None:
    def order(seed: int) -> list[int]:
        return torch.cat([b.labels[0] for b in feed().batches(torch.Generator().manual_seed(seed))]).tolist()

    assert len(order(0)) == len(set(order(0))) == 8
    assert order(0) == order(0) != order(1)


@pytest.mark.parametrize(("n", "batch", "steps", "size"), [(10, 4, 2, 4), (3, 4, 1, 3), (4, 4, 1, 4)])
def test_steps(n: int, batch: int, steps: int, size: int) -> None:
    batches = list(feed(n, batch).batches(torch.Generator()))
    assert len(batches) == feed(n, batch).steps == steps
    assert {len(b.x) for b in batches} == {size}


def test_resolution_of_the_student() -> None:
    batch = next(feed(size=(2, 2)).batches(torch.Generator()))
    assert batch.x.shape == (4, 1, 2, 2) and batch.pixels.shape == (4, 4, 4, 1)


def test_labels_and_targets_of_several_tasks() -> None:
    x, y = np.zeros((6, 2, 2, 1), np.uint8), np.stack([np.arange(6) % 2, np.full(6, -1)], 1)
    heads = (Task("kind", ("a", "b")), Task("size", ("s", "m", "l")))
    both = Feed(Split(x, y), Views(), (np.zeros((1, 6, 2), np.float16), None), 3, (2, 2), heads)
    batch = next(both.batches(torch.Generator().manual_seed(0)))
    assert both.columns == (slice(0, 2), slice(2, 5))
    assert batch.teacher[1] is None and torch.equal(batch.labels[0], batch.indices % 2) and set(batch.labels[1].tolist()) == {-1}


def test_only_chosen_samples_are_shown_with_their_own_views_and_targets() -> None:
    some = replace(feed(), chosen=np.array([2, 5, 7, 9]))
    assert some.steps == 1
    (batch,) = some.batches(torch.Generator().manual_seed(0))
    assert sorted(batch.indices.tolist()) == [2, 5, 7, 9]
    assert batch.teacher[0] is not None and batch.teacher[0][:, 1].tolist() == batch.indices.tolist()


def test_weights_say_how_often_a_sample_is_drawn() -> None:
    weighted = replace(feed(n=10, batch=10), chosen=np.array([1, 2, 3]), weights=np.array([0.0, 1.0, 3.0]))
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([b.indices for _ in range(400) for b in weighted.batches(generator)])
    counts = torch.bincount(drawn, minlength=10)
    assert counts[1] == 0 and counts[[0, 4, 5]].sum() == 0
    assert 2.5 < counts[3] / counts[2] < 3.5
