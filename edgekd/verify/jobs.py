"""Runs runtimes and the reference over samples, each in a process of its own with one thread, several at a time.

A process of its own keeps native libraries apart, makes CPU seconds attributable, and turns a crash into a message. It is a plain child
with an argument list (no fork of a threaded parent, no re-import of the caller's main module).
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from edgekd import host
from edgekd.errors import EdgekdError

#: (samples done, samples in all, what is running), over all jobs together.
Progress = Callable[[int, int, str], None]
#: Samples below which a second process of the same job costs more to start than it saves.
SHARD = 2000
_TIME_LIMIT_S = 3600.0


class Died(EdgekdError):
    """A process that a signal ended: native code crashed, or took too long."""


@dataclass(frozen=True)
class Job:
    """``opener`` ("module:function") runs the file ``path``; without one ``path`` is a graph's folder, and the reference runs it under
    ``profiles`` (their names, commas between them; its outputs are [N, profiles, ...])."""

    name: str
    path: str
    opener: str = ""
    profiles: str = ""


@dataclass(frozen=True, eq=False)
class Outcome:
    """Outputs [N, ...] of all samples, CPU seconds spent computing (not loading), and what computed them."""

    outputs: np.ndarray
    cpu_s: float
    where: str


def run_jobs(jobs: Sequence[Job], x: np.ndarray, *, workers: int | None = None, progress: Progress | None = None) -> dict[str, Outcome]:
    """Outcome of each job by its name, over all samples ``x``; ``workers`` processes at a time (default: one a core).

    Raises EdgekdError, naming the job, if a process fails, and of these Died if it dies.
    """
    workers = workers or host.cores()
    shards = max(1, min(workers, -(-len(x) // SHARD)))
    bounds = [len(x) * i // shards for i in range(shards + 1)]
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        np.save(Path(folder) / "x.npy", x)
        ranges = list(enumerate(pairwise(bounds)))
        tasks = [_Task(job, Path(folder), f"{n}-{i}", *part) for n, job in enumerate(jobs) for i, part in ranges]
        meter = _Meter(len(jobs) * len(x), progress)
        crew = _Crew()
        pool = ThreadPoolExecutor(workers)
        try:
            parts = list(pool.map(lambda task: task.run(meter, crew), tasks))
        finally:  # an interrupt or a failure must not leave children computing
            pool.shutdown(wait=False, cancel_futures=True)
            crew.end()
            pool.shutdown(wait=True)
    outcomes = {}
    for i, job in enumerate(jobs):
        mine = parts[i * shards : (i + 1) * shards]
        outcomes[job.name] = Outcome(np.concatenate([p.outputs for p in mine]), sum(p.cpu_s for p in mine), mine[0].where)
    return outcomes


class _Crew:
    """The processes that compute now. Once it has ended, also one that was just being started is killed."""

    def __init__(self) -> None:
        self._children: set[subprocess.Popen[str]] = set()
        self._ended, self._lock = False, threading.Lock()

    def add(self, child: subprocess.Popen[str]) -> None:
        with self._lock:
            self._children.add(child)
            if self._ended:
                child.kill()

    def discard(self, child: subprocess.Popen[str]) -> None:
        with self._lock:
            self._children.discard(child)

    def end(self) -> None:
        with self._lock:
            self._ended = True
            for child in self._children:
                child.kill()


class _Meter:
    """Adds up what the processes report."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress, self._lock = 0, total, progress, threading.Lock()

    def add(self, n: int, what: str) -> None:
        with self._lock:
            self._done += n
            if self._progress:
                self._progress(self._done, self._total, what)


@dataclass(frozen=True)
class _Task:
    """One job over samples ``low`` to ``high`` in one process. ``stem`` names its files: a job may be called after any layer."""

    job: Job
    folder: Path
    stem: str
    low: int
    high: int

    def run(self, meter: _Meter, crew: _Crew) -> Outcome:
        out = self.folder / f"{self.stem}.npy"
        order = {**asdict(self.job), "x": str(self.folder / "x.npy"), "low": self.low, "high": self.high, "out": str(out)}
        command = [sys.executable, "-m", "edgekd.verify.worker", json.dumps(order)]
        with (
            open(self.folder / f"{self.stem}.err", "w+b") as errors,
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                errors="replace",
                env=host.single_threaded(),
            ) as child,
        ):
            over = threading.Event()
            timer = threading.Timer(_TIME_LIMIT_S, lambda: (over.set(), child.kill()))
            timer.start()
            try:
                crew.add(child)
                final = self._listen(child, meter)
                code = child.wait()
            finally:  # also where progress raised, in this thread: nobody waits for this child any more
                timer.cancel()
                child.kill()
                crew.discard(child)
            if code or "cpu_s" not in final:
                errors.seek(max(0, errors.tell() - 2000))
                said = final.get("error", "") or errors.read().decode(errors="replace")
                kind = Died if over.is_set() or code < 0 else EdgekdError
                raise kind(self._failure(None if over.is_set() else code, said))
        return Outcome(np.load(out), float(final["cpu_s"]), str(final["where"]))

    def _listen(self, child: subprocess.Popen[str], meter: _Meter) -> dict[str, str]:
        final: dict[str, str] = {}
        assert child.stdout
        for line in child.stdout:
            if not line.startswith("@edgekd "):  # what native libraries say
                continue
            message = json.loads(line.removeprefix("@edgekd "))
            if "done" in message:
                meter.add(message["done"], self.job.name)
            else:
                final |= message
        return final

    def _failure(self, code: int | None, said: str) -> str:
        """The message for an exit code; None: it was ended for taking too long."""
        if code is None:
            how = f"took over {_TIME_LIMIT_S:g} s, the limit of one process, and was ended,"
        else:
            how = f"died of {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
        said = "\n  ".join(said.strip().splitlines()[-5:])
        return f"{self.job.name} {how} on {self.job.path}, samples {self.low} to {self.high - 1}\n  it said: {said or 'nothing'}"
