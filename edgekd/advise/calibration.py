"""Whether a teacher's confidence is worth what it says: calibration error overall and a class, and the temperature that mends it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekd.advise.softened import COLDEST, HOTTEST, softmax

BINS = 15
#: Simulations of a calibrated teacher, and resamplings.
DRAWS = 500


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error of a group of ``n`` samples; ``low`` and ``high`` are its 95 % bootstrap interval.

    A finite sample shows an error of a calibrated teacher too: ``chance`` is its mean, ``chance_high`` its 95th percentile, for the same
    confidences; ``p`` is how often it is at least as large as what was found (for classes: as the largest of all classes).
    ``gap`` is mean confidence minus accuracy: above 0 for an overconfident teacher.
    """

    n: int
    error: float
    low: float
    high: float
    chance: float
    chance_high: float
    p: float
    gap: float


def calibration(logits: np.ndarray, y: np.ndarray, seed: int = 0) -> tuple[Calibration, tuple[Calibration | None, ...]]:
    """Calibration over all samples, and over those that the teacher calls each class (top-label: Gupta and Ramdas 2022), None where none.

    ``logits`` [N, C], ``y`` int64 [N]. The error is the mean, over samples, of |accuracy − mean confidence| of the bin (Naeini et al.
    2015; Guo et al. 2017), of BINS bins of equal width of the top-1 probability, closed above. Judged against labels that are drawn
    from the teacher's own confidence (consistency resampling: Bröcker and Smith 2007); classes together, by the largest standardized
    error among them (Westfall and Young 1993).
    """
    classes = logits.shape[1]
    p, named = softmax(logits), logits.argmax(1)
    confidence, right = p.max(1), (named == y).astype(np.float64)
    rng = np.random.default_rng(seed)
    whole = _against_chance(confidence, right, np.zeros(len(y), np.int64), 1, rng)
    each = _against_chance(confidence, right, named, classes, rng)
    return whole[0], tuple(c if c.n else None for c in each)


def _against_chance(
    confidence: np.ndarray, right: np.ndarray, group: np.ndarray, groups: int, rng: np.random.Generator
) -> list[Calibration]:
    """One Calibration a group; ``group`` int64 [N]."""
    cell = group * BINS + _bins(confidence)
    n = np.bincount(group, minlength=groups)
    some = np.maximum(n, 1)

    def errors(residual: np.ndarray, cells: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        sums = np.bincount(cells, residual, minlength=groups * BINS)
        return np.abs(sums).reshape(groups, BINS).sum(1) / sizes

    found = errors(right - confidence, cell, some)
    chance, again = np.empty((DRAWS, groups)), np.empty((DRAWS, groups))
    for draw in range(DRAWS):
        chance[draw] = errors((rng.random(len(confidence)) < confidence) - confidence, cell, some)
        picked = rng.integers(0, len(confidence), len(confidence))
        sizes = np.maximum(np.bincount(group[picked], minlength=groups), 1)
        again[draw] = errors((right - confidence)[picked], cell[picked], sizes)
    mean, spread = chance.mean(0), np.maximum(chance.std(0), 1e-12)
    largest = ((chance - mean) / spread)[:, n > 0].max(1)
    p = (1 + (largest[:, None] >= (found - mean) / spread).sum(0)) / (1 + DRAWS)
    low, high = np.quantile(again, (0.025, 0.975), axis=0)
    over = np.quantile(chance, 0.95, axis=0)
    gap = np.bincount(group, confidence - right, minlength=groups) / some
    rows = zip(n.tolist(), *(v.tolist() for v in (found, low, high, mean, over, p, gap)), strict=True)
    return [Calibration(*row) for row in rows]


def best_temperature(logits: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """The temperature of the smallest negative log-likelihood of ``y`` [N] (Guo et al. 2017), and its 95 % interval.

    The likelihood is convex in 1/T, so bisection on its slope finds it, within COLDEST to HOTTEST. The interval is the usual one of an
    estimate from N samples (sandwich variance of White 1982), carried over to log T.
    """
    z = logits.astype(np.float64)
    z = z - z.max(1, keepdims=True)
    own = z[np.arange(len(y)), y]

    def slopes(inverse: float) -> np.ndarray:
        return (softmax(z, 1 / inverse) * z).sum(1) - own

    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(50):
        middle = float(np.sqrt(low * high))
        if slopes(middle).mean() < 0:
            low = middle
        else:
            high = middle
    inverse = float(np.sqrt(low * high))
    p, slope = softmax(z, 1 / inverse), slopes(inverse)
    curvature = float(((p * z**2).sum(1) - (p * z).sum(1) ** 2).mean())
    if curvature <= 0 or high >= 1 / COLDEST or low <= 1 / HOTTEST:
        return 1 / inverse, COLDEST, HOTTEST  # at an end: no sample tells more
    wide = 1.959964 * float(np.sqrt((slope**2).mean() / len(y))) / curvature / inverse
    return 1 / inverse, float(np.exp(-wide)) / inverse, float(np.exp(wide)) / inverse


def _bins(confidence: np.ndarray) -> np.ndarray:
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
