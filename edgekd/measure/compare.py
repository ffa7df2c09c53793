"""Two models on one device, their blocks interleaved: by how much one is slower, and whether that is real."""

from __future__ import annotations

import numpy as np

from edgekd.errors import InputError
from edgekd.measure.protocol import Judged
from edgekd.measure.stats import block_median
from edgekd.records import Figure

#: Less than this is never called real: where the linker and the kernel happen to put code and data makes as much (Mytkowicz and others,
#: Producing Wrong Data Without Doing Anything Obviously Wrong!, 2009).
LEAST = 0.01


def compared(a: Judged, b: Judged, where: str) -> dict[str, Figure]:
    """``latency_ratio``: the median of what each block of ``b`` took, over what the block of ``a`` beside it took, with its 95 % interval.

    Whatever slowed the device down in a round met both, so that it falls out. Raises InputError for fewer than six rounds.
    """
    rounds = [key for key in a.rounds if key in b.rounds]
    ratios = np.log([b.rounds[key] / a.rounds[key] for key in rounds])
    if len(ratios) < 6:
        raise InputError(f"{len(ratios)} rounds", where="comparison", expected="at least 6", mend="more seconds")
    found = block_median(ratios)
    value, low, high = (float(np.exp(x)) for x in (found.median, found.low, found.high))
    return {"latency_ratio": Figure(value, "ratio", a.figures["latency_ms"].kind, f"{where}, paired rounds", n=found.n, low=low, high=high)}


def different(ratio: Figure) -> bool:
    """Whether the interval holds no 1, and the ratio is off by at least ``LEAST``."""
    if ratio.low is None or ratio.high is None:
        return False
    return not ratio.low <= 1 <= ratio.high and abs(ratio.value - 1) >= LEAST
