"""Calibration error computed by hand, and judged on teachers whose calibration is known."""

from __future__ import annotations

import numpy as np
import pytest

from edgekd.advise.calibration import BINS, best_temperature, calibration
from edgekd.advise.softened import softmax


def calibrated(n: int, classes: int, seed: int, *, spread: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits [n, classes], and labels that are drawn from their softmax."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (n, classes))
    y = (softmax(logits).cumsum(1) < rng.random((n, 1))).sum(1)
    return logits, np.minimum(y, classes - 1)


def two_classes(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits [N, 2] that call everything class 0 with that probability, and the labels."""
    return np.stack([np.log(confidence), np.log(1 - confidence)], 1), np.where(right, 0, 1)


def test_error_by_hand():
    # Of 15 bins: (8/15, 9/15] has four of 0.55, two right: |0.5 − 0.55| · 4. (14/15, 1] has six of 0.95, all right: |1 − 0.95| · 6.
    confidence = np.array([0.55] * 4 + [0.95] * 6)
    whole, _ = calibration(*two_classes(confidence, np.array([1, 1, 0, 0] + [1] * 6)))
    assert BINS == 15 and whole.error == pytest.approx((0.05 * 4 + 0.05 * 6) / 10)
    # Within one bin errors of either sign make up for each other.
    whole, _ = calibration(*two_classes(np.array([0.54, 0.59]), np.array([0, 1])))
    assert whole.error == pytest.approx(abs(1 - 1.13) / 2)


def test_error_against_loops():
    rng = np.random.default_rng(1)
    confidence, right = rng.uniform(0.5, 1, 500), rng.random(500) < 0.7
    total = 0.0
    for at in range(BINS):
        low, high = at / BINS, (at + 1) / BINS
        inside = [i for i in range(500) if low < confidence[i] <= high]
        if inside:
            accuracy = sum(right[i] for i in inside) / len(inside)
            total += len(inside) / 500 * abs(accuracy - sum(confidence[i] for i in inside) / len(inside))
    assert calibration(*two_classes(confidence, right))[0].error == pytest.approx(total)


def test_certain_and_right_is_no_error():
    assert calibration(np.array([[800.0, 0.0]] * 5), np.zeros(5, np.int64))[0].error == 0.0


def test_calibrated_teachers_are_within_chance():
    found = []
    for seed in range(30):
        logits, y = calibrated(300, 5, seed)
        whole, each = calibration(logits, y, seed)
        found.append((whole.p, min(c.p for c in each if c)))
        assert whole.n == 300 == sum(c.n for c in each if c)
    for place in (0, 1):
        # 3 expected below a tenth; above 8 three times in a thousand. Of classes it is the smallest p of all that must hold.
        assert sum(p[place] < 0.1 for p in found) <= 8, found


def test_an_overconfident_teacher_is_not():
    logits, y = calibrated(3000, 5, 3)
    whole, _ = calibration(3 * logits, y)
    assert whole.p == pytest.approx(1 / 501) and whole.error > 2 * whole.chance_high and whole.gap > 0.05, whole


def test_one_class_alone():
    """Sure of class 0 with 99 % where 60 % is right, calibrated elsewhere."""
    rng = np.random.default_rng(4)
    logits, y = calibrated(4000, 4, 4)
    own = rng.random(4000) < 0.2
    logits[own] = np.log([0.97, 0.01, 0.01, 0.01])
    y[own] = np.where(rng.random(own.sum()) < 0.6, 0, 1)
    _, each = calibration(logits, y)
    assert each[0] is not None and each[0].p < 0.01 and each[0].gap > 0.05, each[0]
    assert all(c is not None and c.p > 0.05 for c in each[1:]), each


def test_a_class_that_is_never_named_has_no_calibration():
    logits = np.tile([2.0, 1.0, -3.0], (50, 1))
    _, each = calibration(logits, np.zeros(50, np.int64))
    assert each[0] is not None and each[1] is None and each[2] is None


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.5])
def test_best_temperature_undoes_a_factor(factor: float):
    logits, y = calibrated(6000, 6, 5)
    found, low, high = best_temperature(factor * logits, y)
    assert low < factor < high and low < found < high, (found, low, high)
    assert high / low < 1.2


def test_best_temperature_is_a_minimum():
    logits, y = calibrated(500, 4, 6)
    logits = 2 * logits

    def loss(temperature: float) -> float:
        return -np.log(softmax(logits, temperature)[np.arange(500), y]).mean()

    found, *_ = best_temperature(logits, y)
    assert loss(found) < min(loss(found * 1.01), loss(found / 1.01))


def test_best_temperature_at_its_ends():
    # Always right: the colder the better. Labels that have nothing to do with the logits, of equal shares: the hotter the better.
    right = np.eye(3)[np.arange(30) % 3] * 5
    found, low, high = best_temperature(right, np.arange(30) % 3)
    assert found == pytest.approx(0.01, rel=0.01) and low < found < high
    found, _, high = best_temperature(right, (np.arange(30) + 1) % 3)
    assert found == pytest.approx(1000, rel=0.01) and high == 1000
