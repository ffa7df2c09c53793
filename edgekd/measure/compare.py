"""Two models on one device, their blocks interleaved: by how much one is slower, and whether that is real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgekd.measure.device import Row
from edgekd.measure.protocol import Judged
from edgekd.measure.stats import FEWEST, block_median
from edgekd.records import Figure

#: Less than this is never called real: where the linker and the kernel happen to put code and data makes as much (Mytkowicz and others,
#: Producing Wrong Data Without Doing Anything Obviously Wrong!, 2009).
LEAST = 0.01


def compared(rows: Sequence[Row], judged: Sequence[Judged], where: str) -> tuple[tuple[Row, ...], dict[str, Figure], bool | None]:
    """Of one model its own figures. Of two ``latency_ratio``: the median of what each block of the second took, over what the block of the
    first beside it took, with its 95 % interval, and whether they differ; none, and None, where that cannot be said.

    Whatever slowed the device down in a round met both, so that it falls out. With fewer than ``FEWEST`` rounds in which neither was
    disturbed the second row is rejected.
    """
    if len(rows) == 1:
        return tuple(rows), dict(rows[0].measurement.figures), None
    (one, other), (a, b) = rows, judged
    if not (one.comparable and other.comparable):
        return (one, other), {}, None
    rounds = [key for key in a.rounds if key in b.rounds]
    if len(rounds) < FEWEST:
        why = f"others disturbed so much that only {len(rounds)} rounds can be compared, at least {FEWEST} are needed: more --seconds"
        why = f"{other.name}: rejected: {why}"
        return (one, replace(other, failed="; ".join(filter(None, (other.failed, why))))), {}, None
    found = block_median(np.log([b.rounds[key] / a.rounds[key] for key in rounds]))
    value, low, high = (float(np.exp(x)) for x in (found.median, found.low, found.high))
    ratio = Figure(value, "ratio", a.figures["latency_ms"].kind, f"{where}, paired rounds", n=found.n, low=low, high=high)
    return (one, other), {"latency_ratio": ratio}, different(ratio)


def different(ratio: Figure) -> bool:
    """Whether the interval holds no 1, and the ratio is off by at least ``LEAST``."""
    if ratio.low is None or ratio.high is None:
        return False
    return not ratio.low <= 1 <= ratio.high and abs(ratio.value - 1) >= LEAST
