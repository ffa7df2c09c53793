"""Sources of data that only benchmarks want."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from edgekd.data import spoken_digits
from edgekd.data.dataset import Dataset


def labelled_digits(*, task: Literal["digit", "speaker", "both"] = "digit", labelled: float) -> Dataset:
    """``spoken_digits`` with nothing in training but the clips that keep their labels, repeated until there are as many as before."""
    return labelled_alone(spoken_digits.load(task=task, labelled=labelled))


def labelled_alone(data: Dataset) -> Dataset:
    """``data`` without its unlabelled training samples; the others are repeated in turn, so that a pass is as long as before."""
    chosen = np.flatnonzero(data.train.classes() >= 0)
    return replace(data, train=data.train.take(np.resize(chosen, len(data.train))))
