from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.errors import InputError
from edgekd.recipe.schema import Teacher as Table
from edgekd.teachers.opened import About, Opened
from edgekd.teachers.reading import logits, reader

WAVE = np.array([[-32768, 0, 16384], [32767, 1, 2], [5, 5, 5]], np.int16)
LABELS = ("a", "b", "c")


class Same(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def table(**more: Any) -> Table:
    return Table(source="own:teacher", **more)


def test_integers_are_shares_of_their_range() -> None:
    found = logits(reader(Same(), table(), WAVE, LABELS), WAVE, bf16=False)
    assert found.dtype == np.float32 and found[0].tolist() == [-1, 0, 0.5]
    assert logits(reader(Same(), table(), WAVE, LABELS), (WAVE % 256).astype(np.uint8), bf16=False)[1, 0] == 1
    floats = WAVE.astype(np.float32)
    assert np.array_equal(logits(reader(Same(), table(), floats, LABELS), floats, bf16=False), floats)


def test_normalized_ordered_and_of_probabilities() -> None:
    found = logits(reader(Same(), table(mean=[0.5], std=[0.25], scale=2.0), WAVE, LABELS), WAVE, bf16=False)
    assert found[0].tolist() == [(-1 - 0.5) / 0.25 * 2, -4, 0]
    swapped = reader(Same(), table(labels=["c", "a", "b"]), WAVE, LABELS)
    assert logits(swapped, WAVE, bf16=False)[0].tolist() == [0, 0.5, -1]
    shares = np.array([[0.5, 0.25, 0.25]], np.float32)
    sure = reader(Same(), table(output="probabilities"), shares, LABELS)
    assert logits(sure, shares, bf16=False)[0] == pytest.approx(np.log([0.5, 0.25, 0.25]))
    assert reader(Same(), table(), WAVE, LABELS).settings != sure.settings


def test_progress_and_batches() -> None:
    seen: list[int] = []
    model = reader(Same(), table(), WAVE, LABELS)
    assert np.array_equal(logits(model, WAVE, batch=2, bf16=False, progress=seen.append), logits(model, WAVE, bf16=False))
    assert seen == [2, 3]


@pytest.mark.parametrize(
    ("body", "options", "message"),
    [
        (nn.Linear(3, 2), {}, r"(?s)answers \[3, 2\].*\[3, 3\]"),
        (nn.Linear(4, 3), {}, "raised RuntimeError"),
        (Same(), {"mean": [0.1, 0.2], "std": [1.0, 1.0]}, "a reading has no channels"),
        (Same(), {"labels": ["a", "b"]}, "2 labels for 3 outputs"),
        (Same(), {"output": "probabilities"}, "are no probabilities"),
        (Opened(lambda x: x, About("0" * 64, "onnxruntime 1")), {}, "onnxruntime 1 is fed images"),
    ],
)
def test_refused(body: nn.Module, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        reader(body, table(**options), WAVE, LABELS)
