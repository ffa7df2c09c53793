from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.losses.soft_targets import soft_targets
from edgekd.teachers.top_k import TopK, dense, largest, rest, row_type


def softmax(logits: np.ndarray, temperature: float) -> np.ndarray:
    odds = np.exp((logits - logits.max(-1, keepdims=True)) / temperature)
    return odds / odds.sum(-1, keepdims=True)


def answers(seed: int, n: int = 16, classes: int = 40, spread: float = 3.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, (n, classes)).astype(np.float32)


def test_the_largest_and_what_the_others_come_to() -> None:
    rows = largest(np.array([[1, 5, -2, 3, 0]], np.float32), 2)
    assert rows["logits"].tolist() == [[5, 3]] and rows["classes"].tolist() == [[1, 3]]
    assert rows["rest"][0] == pytest.approx(np.log(np.exp(1) + np.exp(-2) + 1))
    np.testing.assert_allclose(dense(rows, 5)[0, [0, 2, 4]], rows["rest"][0] - np.log(3))


def test_of_equals_the_first_classes_stay_on_every_machine() -> None:
    logits = np.array([[0.0, 2, -0.0, 2, 0.0], [1, 1, 1, 1, 1], [-1, -3, -2, -3, -9]], np.float32)
    assert largest(logits, 3)["classes"].tolist() == [[1, 3, 0], [0, 1, 2], [0, 2, 1]]


def test_bytes_a_sample() -> None:
    assert row_type(8, 1000).itemsize == 4 * 8 + 4 and row_type(8, 70_000).itemsize == 6 * 8 + 4
    many = np.zeros((1, 70_000), np.float32)
    many[0, 69_999] = 1
    assert largest(many, 2)["classes"].tolist() == [[69_999, 0]]


def test_read_like_the_dense_array() -> None:
    rows = np.stack([largest(answers(n), 5) for n in range(2)])
    found = TopK(rows, 40)
    every = dense(rows, 40)
    assert found.shape == every.shape == (2, 16, 40) and len(found) == 2 and found.stored == 5 and every.dtype == np.float32
    views, samples = np.array([0, 1, 1]), np.array([3, 3, 9])
    assert np.array_equal(found[views, samples], every[views, samples]) and np.array_equal(found[:, samples], every[:, samples])
    assert np.array_equal(found[0], every[0])


def test_at_temperature_1_nothing_but_rounding_is_lost() -> None:
    logits = answers(0)
    rows = largest(logits, 6)
    given_back, told = softmax(dense(rows, 40), 1), softmax(logits, 1)
    # A logit z is rounded by |z|/2048 at most, and the logarithm of a probability moves by twice that.
    bound = 2 * np.abs(logits).max() / 2048
    best = rows["classes"].astype(int)
    ratio = np.take_along_axis(given_back, best, 1) / np.take_along_axis(told, best, 1)
    assert np.abs(np.log(ratio)).max() <= bound
    np.testing.assert_allclose(rest(rows, 40, 1), 1 - np.take_along_axis(told, best, 1).sum(1), atol=bound)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 39), st.floats(1, 50), st.floats(0.01, 20))
def test_the_total_variation_is_at_most_the_others_share(seed: int, k: int, temperature: float, spread: float) -> None:
    logits = answers(seed, spread=spread)
    rows = largest(logits, k)
    given_back, told = softmax(dense(rows, 40).astype(np.float64), temperature), softmax(logits.astype(np.float64), temperature)
    rounding = 2 * np.abs(logits).max() / 2048 / temperature
    apart, share = np.abs(given_back - told).sum(1) / 2, rest(rows, 40, temperature)
    assert (apart <= share + rounding).all()
    own = 1 - np.take_along_axis(told, rows["classes"].astype(int), 1).sum(1)
    assert (share >= own - rounding).all(), "never too small"


@pytest.mark.parametrize(("temperature", "most"), [(1.0, 0.002), (2.0, 0.04), (4.0, 0.3)])
def test_the_loss_of_soft_targets(temperature: float, most: float) -> None:
    """Of a sure teacher of 1000 classes: gradients with 32 of them stored, relative to those with all."""
    rng = np.random.default_rng(1)
    logits = answers(1, 32, 1000, 1.0)
    for row in logits:
        row[rng.choice(1000, 20, replace=False)] += rng.uniform(4, 14, 20)
    gradients = []
    for teacher in (logits, dense(largest(logits, 32), 1000)):
        student = torch.from_numpy(answers(2, 32, 1000, 1.0)).requires_grad_()
        soft_targets(student, torch.from_numpy(teacher), torch.zeros(32, dtype=torch.long), temperature=temperature).backward()
        assert student.grad is not None
        gradients.append(student.grad)
    assert float((gradients[1] - gradients[0]).norm() / gradients[0].norm()) < most
