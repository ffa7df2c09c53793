"""Progress on stderr, for people: a bar for whatever takes longer than a moment."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edgekd.errors import EdgekdError

#: Work of seconds: worth a bar, but no line in a log.
SHORT = ("plan",)


@contextmanager
def bars() -> Generator[Bars]:
    """Bars that live as long as the context; where stderr is no terminal, one line for each finished piece of work."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield Bars(progress, console)


class Bars:
    """Callable as the pipeline wants it: (what, done, total)."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress, self._console = progress, console
        self._tasks: dict[str, TaskID] = {}
        self.prefix = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        name = f"{self.prefix}{what}"
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)
        if done >= total and not self._console.is_terminal and what not in SHORT:
            self._console.print(f"{name}: done", highlight=False)
            del self._tasks[name]

    def say(self, text: str) -> None:
        """A line above the bars."""
        self._console.print(text, highlight=False, markup=False)


def interrupted(command: str) -> EdgekdError:
    """What Ctrl-C leads to: the command that goes on."""
    error = EdgekdError(f"interrupted; to go on:\n  {command}")
    error.exit_code = 130
    return error
