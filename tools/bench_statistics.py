"""What the benchmarks over several seeds say of a list of figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation and the 95 % interval of Student's t; without the last three for a single value."""
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return {"n": n, "mean": mean, "sd": None, "low": None, "high": None, "each": list(values)}
    sd = float(np.std(values, ddof=1))
    half = float(stats.t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
    return {"n": n, "mean": mean, "sd": sd, "low": mean - half, "high": mean + half, "each": list(values)}


def median_interval(values: Sequence[float]) -> dict[str, Any]:
    """Median, and the interval between two order statistics that holds it with 95 % at least, of six values or more.

    The number of values below the median is binomial, whatever their distribution (Conover 1999, Practical Nonparametric Statistics, 3.2).
    """
    n, ordered = len(values), np.sort(np.asarray(values, float))
    if n < 6:
        raise ValueError(f"{n} values: six are the fewest whose smallest and largest hold the median with 95 %")
    low = int(np.count_nonzero(stats.binom.cdf(np.arange(n), n, 0.5) <= 0.025)) - 1
    return {"n": n, "median": float(np.median(ordered)), "low": float(ordered[low]), "high": float(ordered[n - 1 - low])}
