from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.train.critics import agreement, margin, teacher_confidence

X = np.zeros((3, 2, 2, 1), np.uint8)
LOGITS = np.array([[2, 0, 1], [0, 3, 0], [1, 1, 5]], np.float32)
LABELS = np.array([0, 0, 2])


def softmax(row: np.ndarray, temperature: float) -> list[float]:
    odds = [math.exp(v / temperature) for v in row]
    return [o / sum(odds) for o in odds]


@pytest.mark.parametrize("temperature", [1.0, 3.0, 2])
def test_against_the_formula(temperature: float) -> None:
    rows = [softmax(row, temperature) for row in LOGITS]
    assert teacher_confidence(X, LOGITS, LABELS, temperature=temperature) == pytest.approx([max(row) for row in rows])
    ahead = [max(0.0, row[label] - max(p for c, p in enumerate(row) if c != label)) for row, label in zip(rows, LABELS, strict=True)]
    assert margin(X, LOGITS, LABELS, temperature=temperature) == pytest.approx(ahead)
    assert ahead[1] == 0 < ahead[0]


def test_agreement() -> None:
    assert agreement(X, LOGITS, LABELS).tolist() == [1, 0, 1]


def test_large_logits_and_a_single_class() -> None:
    large = np.array([[6e4, -6e4], [0, 0]], np.float32)
    assert teacher_confidence(X[:2], large, np.array([0, 0])).tolist() == [1, 0.5]
    assert margin(X[:2], large, np.array([0, 1])).tolist() == [1, 0]
    assert margin(X[:1], np.array([[3.0]]), np.array([0])).tolist() == [1]


@pytest.mark.parametrize("critic", [teacher_confidence, margin])
@pytest.mark.parametrize("temperature", [0, -1.0, float("inf"), float("nan"), "1", True])
def test_no_temperature(critic: Callable[..., np.ndarray], temperature: object) -> None:
    with pytest.raises(InputError, match=rf"(?s)critic {critic.__name__}: temperature = .*above 0"):
        critic(X, LOGITS, LABELS, temperature=temperature)
