from __future__ import annotations

from math import comb

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.measure.stats import median_ranks, summarize


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
