"""Figures of a board at a serial port, from what it counted and answered."""

from __future__ import annotations

import numpy as np

from edgekd.measure import stats
from edgekd.measure.device import Subject
from edgekd.quant import compare
from edgekd.quant.outputs import parts
from edgekd.records import Figure


def latency(seconds: np.ndarray, where: str) -> dict[str, Figure]:
    """Of each inference [N]: the median, with its interval from 6 on, and the 90th percentile."""
    if len(seconds) < stats.FEWEST:
        return {"latency_ms": Figure(float(np.median(seconds)) * 1e3, "ms", "measured", where, n=len(seconds))}
    s = stats.block_median(seconds)
    return {
        "latency_ms": Figure(s.median * 1e3, "ms", "measured", where, n=s.n, low=s.low * 1e3, high=s.high * 1e3),
        "latency_p90_ms": Figure(float(np.quantile(seconds, 0.9)) * 1e3, "ms", "measured", where, n=s.n),
    }


def accuracies(subject: Subject, got: np.ndarray, where: str) -> dict[str, Figure]:
    """Of the samples that were done, [N, …] of all outputs; none without labels."""
    if subject.y is None:
        return {}
    labels, flat = subject.y[: len(got)].reshape(len(got), -1), got.reshape(len(got), -1)
    figures: dict[str, Figure] = {}
    for at, (name, part) in enumerate(parts(subject.graph).items()):
        key = "accuracy" if at == 0 and len(subject.graph.outputs) == 1 else f"accuracy_{name}"
        figures[key] = compare.accuracy(flat[:, part], labels[:, at]).figure(f"{where}, {subject.inputs}")
    return figures
