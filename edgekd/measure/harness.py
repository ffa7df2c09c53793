"""What an exported file costs on this host: latency, peak memory, bytes; each figure says what was measured, where, and how surely."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from edgekd import host
from edgekd.errors import InputError
from edgekd.lazy import load
from edgekd.measure import stats
from edgekd.measure.memory import resident_growth
from edgekd.records import Figure, Measurement

#: The interval is looked at first after so many repeats, and then each time that there are half as many again: looking often, and stopping
#: when it happens to be narrow, would make it cover less than it says.
_FIRST_LOOK, _MOST = 50, 20_000


@dataclass(frozen=True)
class Latency:
    """Seconds of one inference, summarized; ``settled`` is False where the time limit came before the wanted width."""

    summary: stats.Summary
    warmup: int
    settled: bool


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


def latency(run_once: Callable[[], object], *, warmup: int = 5, target_width: float = 0.05, time_limit_s: float = 10.0) -> Latency:
    """Time ``run_once`` until the 95 % interval of the median lies within ``target_width`` of it, or until ``time_limit_s`` is spent.

    Warm-up: batches of ``warmup`` calls, until the median of one is no longer over 5 % below that of the one before, for at most a quarter
    of the time limit. Raises InputError where the limit does not suffice for six repeats.
    """
    if warmup < 1 or not 0 < target_width < 1 or time_limit_s <= 0:
        raise InputError(f"warmup {warmup}, width {target_width}, limit {time_limit_s}", where="latency", expected="≥ 1, 0 to 1, > 0")
    began = time.perf_counter()
    warmed, before = 0, float("inf")
    while True:
        median = float(np.median([_time(run_once) for _ in range(warmup)]))
        warmed += warmup
        if median > 0.95 * before or time.perf_counter() - began > time_limit_s / 4:
            break
        before = median
    samples: list[float] = []
    look = _FIRST_LOOK
    while time.perf_counter() - began < time_limit_s and len(samples) < _MOST:
        samples.append(_time(run_once))
        if len(samples) == look:
            look += look // 2
            summary = stats.summarize(samples)
            if summary.width <= target_width:
                return Latency(summary, warmed, True)
    if len(samples) < stats.FEWEST:
        raise InputError(
            f"{len(samples)} inferences in {time_limit_s:g} s",
            where="latency",
            expected=f"at least {stats.FEWEST}",
            mend="a longer time limit",
        )
    summary = stats.summarize(samples)
    return Latency(summary, warmed, summary.width <= target_width)


def measure(
    task: Task,
    *,
    target_width: float = 0.05,
    time_limit_s: float = 10.0,
    accuracies: Mapping[str, Figure] = MappingProxyType({}),
) -> Measurement:
    """Latency of batch 1 in one thread, peak memory, file size, and ``accuracies`` as verification found them in the same runtime.

    Latency is measured on this host and says so. Peak memory is TFLM's arena for TFLM (what a microcontroller needs, computed here:
    emulated), else the resident growth of a fresh process. Raises InputError or EdgekdError if the file cannot be opened or run.
    """
    if not task.path.is_file():
        raise InputError("there is no such file", where=str(task.path), expected=f"an exported file for {task.runtime}")
    runner = load(task.opener)(task.path, threads=1)
    try:
        timed = latency(lambda: runner.run(task.x), target_width=target_width, time_limit_s=time_limit_s)
        where = f"{host.host()}, {runner.where}"
    finally:
        runner.close()
    s, notes = timed.summary, []
    if not timed.settled:
        notes.append(f"latency: the interval of the median is still ±{s.width:.0%} after {time_limit_s:g} s; this host is busy")
    if s.outliers:
        notes.append(f"latency: {s.outliers} of {s.n} repeats lie over 3.5 robust deviations from the median; none was dropped")
    if task.emulated:
        notes.append(f"latency: of this host, which is no {task.device}")
    size = sum(path.stat().st_size for path in files_of(task.path))
    figures = {
        "latency_ms": Figure(s.median * 1e3, "ms", "measured", where, n=s.n, low=s.low * 1e3, high=s.high * 1e3),
        "latency_p90_ms": Figure(s.p90 * 1e3, "ms", "measured", where, n=s.n),
        "model_bytes": Figure(size, "B", "counted", "file"),
        "peak_ram_bytes": _peak_ram(task, where),
    }
    figures |= {name: replace(figure, kind="emulated" if task.emulated else figure.kind) for name, figure in accuracies.items()}
    return Measurement(task.path.name, task.device, figures, tuple(notes))


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


def _time(run_once: Callable[[], object]) -> float:
    start = time.perf_counter()
    run_once()
    return time.perf_counter() - start
