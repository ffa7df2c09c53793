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
