"""Whether two samples come from the same source: tests that hold at any sample size, with what differs and by how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PERMUTATIONS = 499
#: Samples a side of a test on distances, which takes memory with the square of them.
MOST = 1000


@dataclass(frozen=True)
class TwoSample:
    """``statistic`` of ``n`` against ``m`` samples; ``p`` is the share of permutations in which it is at least as large.

    ``effect`` says how much it matters, in ``unit``; ``largest`` names what differs most.
    """

    statistic: float
    p: float
    n: int
    m: int
    effect: float
    unit: str
    largest: str


def energy_test(a: np.ndarray, b: np.ndarray, names: tuple[str, ...], seed: int = 0) -> TwoSample:
    """Energy distance (Székely and Rizzo 2013) of features ``a`` [n, F] and ``b`` [m, F], standardized together; ``names`` [F].

    ``effect`` is the largest difference of means in standard deviations (Cohen's d); ``p`` from permutations of the samples.
    """
    rng = np.random.default_rng(seed)
    a, b = (x[rng.permutation(len(x))[:MOST]].astype(np.float64) for x in (a, b))
    n, m = len(a), len(b)
    both = np.concatenate([a, b])
    spread = both.std(0)
    both = (both - both.mean(0)) / np.where(spread > 1e-12, spread, 1.0)
    square = (both**2).sum(1)
    distance = np.sqrt(np.maximum(square[:, None] + square - 2 * both @ both.T, 0.0))
    side = np.concatenate([np.full(n, 1 / n), np.full(m, -1 / m)])
    signs = np.stack([side, *(rng.permutation(side) for _ in range(PERMUTATIONS))], axis=1)
    found = -(signs * (distance @ signs)).sum(0)
    within = np.sqrt((a.var(0) * n + b.var(0) * m) / (n + m))
    d = (b.mean(0) - a.mean(0)) / np.where(within > 1e-12, within, np.inf)
    at = int(np.abs(d).argmax())
    p = (1 + int((found[1:] >= found[0] - 1e-12).sum())) / (1 + PERMUTATIONS)
    return TwoSample(float(found[0]), p, n, m, float(abs(d[at])), "sd", names[at])


def label_test(a: np.ndarray, b: np.ndarray, names: tuple[str, ...], seed: int = 0) -> TwoSample:
    """Counts of labels ``a`` and ``b`` int [C]: half the sum of the differences of shares (total variation), permuted exactly."""
    rng, n, m = np.random.default_rng(seed), int(a.sum()), int(b.sum())
    drawn = rng.multivariate_hypergeometric(a + b, m, size=PERMUTATIONS)
    others = (a + b) - drawn
    distances = 0.5 * np.abs(drawn / m - others / n).sum(1)
    difference = b / m - a / n
    found, at = float(0.5 * np.abs(difference).sum()), int(np.abs(difference).argmax())
    p = (1 + int((distances >= found - 1e-12).sum())) / (1 + PERMUTATIONS)
    return TwoSample(found, p, n, m, found, "share", names[at])


def image_features(x: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Simple statistics of 8-bit samples [N, H, W, C]: float64 [N, F] and their names, in parts of the full range or of a side."""
    pixels = x.astype(np.float32) / 255
    grey = pixels.mean(3)
    mass = grey.sum((1, 2)) + 1e-6
    columns = {f"mean of channel {c}": pixels[..., c].mean((1, 2)) for c in range(x.shape[3])}
    columns |= {f"contrast of channel {c}": pixels[..., c].std((1, 2)) for c in range(x.shape[3])}
    columns |= {
        "steps across": np.abs(np.diff(grey, axis=2)).mean((1, 2)) if grey.shape[2] > 1 else mass * 0,
        "steps down": np.abs(np.diff(grey, axis=1)).mean((1, 2)) if grey.shape[1] > 1 else mass * 0,
        "dark pixels": (x <= 7).mean((1, 2, 3)),
        "bright pixels": (x >= 248).mean((1, 2, 3)),
        "centre across": (grey.sum(1) @ np.linspace(0, 1, grey.shape[2], dtype=np.float32)) / mass,
        "centre down": (grey.sum(2) @ np.linspace(0, 1, grey.shape[1], dtype=np.float32)) / mass,
    }
    return np.stack([np.asarray(v, np.float64) for v in columns.values()], axis=1), tuple(columns)
