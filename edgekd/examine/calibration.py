"""Whether a model's probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekd.records import Bin

#: Bins of equal width, as Guo et al. 2017 have them (On calibration of modern neural networks), who use 15.
BINS = 10


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of logits [N, classes], float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    return powers / powers.sum(axis=1, keepdims=True)


def normalized(values: np.ndarray) -> np.ndarray:
    """Probabilities [N, classes] whose rows sum to 1 again after rounding; rows of nothing but zeros say nothing: all classes alike."""
    positive = np.maximum(values.astype(np.float64), 0)
    sums = positive.sum(axis=1, keepdims=True)
    return np.where(sums > 0, positive / np.where(sums > 0, sums, 1), 1 / values.shape[1])


def calibration(confidence: np.ndarray, right: np.ndarray) -> tuple[Bin, ...]:
    """BINS over 0…1 of ``confidence`` [N], each answer's probability; ``right`` bool [N]. The last bin holds 1 as well."""
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    found = []
    for i in range(BINS):
        mine = place == i
        n = int(mine.sum())
        found.append(Bin(i / BINS, (i + 1) / BINS, n, int(right[mine].sum()), float(confidence[mine].mean()) if n else 0.0))
    return tuple(found)


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error (Guo et al. 2017): how far confidence and accuracy lie apart in a bin, over all samples."""
    return sum(abs(one.correct - one.n * one.confidence) for one in bins) / max(1, sum(one.n for one in bins))
