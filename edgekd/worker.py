"""A process that builds one target for another: ``python -m edgekd.worker``, its task a line of JSON on stdin, what it tells on stdout.

It ends when stdin does, so that none outlives whoever started it, kill -9 included.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from edgekd import host
from edgekd.errors import EdgekdError, lacks_memory, of_system

if TYPE_CHECKING:
    from edgekd.jobs import Request

#: Gets (target, "progress", (what, done, total)), (target, "detail", (what, text)) or (target, "warning", (text,)).
Tell = Callable[[str, str, tuple[Any, ...]], None]
#: Seconds that an ended worker has to write its state and let go of its own children.
GRACE_S = 10.0
#: What a worker tells, and of which types.
_TOLD: dict[str, tuple[Any, ...]] = {
    "progress": (str, int | float, int | float),
    "detail": (str, str),
    "warning": (str,),
    "outcome": (str, int),
}


@dataclass(frozen=True)
class Task:
    """One target's build. ``run`` and ``root`` are absolute; ``request`` is the request for that target alone, as JSON.

    With ``share`` (number, of how many) it is that part of its teachers' outputs, and ``run`` but a name.
    """

    target: str
    run: str
    root: str
    request: str
    share: tuple[int, int] | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of one target: its run folder, None if it has none; ``said`` is why it failed, "" if it did not."""

    target: str
    run: Path | None
    said: str = ""
    exit_code: int = 0


def work(task: Task, last: str, tell: Tell, begun: Callable[[subprocess.Popen[str]], None] = lambda _: None) -> Outcome:
    """Build ``task`` in a process of its own, up to the stage ``last``. ``begun`` gets the process, which ends when its stdin is closed."""
    threads = json.loads(task.request)["threads"]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "edgekd.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=host.threaded(threads),
            start_new_session=True,  # a terminal's Ctrl-C is for whoever started it, who ends it in order
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        begun(process)
        outcome = None
        try:
            process.stdin.write(json.dumps({"task": asdict(task), "last": last}) + "\n")
            process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # it is gone already: what it said of that is read below
        for line in process.stdout:
            if (told := heard(line)) is None:
                continue
            kind, values = told
            if kind == "outcome":
                outcome = Outcome(task.target, Path(task.run), *values)
            else:
                tell(task.target, kind, values)
        code = process.wait()
        process.stdout.close()
        stop(process)
        return outcome or Outcome(task.target, Path(task.run), _last_words(code, errors), 2)


def heard(line: str) -> tuple[str, tuple[Any, ...]] | None:
    """What a worker told, and with what; None for a line that is none of these: a process that is killed leaves half a line."""
    try:
        kind, values = json.loads(line)
        good = all(isinstance(value, known) for value, known in zip(values, _TOLD[kind], strict=True))
        return (kind, tuple(values)) if good else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def stop(process: subprocess.Popen[str]) -> None:
    """End a worker: in order, and after GRACE_S by itself."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _last_words(code: int, errors: TextIO) -> str:
    """Of a process that ended without a word of its own."""
    errors.seek(0)
    last = "".join(f"\n    {line.rstrip()}" for line in errors.readlines()[-15:])
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        memory = ", which is what the system does where memory runs out" if -code == signal.SIGKILL else ""
        return f"its process was ended by {name}{memory}\n  to mend:  the same command with --resume goes on{last}"
    return f"its process ended with {code}{last}"


# ---- the other side


class _Teller(logging.Handler):
    """What code far below logs, as edgekd.console.LOG has it."""

    def __init__(self, say: Callable[[str, tuple[Any, ...]], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        if (progress := getattr(record, "progress", None)) is not None:
            self._say("progress", progress)
        elif (detail := getattr(record, "detail", None)) is not None:
            self._say("detail", detail)
        elif record.levelno >= logging.WARNING:
            self._say("warning", (record.getMessage(),))


def main() -> None:
    """Entry point of a worker."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries that print do not speak between the lines
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in a shell's background it was ignored
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_watch, daemon=True).start()

    def say(kind: str, values: tuple[Any, ...]) -> None:
        out.write(json.dumps([kind, values]) + "\n")
        out.flush()

    log = logging.getLogger("edgekd")
    log.addHandler(_Teller(say))
    log.setLevel(logging.INFO)
    try:
        task = Task(**asked["task"])
        if task.share is None:
            _build(task, asked["last"], say)
        else:
            _ask(task, task.share, say)
        say("outcome", ("", 0))
    except KeyboardInterrupt:
        say("outcome", ("interrupted", 130))
    except EdgekdError as error:
        say("outcome", (str(error), error.exit_code))
    except OSError as error:
        say("outcome", (of_system(error), 2))
    except (MemoryError, RuntimeError) as error:
        if not (said := lacks_memory(error)):
            raise
        say("outcome", (f"out of memory: {said}\n  to mend:  smaller batches, fewer at once, or more memory", 2))


def _request(task: Task) -> Request:
    from edgekd.jobs import Request

    document: dict[str, Any] = json.loads(task.request)
    document["targets"] = tuple(document["targets"])
    return Request(**document)


def _ask(task: Task, share: tuple[int, int], say: Callable[[str, tuple[Any, ...]], None]) -> None:
    from edgekd import lazy, runs
    from edgekd.jobs import load_jobs

    (job,) = load_jobs(request := _request(task))
    lazy.load("torch:set_num_threads")(host.threads(request.threads))
    compute = lazy.load("edgekd.train.sharing:compute")
    compute(job.loaded, job.data, runs.cache_folder(), job.preset, tuple(share), lambda *values: say("progress", values))


def _build(task: Task, last: str, say: Callable[[str, tuple[Any, ...]], None]) -> None:
    from edgekd.errors import InputError
    from edgekd.pipeline import build

    request = _request(task)
    if not (Path(task.run) / "request.json").is_file():
        raise InputError("is not to be seen from where the worker runs", where=task.run, expected="run folders that all workers share")
    (run,) = build(
        request,
        Path(task.root),
        lambda what, done, total: None if what == "plan" else say("progress", (what, done, total)),
        resume=True,
        announce=lambda _: None,
        last=last,
        wait=lambda who: say("warning", (f"{who} is writing this run: waiting",)),
    )
    if run.resolve() != Path(task.run):
        raise InputError(
            f"became {run}", where=task.run, expected="the same recipe, target and data, and the same edgekd, wherever workers run"
        )


def _watch() -> None:
    """Interrupt the build when stdin ends; what has not come to its end after a while is ended, its children too."""
    os.read(0, 1)  # not sys.stdin, whose lock Python wants when it ends
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGINT)
    threading.Event().wait(GRACE_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
