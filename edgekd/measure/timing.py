"""One process that opens a model, warms it up, and times it; each inference between two lengths of a ruler.

The ruler is a few microseconds of the same work: it is longer where another core, another clock or an interruption slows this one down.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekd.errors import EdgekdError
from edgekd.lazy import load
from edgekd.measure.child import ask, tell

#: Inferences that a process times at least, and those that it tells of at most: of more, every second, third …
FEWEST, KEPT = 30, 1500
_RULER = 300


@dataclass(frozen=True, eq=False)
class Timed:
    """What one process took, inference by inference [N]: ``seconds`` of the clock, ``cpu`` of the processor, the longer ``ruler`` of the
    two beside it, and whether the kernel ``switched`` to another process meanwhile. ``where`` names the runtime."""

    seconds: np.ndarray
    cpu: np.ndarray
    ruler: np.ndarray
    switched: np.ndarray
    where: str


def time_once(opener: str, path: Path, sample: Path, *, seconds: float, time_limit_s: float = 60.0) -> Timed:
    """A fresh process: ``path`` opened by ``opener`` ("module:function") in one thread, timed for ``seconds`` on the .npy file ``sample``.

    Raises EdgekdError, naming the file, if the process dies or takes over ``time_limit_s`` longer than that.
    """
    order = {"opener": opener, "path": str(path), "sample": str(sample), "seconds": seconds}
    found = ask("edgekd.measure.timing", order, "time", limit_s=seconds + time_limit_s)
    took, cpu, ruler = (np.asarray(found[name], np.float64) for name in ("seconds", "cpu", "ruler"))
    return Timed(took, cpu, ruler, np.asarray(found["switched"], bool), found["where"])


def _ruler() -> float:
    at = time.perf_counter()
    for _ in range(_RULER):
        pass
    return time.perf_counter() - at


def _switches() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def run(run_once: Callable[[], object], seconds: float) -> dict[str, list[float]]:
    """``run_once`` again and again, a quarter of ``seconds`` to warm up and then for so long, FEWEST times at least."""
    clock, cpu_clock = time.perf_counter, time.process_time
    began = clock()
    run_once()
    while clock() - began < seconds / 4:
        run_once()
    taken: dict[str, list[float]] = {name: [] for name in ("seconds", "cpu", "ruler", "switched")}
    began, before, switches = clock(), _ruler(), _switches()
    while len(taken["seconds"]) < FEWEST or clock() - began < seconds:
        cpu, at = cpu_clock(), clock()
        run_once()
        took, worked = clock() - at, cpu_clock() - cpu
        after, now = _ruler(), _switches()
        for name, value in (("seconds", took), ("cpu", worked), ("ruler", max(before, after)), ("switched", float(now != switches))):
            taken[name].append(value)
        before, switches = after, now
    every = -(-len(taken["seconds"]) // KEPT)
    return {name: values[::every] for name, values in taken.items()}


def main(order: dict[str, object]) -> None:
    runner = load(str(order["opener"]))(Path(str(order["path"])), threads=1)
    x = np.load(str(order["sample"]))
    found = run(lambda: runner.run(x), float(str(order["seconds"])))
    tell({**found, "where": runner.where})


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except EdgekdError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
