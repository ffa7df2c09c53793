"""Figures of boards: their intervals respect that neighbours are alike."""

from __future__ import annotations

import numpy as np

from edgekd.measure.serial_figures import latency


def width(seconds: np.ndarray) -> float:
    figure = latency(seconds, "a board")["latency_ms"]
    assert figure.low is not None
    assert figure.high is not None
    return figure.high - figure.low


def test_inferences_that_get_slower_together_are_worth_fewer() -> None:
    rng = np.random.default_rng(0)
    walk = 1e-3 * (1 + 0.01 * np.sin(np.arange(400) / 40) + 0.0001 * rng.random(400))
    assert width(walk) > 3 * width(rng.permutation(walk))


def test_a_board_that_always_takes_the_same_has_no_width() -> None:
    assert width(np.full(100, 2e-3)) == 0
    assert "latency_p90_ms" not in latency(np.full(5, 2e-3), "a board")
