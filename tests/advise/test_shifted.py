"""Two samples of one source, and of two: what the tests say, and that permutations hold their level."""

from __future__ import annotations

import numpy as np
import pytest

from edgekd.advise.shifted import MOST, energy_test, image_features, label_test


def test_energy_by_hand():
    """2 E|a − b| − E|a − a'| − E|b − b'| of standardized numbers, by plain loops."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (12, 1)), rng.normal(1, 1, (9, 1))
    both = np.concatenate([a, b])
    u, v = (a - both.mean()) / both.std(), (b - both.mean()) / both.std()

    def mean(x: np.ndarray, y: np.ndarray) -> float:
        return sum(abs(float(i) - float(j)) for i in x[:, 0] for j in y[:, 0]) / len(x) / len(y)

    found = energy_test(a, b, ("number",))
    assert found.statistic == pytest.approx(2 * mean(u, v) - mean(u, u) - mean(v, v))
    within = np.sqrt((a.var() * 12 + b.var() * 9) / 21)
    assert found.effect == pytest.approx(abs(b.mean() - a.mean()) / within) and found.largest == "number"


def test_one_source_and_two():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, (300, 3)), rng.normal(0, 1, (200, 3))
    names = ("first", "second", "third")
    assert energy_test(a, b, names).p > 0.05
    found = energy_test(a, b + np.array([0, 0.6, 0]), names)
    assert found.p == pytest.approx(1 / 500) and found.largest == "second" and 0.4 < found.effect < 0.8, found
    # The same mean, another spread: no effect by Cohen's d, and yet seen.
    assert energy_test(a, 3 * b, names).p == pytest.approx(1 / 500)


def test_permutations_hold_their_level():
    rng = np.random.default_rng(2)
    found = [energy_test(rng.normal(0, 1, (30, 2)), rng.normal(0, 1, (30, 2)), ("a", "b"), seed).p for seed in range(60)]
    assert sum(p < 0.1 for p in found) <= 14, found  # 6 expected; above 14 once in a thousand


def test_features_that_do_not_vary():
    found = energy_test(np.zeros((5, 2)), np.zeros((7, 2)), ("a", "b"))
    assert found.p == 1.0 and found.effect == 0.0


def test_at_most_so_many():
    rng = np.random.default_rng(3)
    found = energy_test(rng.normal(size=(MOST + 50, 1)), rng.normal(size=(10, 1)), ("a",))
    assert (found.n, found.m) == (MOST, 10)


def test_labels():
    found = label_test(np.array([50, 50]), np.array([20, 5]), ("a", "b"))
    assert found.effect == found.statistic == pytest.approx(0.3) and found.largest == "a" and found.p < 0.05
    same = label_test(np.array([40, 40]), np.array([10, 10]), ("a", "b"))
    assert same.statistic == 0 and same.p == 1.0 and (same.n, same.m) == (80, 20)


def test_image_features_by_hand():
    x = np.zeros((2, 2, 4, 1), np.uint8)
    x[1, :, 3] = 255
    found, names = image_features(x)
    row = dict(zip(names, found[1], strict=True))
    assert row["mean of channel 0"] == pytest.approx(0.25) and row["contrast of channel 0"] == pytest.approx(np.sqrt(0.25 * 0.75))
    assert row["steps across"] == pytest.approx(1 / 3) and row["steps down"] == 0
    assert row["dark pixels"] == 0.75 and row["bright pixels"] == 0.25
    assert row["centre across"] == pytest.approx(1.0, abs=1e-5) and row["centre down"] == pytest.approx(0.5, abs=1e-5)
    assert np.isfinite(found).all(), "an image that is black all over has no centre, but a number"
    assert image_features(np.zeros((1, 1, 1, 3), np.uint8))[0].shape == (1, 12)
