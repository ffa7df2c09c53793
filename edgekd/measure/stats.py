"""Statistics of latencies: skewed, with outliers, so medians and order statistics; no normal distribution is assumed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import comb, floor, sqrt

import numpy as np

from edgekd.errors import InputError

#: Below this many samples no pair of order statistics covers the median with 95 % (1 − 2·0.5⁵ = 93.75 %).
FEWEST = 6


@dataclass(frozen=True)
class Summary:
    """``low`` and ``high`` are the 95 % interval of the median; ``outliers`` lie over 3.5 robust deviations from it."""

    n: int
    median: float
    low: float
    high: float
    p90: float
    mad: float
    outliers: int

    @property
    def width(self) -> float:
        """Largest distance of the interval's ends from the median, relative to it."""
        return max(self.high - self.median, self.median - self.low) / self.median if self.median else 0.0


@cache
def median_ranks(n: int) -> tuple[int, int]:
    """Ranks (from 0) of the order statistics that hold the median of any continuous distribution with at least 95 %.

    The number of samples below the median is Bin(n, ½), so the k-th smallest and k-th largest miss it with 2·P(Bin ≤ k − 1).
    David and Nagaraja, Order Statistics (3rd ed., 2003), section 7.1. Raises InputError for n < 6.
    """
    if n < FEWEST:
        raise InputError(f"{n} repeats", where="median interval", expected=f"at least {FEWEST}")
    if n > 1000:  # the normal limit, one rank wider: exact tails of so many take longer than what is timed
        k = floor(n / 2 - 0.98 * sqrt(n)) - 1
        return k, n - 1 - k
    tail, k = 0, 0
    while 40 * (tail + comb(n, k)) <= 2**n:
        tail += comb(n, k)
        k += 1
    return k - 1, n - k


def summarize(samples: list[float] | np.ndarray) -> Summary:
    """Median with its 95 % interval, 90th percentile (Hyndman and Fan, 1996, type 7), MAD and outliers by the rule of
    Iglewicz and Hoaglin (1993): 0.6745·|x − median| / MAD > 3.5. Outliers are counted, never dropped.
    """
    x = np.sort(np.asarray(samples, np.float64))
    if x.ndim != 1 or not np.isfinite(x).all():
        raise InputError("samples that are no finite numbers", where="median interval")
    low, high = median_ranks(len(x))
    median = float(np.median(x))
    away = np.abs(x - median)
    mad = float(np.median(away))
    outliers = int((0.6745 * away > 3.5 * mad).sum()) if mad else 0
    return Summary(len(x), median, float(x[low]), float(x[high]), float(np.quantile(x, 0.9)), mad, outliers)
