from __future__ import annotations

from math import comb

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.measure.stats import block_median, median_ranks, summarize


@pytest.mark.parametrize("n", [6, 7, 10, 30, 101, 999, 1001, 5000])
def test_ranks_cover_the_median_with_95_percent_and_no_wider_pair_is_needed(n: int) -> None:
    low, high = median_ranks(n)
    assert low + high == n - 1
    missed = 2 * sum(comb(n, i) for i in range(low + 1)) / 2**n  # the median lies outside the pair
    assert missed <= 0.05
    if n <= 1000:
        assert 2 * sum(comb(n, i) for i in range(low + 2)) / 2**n > 0.05


def test_known_ranks() -> None:
    assert median_ranks(6) == (0, 5)
    assert median_ranks(100) == (39, 60)  # the 40th and 61st, as printed tables have it


def test_coverage_on_a_skewed_distribution() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(500):
        s = summarize(rng.lognormal(size=40))
        hits += s.low <= 1.0 <= s.high
    assert hits / 500 >= 0.93


def test_summary() -> None:
    s = summarize([1.0] * 10 + [1.1] * 10 + [50.0])
    assert (s.n, s.median, s.p90, s.outliers) == (21, 1.1, 1.1, 1)
    assert s.width == pytest.approx(0.1 / 1.1)
    assert summarize([2.0] * 6).outliers == 0
    with pytest.raises(InputError, match="at least 6"):
        summarize([1.0] * 5)
    with pytest.raises(InputError, match="no finite numbers"):
        summarize([1.0, float("nan")] * 5)


def series(kind: str, rng: np.random.Generator, n: int = 40) -> np.ndarray:
    """Blocks of a median of 100, each kind of trouble that a device makes."""
    calm = rng.normal(size=n)
    if kind == "calm":
        return 100 + calm
    if kind.startswith("correlated"):
        phi, x = float(kind.split()[1]), np.zeros(n + 200)
        noise = rng.normal(size=n + 200)
        for i in range(1, n + 200):
            x[i] = phi * x[i - 1] + noise[i] * (1 - phi * phi) ** 0.5
        return 100 + x[200:]
    if kind == "processes":  # ten of four blocks each, every one a little faster or slower than the others
        return 100 + np.repeat(rng.normal(size=n // 4) * 2, 4) + calm
    if kind == "contaminated":  # as many too low as too high: the median stays
        return 100 + np.where(rng.random(n) < 0.2, 50 * rng.standard_cauchy(n), calm)
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["calm", "correlated 0.3", "correlated 0.6", "correlated 0.8", "processes", "contaminated"])
def test_the_interval_of_blocks_holds_the_median_19_times_of_20(kind: str) -> None:
    rng, hits = np.random.default_rng(1), 0
    for _ in range(300):
        found = block_median(series(kind, rng))
        assert found.low <= found.median <= found.high
        hits += found.low <= 100 <= found.high
    assert hits >= 0.93 * 300, f"{kind}: {hits} of 300"


def test_independent_blocks_have_about_the_interval_of_their_ranks() -> None:
    rng, widths, exact = np.random.default_rng(0), [], []
    for _ in range(200):
        x = rng.normal(size=40)
        low, high = median_ranks(40)
        found = block_median(x)
        widths.append(found.high - found.low)
        exact.append(np.sort(x)[high] - np.sort(x)[low])
        assert widths[-1] >= exact[-1]
    assert np.mean(widths) < 1.35 * np.mean(exact)


def test_what_moves_slowly_is_worth_few_blocks_and_says_so() -> None:
    ramp = block_median(np.linspace(100, 120, 40))
    assert not ramp.settled and ramp.effective < 3 and (ramp.low, ramp.high) == (100, 120)
    step = block_median(np.r_[np.full(20, 100.0), np.full(20, 130.0)] + np.linspace(0, 1e-3, 40))
    assert step.high - step.low > 25, "the interval must hold both halves"


def test_blocks_that_are_all_the_same() -> None:
    found = block_median(np.full(10, 5.0))
    assert (found.median, found.low, found.high, found.width) == (5, 5, 5, 0)


def test_too_few_blocks_are_refused() -> None:
    with pytest.raises(InputError, match="5 blocks"):
        block_median([1.0] * 5)
    with pytest.raises(InputError, match="no finite numbers"):
        block_median([1.0] * 5 + [float("nan")])
