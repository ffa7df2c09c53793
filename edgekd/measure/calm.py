"""What a model takes where nobody disturbs it, from several processes on a machine that does other work. Pure functions of their times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekd.measure.timing import Timed

#: A ruler that is longer than the shortest ones (this quantile of them, over all processes) by more than LONGER was disturbed.
SHORTEST, LONGER = 0.01, 1.05
#: Of a process's inferences that nobody was seen to disturb, the share that is faster than what counts: what is not seen of others (caches,
#: memory) makes times longer and never shorter, so that the median would follow them. Alone, both differ by half a percent.
FASTER = 0.25
#: A process counts with so many inferences that nobody disturbed, and so many processes that count are wanted.
ENOUGH, WANTED = 8, 3
#: Processes that lie further apart than this, relative to the middle one, are too few.
APART = 0.03
#: Nearest ends of the interval, relative to the median: sessions on a machine of two cores under a load of four differ by up to
#: 3 %, because where pages and code lie is drawn anew for each process, and the clock is not always the same.
NEAREST = 0.03


@dataclass(frozen=True)
class Calm:
    """Seconds of an inference that nobody disturbed: the ``median`` of what each process says. ``low`` and ``high`` are what the processes
    saw (where fewer than WANTED count, the disturbed ones too), and NEAREST at least: where another session's figure is to be expected.
    ``n`` inferences of ``processes`` count, ``share`` of all.

    ``settled``: enough processes count, and they agree. ``by_cpu``: these are seconds of the processor, because every inference was
    interrupted. ``ruler``: seconds of the shortest rulers. They tell two sessions on one machine apart of which one was disturbed from
    beginning to end, which no session can see by itself.
    """

    median: float
    low: float
    high: float
    p90: float
    n: int
    processes: int
    share: float
    settled: bool
    by_cpu: bool
    ruler: float


def calm(processes: Sequence[Timed]) -> Calm:
    """Of at least one process with one inference or more."""
    ruler = float(np.quantile(np.concatenate([one.ruler for one in processes]), SHORTEST))
    level = LONGER * ruler
    quiet = [one.seconds[~one.switched & (one.ruler <= level)] for one in processes]
    counted = [times for times in quiet if len(times) >= ENOUGH]
    by_cpu = not counted
    if by_cpu:  # long inferences on a busy machine: none is left alone, but time that others had is not in the processor's
        quiet = [one.cpu[one.ruler <= level] for one in processes]
        counted = [times for times in quiet if len(times) >= ENOUGH] or [one.cpu for one in processes]
    each = np.array([np.quantile(times, FASTER) for times in counted])
    middle = float(np.median(each))
    # Of fewer than are wanted nobody knows how far they lie apart: what the disturbed ones took bounds them from above.
    seen = each if len(each) >= WANTED else [np.quantile(one.cpu if by_cpu else one.seconds, FASTER) for one in processes]
    low, high = min(float(each.min()), middle * (1 - NEAREST)), max(float(np.max(seen)), float(each.max()), middle * (1 + NEAREST))
    times = np.concatenate(counted)
    agreed = len(each) >= WANTED and float(each.max() - each.min()) <= APART * middle
    everything = sum(len(one.seconds) for one in processes)
    p90 = float(np.quantile(times, 0.9))
    return Calm(middle, low, high, p90, len(times), len(each), len(times) / everything, agreed, by_cpu, ruler)
