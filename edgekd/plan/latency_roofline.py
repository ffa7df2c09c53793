"""Time on a processor with caches, by a roofline: an operator takes as long as its arithmetic or its bytes, the longer of them, and a call.

Williams, Waterman and Patterson, Roofline (CACM, 2009), with one ceiling of arithmetic a kind of work and one of bytes a level of memory.
Ceilings have wide priors, which hold for a core that computes 16 to 64 int8 products a cycle; what was measured on the same processor and
runtime moves them. So few rows leave a wide interval, and none no prediction at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgekd.plan.latency_cycles import COSTS, amounts
from edgekd.plan.latency_fit import Posterior, most_probable
from edgekd.plan.latency_work import Work

#: Parameter → (middle, standard deviation). All but the exponent of threads are logarithms: of nanoseconds a multiply-accumulate of a
#: convolution, of what other kinds cost relative to that, of nanoseconds a byte from each level, a call and an inference.
_UNIT = {"convolution": (np.log(0.02), 1.5)}
_KINDS = {"stem": 2.0, "depthwise": 4.0, "fully_connected": 1.0, "column": 0.3, "output": 2.0, "pool": 2.0, "elementwise": 3.0, "copy": 1.0}
LEVELS = {"first": 0.01, "second": 0.02, "last": 0.05, "memory": 0.12}
_OVERHEAD = {"call": 1000.0, "inference": 5000.0}
_THREADS = {"threads": (0.8, 0.15)}
_KIND_SD, _LEVEL_SD, _OVERHEAD_SD = 0.5, 0.5, 1.0
PRIOR: dict[str, tuple[float, float]] = {
    **_UNIT,
    **{kind: (float(np.log(cost)), _KIND_SD) for kind, cost in _KINDS.items()},
    **{level: (float(np.log(ns)), _LEVEL_SD) for level, ns in LEVELS.items()},
    **{name: (float(np.log(ns)), _OVERHEAD_SD) for name, ns in _OVERHEAD.items()},
    **_THREADS,
}
#: Of the logarithm of a network about the roofline of others: what is assumed, how many networks that assumption is worth, and in how
#: many parts at most networks are left out to see.
NOISE, WORTH, PARTS = 0.4, 4, 8
_AT = {name: i for i, name in enumerate(PRIOR)}
_COMPUTED = tuple(name for name in COSTS if name != "call")
#: Sizes of the first, second and last cache of a processor of which they are not known.
CACHES = (32_768, 1_048_576, 8_388_608)


@dataclass(frozen=True)
class Timed:
    """One measured inference: ``caches`` are the bytes of the first (data), second and last level."""

    work: Work
    threads: int
    latency_ms: float
    caches: tuple[int, int, int] = CACHES


@dataclass(frozen=True)
class Roofline:
    """Fitted to ``rows``, all of one processor and runtime."""

    rows: tuple[Timed, ...]

    @cached_property
    def posterior(self) -> Posterior:
        return _fit(self.rows, self.noise)

    @cached_property
    def noise(self) -> float:
        """Standard deviation, of the logarithm, of a network about the roofline of others: assumed, and seen by leaving networks out."""
        works = list(dict.fromkeys(row.work for row in self.rows))
        squares = []
        for part in range(min(len(works), PARTS) if len(works) > 1 else 0):
            out = set(works[part::PARTS])
            parameters = _fit([row for row in self.rows if row.work not in out], NOISE).mean
            for row in self.rows:
                if row.work in out:
                    foretold = _nanoseconds(row.work, row.threads, row.caches, parameters)[0].sum()
                    squares.append(np.log(row.latency_ms * 1e6 / foretold) ** 2)
        return float(np.sqrt((WORTH * NOISE**2 + np.sum(squares)) / (WORTH + len(squares))))

    def predict(self, work: Work, threads: int, caches: tuple[int, int, int] = CACHES) -> tuple[np.ndarray, float]:
        """Milliseconds of each operator (what an inference costs beside them spread evenly), and the interval's ratio as Cycles has it."""
        spent, slopes = _nanoseconds(work, threads, caches, self.posterior.mean)
        slope = slopes / spent.sum()
        variance = self.noise**2 + float(slope @ self.posterior.covariance @ slope)
        own = spent[:-1] + spent[-1] / max(len(work.ops), 1)
        return own / 1e6, float(np.exp(_deviations(WORTH + len(self.rows)) * np.sqrt(variance)))


def roofline(rows: Sequence[Timed]) -> Roofline:
    """Fits ``rows``, at least one."""
    return Roofline(tuple(rows))


def _fit(rows: Sequence[Timed], noise: float) -> Posterior:
    """Residuals are normal: a processor may lie so far from the prior that every row of it would pass for one that lies far off."""
    mean, sd = (np.array(column) for column in zip(*PRIOR.values(), strict=True))
    y = np.log([row.latency_ms * 1e6 for row in rows])

    def forward(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = [_nanoseconds(row.work, row.threads, row.caches, parameters) for row in rows]
        return np.log([spent.sum() for spent, _ in found]), np.array([slopes / spent.sum() for spent, slopes in found])

    return most_probable(forward, mean, sd, y, noise, freedom=np.inf)


def _deviations(freedom: int) -> float:
    """The 95 % quantile of Student's t, by the expansion of Cornish and Fisher (1938): within 1 % from four degrees of freedom on."""
    z = 1.6449
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _nanoseconds(work: Work, threads: int, caches: tuple[int, int, int], parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each operator and, last, of the inference [operators + 1]; and the derivatives of their sum [parameters]."""
    unit, exponent = parameters[_AT["convolution"]], parameters[_AT["threads"]]
    relative = np.array([0.0 if kind == "convolution" else parameters[_AT[kind]] for kind in _COMPUTED])
    table = amounts(work)
    done = table[:, [list(COSTS).index(kind) for kind in _COMPUTED]]
    each = done * np.exp(relative + unit - exponent * np.log(threads))
    level, moved = _traffic(work, caches)
    bytes_ns = moved * np.exp(parameters[[_AT[name] for name in level]]) if level else moved
    computes = each.sum(1) >= bytes_ns
    calls = table[:, list(COSTS).index("call")] * np.exp(parameters[_AT["call"]])
    inference = float(np.exp(parameters[_AT["inference"]]))
    slopes = np.zeros(len(PRIOR))
    bound = each[computes]
    slopes[_AT["convolution"]] = bound.sum()
    slopes[_AT["threads"]] = -np.log(threads) * bound.sum()
    for kind, spent in zip(_COMPUTED, bound.sum(0), strict=True):
        if kind != "convolution":
            slopes[_AT[kind]] = spent
    for name, spent in zip(level, np.where(computes, 0, bytes_ns), strict=True):
        slopes[_AT[name]] += spent
    slopes[_AT["call"]], slopes[_AT["inference"]] = calls.sum(), inference
    return np.append(np.where(computes, each.sum(1), bytes_ns) + calls, inference), slopes


def _traffic(work: Work, caches: tuple[int, int, int]) -> tuple[list[str], np.ndarray]:
    """Of each operator, the level that all its bytes fit in, and how many they are. Weights come from the level that holds all of them."""
    weights = sum(op.weight_bytes for op in work.ops)
    names = tuple(LEVELS)
    levels, moved = [], []
    for op in work.ops:
        total = op.weight_bytes + op.input_bytes + op.output_bytes
        held = max(total, weights if op.weight_bytes > op.input_bytes + op.output_bytes else 0)
        levels.append(names[sum(held > size for size in caches)])
        moved.append(0.0 if op.kind == "none" else float(total))
    return levels, np.array(moved)
