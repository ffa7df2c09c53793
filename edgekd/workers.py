"""Targets in parallel on this machine: a process each, as many at once as are asked for."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from edgekd.worker import GRACE_S, Outcome, Task, Tell, stop, work


def do_all(tasks: Sequence[Task], last: str, jobs: int, address: str, tell: Tell) -> list[Outcome]:
    """Do ``tasks`` up to the stage ``last``; an outcome each, in their order. ``address`` is not used.

    Ctrl-C ends every worker and is raised again when they have ended.
    """
    running: set[subprocess.Popen[str]] = set()
    lock, ending = threading.Lock(), threading.Event()

    def begun(process: subprocess.Popen[str]) -> None:
        with lock:
            running.add(process)
            if ending.is_set():
                stop(process)

    def told(target: str, kind: str, values: tuple[Any, ...]) -> None:
        with lock:
            if not ending.is_set():
                tell(target, kind, values)

    def one(task: Task) -> Outcome:
        return Outcome(task.target, None, "interrupted", 130) if ending.is_set() else work(task, last, told, begun)

    with ThreadPoolExecutor(max(1, min(jobs, len(tasks)))) as pool:
        try:
            futures = [pool.submit(one, task) for task in tasks]
            return [future.result() for future in futures]
        except BaseException:
            ending.set()
            with lock:
                for process in running:
                    stop(process)
            for process in running:
                try:
                    process.wait(GRACE_S + 5)
                except subprocess.TimeoutExpired:
                    process.kill()
            raise
