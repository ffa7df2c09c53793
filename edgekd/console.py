"""Progress on stderr, for people: a bar for whatever takes longer than a moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from edgekd.errors import EdgekdError

#: Work of seconds: worth a bar, but no line in a log.
SHORT = ("plan",)
#: Seconds between two lines where stderr is no terminal.
EVERY_S = 60.0
#: What code far below has to say, without a parameter through every layer: warnings, progress as ``extra={"progress": …}``, and how a
#: piece of work goes as ``extra={"detail": (what, text)}``.
LOG = logging.getLogger("edgekd")


@contextmanager
def bars(*, silent: bool = False) -> Generator[Bars]:
    """Bars that live as long as the context; where stderr is no terminal, one line for each finished piece of work, and one a minute.
    ``silent``: nothing at all."""
    console = Console(stderr=True, quiet=silent)
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    shown = Bars(Progress(*columns, console=console, disable=silent or not console.is_terminal), console)
    with Live(shown, console=console) if console.is_terminal and not silent else nullcontext():
        listener = _Listener(shown)
        LOG.addHandler(listener)
        LOG.setLevel(logging.INFO)
        try:
            yield shown
        finally:
            LOG.removeHandler(listener)
            LOG.setLevel(logging.NOTSET)


class Bars:
    """Callable as the pipeline wants it: (what, done, total)."""

    def __init__(self, progress: Progress, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress, self._console, self._clock = progress, console, clock
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._said = clock()
        self._details: dict[str, str] = {}
        self._last = ""
        self.prefix = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        name = f"{self.prefix}{what}"
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
            self._began[name] = (self._clock(), done)
        self._progress.update(self._tasks[name], completed=done, total=total)
        if self._console.is_terminal:
            return
        if done >= total and what not in SHORT:
            self.say(f"{name}: done{self._detail(name)}")
            del self._tasks[name]
        elif done < total and self._clock() - self._said >= EVERY_S:
            self.say(f"{name}: {100 * done // total} %{self._left(name, done, total)}{self._detail(name)}")

    def detail(self, what: str, text: str) -> None:
        """How ``what`` goes: below the bars, or in the next line of a log."""
        self._details[f"{self.prefix}{what}"] = self._last = text

    def __rich__(self) -> Group:
        return Group(self._progress, Text(self._last, no_wrap=True, overflow="ellipsis"))

    def say(self, text: str) -> None:
        """A line above the bars."""
        self._said = self._clock()
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _detail(self, name: str) -> str:
        return f"; {self._details[name]}" if name in self._details else ""

    def _left(self, name: str, done: int, total: int) -> str:
        """The remaining time, if it goes on as it went since it was first heard of: not since its start, for it may have been resumed."""
        began, first = self._began[name]
        if done <= first:
            return ""
        seconds = (self._clock() - began) * (total - done) / (done - first)
        return f", {seconds:.0f} s left" if seconds < 100 else f", {seconds / 60:.0f} min left"


class _Listener(logging.Handler):
    """Shows what is logged: progress as a bar, warnings as lines."""

    def __init__(self, bars: Bars) -> None:
        super().__init__()
        self._bars = bars

    def emit(self, record: logging.LogRecord) -> None:
        if (progress := getattr(record, "progress", None)) is not None:
            self._bars(*progress)
        elif (detail := getattr(record, "detail", None)) is not None:
            self._bars.detail(*detail)
        elif record.levelno >= logging.WARNING:
            self._bars.say(f"edgekd: {record.getMessage()}")


def interrupted(command: str) -> EdgekdError:
    """What Ctrl-C leads to: the command that goes on."""
    error = EdgekdError(f"interrupted; to go on:\n  {command}")
    error.exit_code = 130
    return error
