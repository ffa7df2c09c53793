"""What an exported file costs on this host: latency, peak memory, bytes; each figure says what was measured, where, and how surely."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from edgekd import host
from edgekd.errors import InputError
from edgekd.lazy import load
from edgekd.measure.calm import WANTED, Calm, calm
from edgekd.measure.memory import resident_growth
from edgekd.measure.timing import Timed, time_once
from edgekd.records import Figure, Measurement

#: Seconds that one process times, and processes at most: more are started until those that were left alone are enough and agree.
_EACH_S, _MOST = 0.2, 9
#: Share of inferences that nobody disturbed below which it is said how many were.
_BUSY = 0.2


@dataclass(frozen=True)
class Task:
    """What to measure: the file at ``path`` in ``runtime``, opened by ``opener`` ("module:function"), on one sample ``x`` [1, ...].

    ``device`` is the target's name; ``emulated``: the runtime stands in for a device that this host is not
    (TFLM for a microcontroller).
    """

    device: str
    runtime: str
    opener: str
    path: Path
    x: np.ndarray
    emulated: bool = False


def measure(task: Task, *, time_limit_s: float = 10.0, accuracies: Mapping[str, Figure] = MappingProxyType({})) -> Measurement:
    """Latency of batch 1 in one thread, peak memory, file size, and ``accuracies`` as verification found them in the same runtime.

    Latency is measured on this host and says so: in fresh processes one after the other, of inferences that nobody disturbed, so that a
    machine that does other work gives the same figure another time; its interval is where another session's is to be expected.
    ``host_ruler_us`` is what a fixed piece of work took beside it: how fast this machine was then. Peak
    memory is TFLM's arena for TFLM (what a microcontroller needs, computed here: emulated), else the resident growth of a fresh process.
    Raises InputError or EdgekdError if the file cannot be opened or run.
    """
    if not task.path.is_file():
        raise InputError("there is no such file", where=str(task.path), expected=f"an exported file for {task.runtime}")
    found, runtime = latency(task, time_limit_s)
    where = f"{host.host()}, {runtime}"
    # No counts: where a figure was taken decides what it may be compared with.
    said = f"{where}, seconds of the processor" if found.by_cpu else where
    size = sum(path.stat().st_size for path in files_of(task.path))
    ms = found.median * 1e3
    figures = {
        "latency_ms": Figure(ms, "ms", "measured", said, n=found.n, low=found.low * 1e3, high=found.high * 1e3),
        "latency_p90_ms": Figure(found.p90 * 1e3, "ms", "measured", said, n=found.n),
        "host_ruler_us": Figure(found.ruler * 1e6, "us", "measured", host.host(), n=found.n),
        "model_bytes": Figure(size, "B", "counted", "file"),
        "peak_ram_bytes": _peak_ram(task, where),
    }
    figures |= {name: replace(figure, kind="emulated" if task.emulated else figure.kind) for name, figure in accuracies.items()}
    return Measurement(task.path.name, task.device, figures, _notes(task, found))


def latency(task: Task, time_limit_s: float) -> tuple[Calm, str]:
    """Processes of _EACH_S, WANTED at least, until enough of them were left alone and agree, or ``time_limit_s`` is spent; what they say,
    and the runtime's name. Raises EdgekdError if one dies."""
    began, done = time.monotonic(), list[Timed]()
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        sample = Path(folder) / "x.npy"
        np.save(sample, task.x)
        while True:
            done.append(time_once(task.opener, task.path, sample, seconds=min(_EACH_S, time_limit_s)))
            found = calm(done)
            late = time.monotonic() - began > time_limit_s or len(done) >= _MOST
            if len(done) >= WANTED and (found.settled or late):
                return found, done[0].where


def _notes(task: Task, found: Calm) -> tuple[str, ...]:
    said = f"latency: of {found.n} inferences in {found.processes} processes that nobody was seen to disturb"
    notes = [f"{said}; the interval is where another session's is expected"]
    if not found.settled:
        spread = (found.high - found.low) / found.median
        few = f"only {found.processes} of the processes were left alone" if found.processes < WANTED else "the processes disagree"
        notes.append(f"latency: {few}, so that the interval is {spread:.0%} wide; this host is busy")
    if found.by_cpu:
        notes.append("latency: every inference was interrupted; these are seconds of the processor, without those that others had")
    elif found.share < _BUSY:
        notes.append(f"latency: {1 - found.share:.0%} of the inferences were disturbed and do not count")
    if task.emulated:
        notes.append(f"latency: of this host, which is no {task.device}")
    return tuple(notes)


def files_of(path: Path) -> tuple[Path, ...]:
    """The file and what belongs to it: the weights beside an OpenVINO IR."""
    weights = path.with_suffix(".bin")
    return (path, weights) if path.suffix == ".xml" and weights.is_file() else (path,)


def _peak_ram(task: Task, where: str) -> Figure:
    if task.runtime == "tflm":
        arena = load(f"{task.opener.partition(':')[0]}:arena_bytes")(task.path)
        return Figure(arena.total, "B", "emulated", f"{where}, arena with 64-bit pointers")
    middle, low, high = resident_growth(task.opener, task.path, task.x.shape[1:], str(task.x.dtype))
    return Figure(middle, "B", "measured", f"{where}, resident growth: median and extremes of 3 processes", n=3, low=low, high=high)
