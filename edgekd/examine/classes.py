"""Accuracy class by class, from counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgekd.quant.compare import Share
from edgekd.records import Figure

Counts = tuple[tuple[int, ...], ...]


def confusion(y: np.ndarray, answers: np.ndarray, classes: int) -> Counts:
    """How many samples of each true class (rows, ``y`` int [N]) got each answer (columns, ``answers`` int [N])."""
    counts = np.bincount(y * classes + answers, minlength=classes * classes).reshape(classes, classes)
    return tuple(tuple(int(n) for n in row) for row in counts)


def recalls(counts: Counts) -> tuple[Share | None, ...]:
    """Of each true class the share that is answered right; None for a class without samples."""
    return tuple(Share(row[i], sum(row)) if sum(row) else None for i, row in enumerate(counts))


def worst_class(counts: Counts, labels: Sequence[str], where: str) -> Figure:
    """The lowest of the classes' accuracies, with the interval (Wilson 1927) of that class alone; ``where`` is followed by its label.

    Of equal ones the class with more samples counts, which is known better; then the first.
    """
    known = [(share, label) for share, label in zip(recalls(counts), labels, strict=True) if share is not None]
    share, label = min(known, key=lambda one: (one[0].value, -one[0].n))
    return replace(share.figure(where), where=f"{where}; class {label}")
