"""Critics of training samples: each scores them, so that the worst are left out, or count less.

A small student has no room for samples that teach nothing. A critic decides what stays, as in symbolic knowledge distillation (West et al.
2022), where one that keeps the best part of a teacher's own texts gives a better student than all of them.
"""

from __future__ import annotations

import numpy as np

from edgekd.errors import InputError


def teacher_confidence(x: np.ndarray, teacher: np.ndarray, labels: np.ndarray, *, temperature: float = 1.0) -> np.ndarray:
    """The teacher's highest probability (Hendrycks and Gimpel 2017), at ``temperature``; float32 [N], from 1/classes to 1."""
    del x, labels
    return _probabilities(teacher, temperature, "teacher_confidence").max(1)


def agreement(x: np.ndarray, teacher: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """1 where the teacher's label is the given one, else 0: a label that a good teacher contradicts is often wrong (Northcutt et al.
    2021, Confident learning). Samples without a label agree with the teacher, whose label they have."""
    del x
    return (teacher.argmax(1) == labels).astype(np.float32)


def margin(x: np.ndarray, teacher: np.ndarray, labels: np.ndarray, *, temperature: float = 1.0) -> np.ndarray:
    """The teacher's probability of the given label minus that of the best other class, float32 [N]; 0 where another class is ahead.

    The margin of a sample (Schapire et al. 1998), as the teacher sees it.
    """
    del x
    p = _probabilities(teacher, temperature, "margin")
    rows = np.arange(len(p))
    own = p[rows, labels]
    p[rows, labels] = -np.inf
    return np.maximum(own - p.max(1), 0) if p.shape[1] > 1 else own


def _probabilities(logits: np.ndarray, temperature: float, critic: str) -> np.ndarray:
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 < temperature < float("inf"):
        raise InputError(f"temperature = {temperature!r}", where=f"critic {critic}", expected="a number above 0", mend="temperature = 1.0")
    values = logits.astype(np.float32) / temperature
    odds = np.exp(values - values.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)
