"""Progress where stderr is no terminal, and what code far below has to say."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console
from rich.progress import Progress

from edgekd.console import EVERY_S, Bars, bars


class Watch:
    """A clock that is set by hand, and what was printed."""

    def __init__(self) -> None:
        self.now, self.out = 1000.0, io.StringIO()
        console = Console(file=self.out, force_terminal=False)
        self.bars = Bars(Progress(console=console, disable=True), console, lambda: self.now)

    def after(self, seconds: float, what: str, done: int, total: int = 100) -> list[str]:
        """The lines that a report of progress leads to."""
        self.now += seconds
        before = len(self.out.getvalue())
        self.bars(what, done, total)
        return self.out.getvalue()[before:].splitlines()


def test_a_log_gets_a_line_a_minute() -> None:
    watch = Watch()
    watch.bars.prefix = "pixel-8: "
    assert watch.after(0, "float", 0) == []
    assert [watch.after(EVERY_S / 10, "float", n) for n in range(1, 10)] == [[]] * 9
    assert watch.after(EVERY_S / 10, "float", 10) == ["pixel-8: float: 10 %, 9 min left"]
    assert watch.after(EVERY_S / 2, "float", 50) == []
    assert watch.after(EVERY_S / 2, "float", 75) == ["pixel-8: float: 75 %, 40 s left"]
    assert watch.after(1, "float", 100) == ["pixel-8: float: done"]
    assert watch.after(EVERY_S + 1, "qat", 0) == ["pixel-8: qat: 0 %"]


def test_a_resumed_training_is_not_taken_for_a_fast_one() -> None:
    watch = Watch()
    watch.after(0, "float", 80)
    assert watch.after(EVERY_S, "float", 81) == ["float: 81 %, 19 min left"]


def test_work_of_seconds_has_no_line_unless_it_takes_minutes() -> None:
    watch = Watch()
    assert watch.after(0, "plan", 0, 4) == [] and watch.after(5, "plan", 4, 4) == []
    watch = Watch()
    assert watch.after(0, "plan", 0, 4) == [] and watch.after(EVERY_S, "plan", 2, 4) == ["plan: 50 %, 60 s left"]


def test_how_it_goes_stands_in_the_lines_of_a_log() -> None:
    watch = Watch()
    watch.bars.prefix = "pixel-8: "
    watch.after(0, "float", 0)
    watch.bars.detail("float", "loss 0.5, agrees 91 %")
    assert watch.after(EVERY_S, "float", 50) == ["pixel-8: float: 50 %, 60 s left; loss 0.5, agrees 91 %"]
    watch.bars.detail("float", "loss 0.4, validation 89.10 %")
    assert watch.after(1, "float", 100) == ["pixel-8: float: done; loss 0.4, validation 89.10 %"]
    assert watch.after(EVERY_S + 1, "qat", 0) == ["pixel-8: qat: 0 %"]


def test_what_is_logged_far_below_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    deep = logging.getLogger("edgekd.somewhere.deep")
    with bars():
        deep.warning("it starts over: %s", "x" * 200)
        deep.info("half of it", extra={"progress": ("images", 1, 2)})
        deep.info("all of it", extra={"progress": ("images", 2, 2)})
        deep.info("nothing that a user would want to know")
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == ("", [f"edgekd: it starts over: {'x' * 200}", "images: done"])
    assert not logging.getLogger("edgekd").handlers
