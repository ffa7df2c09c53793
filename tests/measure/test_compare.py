"""Whether two models differ, from the runner's blocks."""

from __future__ import annotations

import numpy as np

from edgekd.measure import protocol
from edgekd.measure.compare import compared, different
from edgekd.records import Figure
from tests.measure.results import block, model, result


def ratio(slower: float, seed: int) -> Figure:
    """Of two models on a device that wavers by 5 % from round to round, which meets both, and each by itself by 2 %."""
    rng = np.random.default_rng(seed)
    wavers = 1 + 0.05 * np.repeat(rng.normal(size=10), 4)
    a, b = ([block(1e-3 * both * (1 + 0.02 * rng.normal()) * by, rng) for both in wavers] for by in (1, slower))
    models = model(a, "a"), model(b, "b")
    judged = [protocol.judged(result(*models), one, "a device") for one in models]
    return compared(judged[0], judged[1], "a device")["latency_ratio"]


def test_the_same_model_is_not_different_and_a_slowdown_is() -> None:
    assert sum(different(ratio(1.0, seed)) for seed in range(30)) <= 3
    assert sum(different(ratio(1.1, seed)) for seed in range(30)) >= 29
    assert sum(different(ratio(0.9, seed)) for seed in range(30)) >= 29


def test_the_ratio_has_its_interval() -> None:
    found = ratio(1.1, 0)
    assert found.low is not None and found.high is not None and found.low < 1.1 < found.high
    assert found.high - found.low < 0.06, "what wavers in both falls out"


def test_less_than_a_percent_is_never_called_real() -> None:
    assert not different(Figure(1.005, "ratio", "measured", "", low=1.004, high=1.006))
    assert different(Figure(1.02, "ratio", "measured", "", low=1.01, high=1.03))
    assert not different(Figure(1.02, "ratio", "measured", "", low=0.99, high=1.03))
