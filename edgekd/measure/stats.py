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


@dataclass(frozen=True)
class BlockMedian:
    """The median of what ``n`` blocks say, with its 95 % interval. ``effective``: how many independent blocks those are worth.

    ``settled`` is False where that is too few for 95 %: then the interval is nearly all that was seen, of three or fewer all.
    """

    n: int
    median: float
    low: float
    high: float
    effective: float
    settled: bool

    @property
    def width(self) -> float:
        """From end to end, relative to the median."""
        return (self.high - self.low) / abs(self.median) if self.median else 0.0


def autocorrelation_time(x: np.ndarray) -> float:
    """How many successive values of ``x`` [n] say as much as one that is independent, for the median; at least 1.

    The larger of two estimates, since so few values estimate it too low: of the signs around the median, which are all that it sees, sums
    of pairs of autocorrelations as long as they are positive (Geyer, Practical Markov Chain Monte Carlo, 1992, initial positive sequence);
    and (1 + r)/(1 − r) of the first autocorrelation r of signs, and of ranks where that is more than chance, as an autoregressive process
    has it. An outlier weighs no more than any other value.
    """
    n, signs = len(x), np.sign(x - np.median(x))
    energy = float(signs @ signs)
    if not energy or n < 4:
        return 1.0
    # Centred by the sample's own median, every correlation comes out lower by about 1/n.
    rho = np.array([float(signs[: n - k] @ signs[k:]) / energy + (1 / n if k else 0) for k in range(n)])
    total = 0.0
    for k in range(0, n - 1, 2):
        pair = rho[k] + rho[k + 1]
        if pair <= 0:
            break
        total += pair
    ranks = np.argsort(np.argsort(x, kind="stable")) - (n - 1) / 2
    first = _unbiased(float(signs[:-1] @ signs[1:]) / energy, n)
    second = _unbiased(float(ranks[:-1] @ ranks[1:]) / float(ranks @ ranks), n)
    if second > 2 / sqrt(n):
        first = max(first, second)
    return max(1.0, 2 * total - 1, (1 + first) / (1 - first))


def _unbiased(r: float, n: int) -> float:
    """A first autocorrelation, with what a series of ``n`` lacks on average put back (Marriott and Pope, 1954)."""
    return min(0.97, r + (1 + 4 * max(r, 0.0)) / n)


def block_median(blocks: list[float] | np.ndarray) -> BlockMedian:
    """The median of ``blocks``, in the order in which they were measured, with an interval that respects that neighbours are alike.

    Blocks worth m independent ones have the order statistics of m as their interval (``median_ranks``), at the same shares of the sample.
    Raises InputError for fewer than six blocks.
    """
    x = np.asarray(blocks, np.float64)
    if x.ndim != 1 or not np.isfinite(x).all():
        raise InputError("blocks that are no finite numbers", where="median interval")
    if len(x) < FEWEST:
        raise InputError(f"{len(x)} blocks", where="median interval", expected=f"at least {FEWEST}", mend="more repeats")
    n, effective, ordered = len(x), len(x) / autocorrelation_time(x), np.sort(x)
    m, median = floor(effective), float(np.median(x))
    if m >= FEWEST:
        share = (median_ranks(m)[0] + 1) / (m + 1)
    else:  # ever nearer to all that was seen; the share is that of six at six
        share = max(0.0, effective / FEWEST - 0.5) * 2 / (FEWEST + 1)
    k = max(0, floor(share * (n + 1) + 1e-9) - 1)
    return BlockMedian(n, median, float(ordered[k]), float(ordered[n - 1 - k]), float(effective), m >= FEWEST)
