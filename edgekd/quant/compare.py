"""How far two sets of outputs agree: bits, LSB, top-1, accuracy. Pure NumPy; ``a`` and ``b`` are [N, ...] of the same shape."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from edgekd.errors import InputError
from edgekd.records import Figure


@dataclass(frozen=True)
class Share:
    """``count`` of ``n``, with the 95 % interval of Wilson (1927), which holds at 0 and 1 too, where the plain one has no width."""

    count: int
    n: int

    @property
    def value(self) -> float:
        return self.count / self.n

    @property
    def interval(self) -> tuple[float, float]:
        return self.wilson(1.959964)

    def wilson(self, z: float) -> tuple[float, float]:
        """The interval whose two ends are each missed with the probability that a normal variable exceeds ``z``."""
        p, n = self.value, self.n
        centre, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        # An endpoint that is 0 or 1 by algebra must not miss it by rounding.
        low = 0.0 if self.count == 0 else (centre - half) / (1 + z * z / n)
        return low, 1.0 if self.count == n else (centre + half) / (1 + z * z / n)

    def figure(self, where: str) -> Figure:
        """The measured share with its interval; ``where`` as in Figure."""
        low, high = self.interval
        return Figure(self.value, "share", "measured", where, n=self.n, low=low, high=high)


@dataclass(frozen=True)
class Equality:
    """Bit-equal ``outputs`` (single numbers) and ``samples`` (equal in all their numbers)."""

    outputs: Share
    samples: Share

    @property
    def whole(self) -> bool:
        return self.outputs.count == self.outputs.n


def bit_equal(a: np.ndarray, b: np.ndarray) -> Equality:
    """Share of outputs, and of whole samples, that are equal in every bit (so −0.0 is not 0.0, and equal NaNs are equal)."""
    _same(a, b)
    bits = np.dtype(f"u{a.dtype.itemsize}")
    equal = (np.ascontiguousarray(a).view(bits) == np.ascontiguousarray(b).view(bits)).reshape(len(a), -1)
    return Equality(Share(int(equal.sum()), equal.size), Share(int(equal.all(1).sum()), len(equal)))


def histogram(a: np.ndarray, b: np.ndarray) -> dict[int, int]:
    """Difference a − b in LSB → number of outputs, in rising order. Integers only."""
    _same(a, b)
    if a.dtype.kind not in "iu":
        raise InputError(f"a histogram of {a.dtype} differences", where="compare", expected="integers, which alone have an LSB")
    values, counts = np.unique(a.astype(np.int64) - b.astype(np.int64), return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}


def top1(outputs: np.ndarray) -> np.ndarray:
    """Index of the largest output of each sample, int64 [N]; ties go to the lowest index."""
    return np.argmax(outputs.reshape(len(outputs), -1), axis=1)


def top1_agreement(a: np.ndarray, b: np.ndarray) -> Share:
    """Samples for which ``a`` and ``b`` name the same class."""
    _same(a, b, dtypes=False)
    return Share(int((top1(a) == top1(b)).sum()), len(a))


def accuracy(outputs: np.ndarray, y: np.ndarray) -> Share:
    """Samples whose top-1 is their label ``y`` [N]."""
    if y.shape != (len(outputs),) or not len(y):
        raise InputError(f"{len(outputs)} outputs, labels of shape {y.shape}", where="compare", expected="one label a sample, one at least")
    return Share(int((top1(outputs) == y).sum()), len(y))


def _same(a: np.ndarray, b: np.ndarray, *, dtypes: bool = True) -> None:
    if a.shape != b.shape or a.size == 0 or (dtypes and a.dtype != b.dtype):
        raise InputError(
            f"{a.dtype} {a.shape} against {b.dtype} {b.shape}", where="compare", expected="the same shape and dtype, not empty"
        )
