"""Series that drift, and those that only look like it."""

from __future__ import annotations

import numpy as np
import pytest

from edgekd.measure.drift import drift


def wandering(rng: np.random.Generator, phi: float, n: int = 40) -> np.ndarray:
    x, noise = np.zeros(n + 200), rng.normal(size=n + 200)
    for i in range(1, n + 200):
        x[i] = phi * x[i - 1] + noise[i] * (1 - phi * phi) ** 0.5
    return 100 + x[200:]


def test_a_device_that_heats_up_is_found_and_by_how_much() -> None:
    rng = np.random.default_rng(0)
    found = drift(np.linspace(100, 110, 40) + rng.normal(size=40))
    assert found.real and found.p < 1e-6 and found.change == pytest.approx(10 / 105, abs=0.02)
    assert drift(np.linspace(110, 100, 40) + rng.normal(size=40)).change < 0


@pytest.mark.parametrize(("phi", "most"), [(0.0, 0.03), (0.5, 0.05), (0.8, 0.08)])
def test_false_alarms_are_rare_even_where_neighbours_are_alike(phi: float, most: float) -> None:
    rng = np.random.default_rng(2)
    alarms = sum(drift(wandering(rng, phi)).p < 0.01 for _ in range(300))
    assert alarms <= most * 300, f"{alarms} of 300"


def test_outliers_make_no_drift() -> None:
    x = 100 + np.random.default_rng(3).normal(size=40) * 0.1
    x[-3:] = 300
    assert not drift(x).real


def test_little_is_not_real_and_few_blocks_say_nothing() -> None:
    assert not drift(np.linspace(100, 101, 40)).real, "1 % is below what matters"
    assert drift(np.linspace(1, 2, 7)).p == 1 and drift(np.full(40, 3.0)).p == 1
