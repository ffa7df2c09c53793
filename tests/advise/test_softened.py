"""Entropy of softened logits, against values that are known."""

from __future__ import annotations

import numpy as np
import pytest

from edgekd.advise.softened import COLDEST, HOTTEST, entropy, softmax, temperature_for


def test_probabilities_and_entropy_by_hand():
    logits = np.log(np.array([[0.5, 0.25, 0.25], [1.0, 1.0, 1.0]]))
    np.testing.assert_allclose(softmax(logits), [[0.5, 0.25, 0.25], [1 / 3] * 3])
    np.testing.assert_allclose(entropy(logits), [1.5 * np.log(2), np.log(3)])
    # Temperature 2 takes square roots of odds.
    root = np.sqrt([0.5, 0.25, 0.25])
    np.testing.assert_allclose(softmax(logits[0], 2), root / root.sum())


def test_large_logits_stay_finite():
    logits = np.array([[60000.0, -60000.0], [0.0, 0.0]], np.float16)
    assert entropy(logits).tolist() == [0.0, pytest.approx(np.log(2))]


def test_temperature_for_a_share_of_entropy():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 8, (300, 10))
    for share in (0.1, 0.5, 0.9):
        found = temperature_for(logits, share)
        assert entropy(logits, found).mean() == pytest.approx(share * np.log(10), rel=1e-6), share
    # Twice the logits want twice the temperature.
    assert temperature_for(2 * logits, 0.5) == pytest.approx(2 * temperature_for(logits, 0.5), rel=1e-6)


def test_the_ends():
    assert temperature_for(np.zeros((4, 3)), 0.5) == COLDEST
    assert temperature_for(np.eye(3) * 1e7, 0.5) == HOTTEST
