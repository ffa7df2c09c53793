"""Whether a series of blocks drifts, as a device does that heats up."""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np

from edgekd.measure.stats import autocorrelation_time

#: A drift is said to be there at this probability of a false alarm, and from this change on, relative to the median.
ALPHA, LEAST = 0.01, 0.02


@dataclass(frozen=True)
class Drift:
    """``change`` from the first block to the last, relative to the median; ``p``: how probable so much order is without any drift."""

    change: float
    p: float

    @property
    def real(self) -> bool:
        return self.p < ALPHA and abs(self.change) >= LEAST


def drift(blocks: list[float] | np.ndarray) -> Drift:
    """The test of Mann (1945) and Kendall, its variance corrected for autocorrelation by Hamed and Rao (1998), and the slope of Theil
    (1950) and Sen (1968). ``blocks`` in the order of time; fewer than eight say nothing (p = 1).
    """
    x = np.asarray(blocks, np.float64)
    n = len(x)
    if n < 8 or np.ptp(x) == 0:
        return Drift(0.0, 1.0)
    i, j = np.triu_indices(n, 1)
    slope = float(np.median((x[j] - x[i]) / (j - i)))
    middle = float(np.median(x))
    change = slope * (n - 1) / abs(middle) if middle else 0.0
    s = float(np.sign(x[j] - x[i]).sum())
    _, ties = np.unique(x, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    variance *= _correction(x - slope * np.arange(n))
    z = max(0.0, abs(s) - 1) / sqrt(variance) if variance > 0 else 0.0
    return Drift(change, erfc(z / sqrt(2)))


def _correction(rest: np.ndarray) -> float:
    """What autocorrelation of ``rest`` [n], the series without its trend, multiplies the variance with; at least 1."""
    n = len(rest)
    ranks = np.argsort(np.argsort(rest)).astype(np.float64)
    ranks -= ranks.mean()
    energy = float(ranks @ ranks)
    k = np.arange(1, n - 2)
    rho = np.array([float(ranks[: n - lag] @ ranks[lag:]) / energy for lag in k])
    rho = np.where(np.abs(rho) > 1.96 / sqrt(n), rho, 0.0)
    found = 1 + 2 / (n * (n - 1) * (n - 2)) * float(((n - k) * (n - k - 1) * (n - k - 2) * rho).sum())
    return max(1.0, found, autocorrelation_time(rest))  # so few values estimate it too low
