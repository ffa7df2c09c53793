"""Training curves of all runs: accuracy on validation and loss, pass by pass, in float and then quantization-aware."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from edgekd.report.gather import View
from edgekd.report.svg import COLOURS, Frame, Scale, around, drawing, el, mark, shape

_TITLES = {"validation": "accuracy on validation, %", "loss": "loss (log)"}
#: More points than these are joined by a line, and only the last is marked.
_MARKED = 40


def plot(views: Sequence[View], value: str) -> Markup | None:
    """``value`` ("validation" or "loss") of each pass of each run. None where no run has any."""
    series = {view.at: _points(view, value) for view in views}
    every = [point for found in series.values() for point in found]
    if not every:
        return None
    log = value == "loss" and min(y for _, y, _, _ in every) > 0
    frame = Frame(height=250)
    last = max(x for x, _, _, _ in every)
    low, high = around([y for _, y, _, _ in every], log=log)
    x, y = frame.x((0.5, last + 0.5)), frame.y((low, min(high, 100.2) if value == "validation" else high), log=log)
    step = -(-last // 8)
    passes = range(step, last + 1, step)
    drawn = [m for view in views if series[view.at] for m in _line(view, series[view.at], x, y, value)]
    label = f"{_TITLES[value].partition(',')[0]} by pass over the training data".capitalize()
    return drawing(label, 360, 250, frame.axes(x, y, "passes over the training data", _TITLES[value], xs=passes), *drawn)


def _points(view: View, value: str) -> list[tuple[int, float, str, dict[str, Any]]]:
    """Pass (from 1, over all stages), value, phase and the history's entry."""
    entries = [entry for trained in view.trainings.values() for entry in trained.history]
    factor = 100.0 if value == "validation" else 1.0
    return [
        (at, factor * float(entry[value]), str(entry.get("phase", "")), entry)
        for at, entry in enumerate(entries, start=1)
        if isinstance(entry.get(value), int | float)
    ]


def _line(view: View, points: list[tuple[int, float, str, dict[str, Any]]], x: Scale, y: Scale, value: str) -> list[Markup]:
    """The curve, dashed where it is not the float student's, and a mark a pass."""
    colour = f"c{view.at % COLOURS}"
    drawn = []
    for before, after in pairwise(points):
        style = "curve" if after[2] in ("", "float") else "curve dashed"
        d = f"M{x(before[0]):.1f} {y(before[1]):.1f} L{x(after[0]):.1f} {y(after[1]):.1f}"
        drawn.append(el("path", d=d, class_=f"{style} {colour}", data_run=view.key, aria_hidden="true"))
    shown = points if len(points) <= _MARKED else points[-1:]
    for at, number, phase, entry in shown:
        unit = " % on validation" if value == "validation" else " loss"
        seconds = f", {entry['seconds']:.0f} s" if isinstance(entry.get("seconds"), int | float) else ""
        said = f"{view.name}, pass {at}{f' ({phase})' if phase else ''}: {number:.4g}{unit}{seconds}"
        hollow = "" if phase in ("", "float") else " hollow"
        drawn.append(mark(said, shape(view.at, x(at), y(number), 3.5, class_=f"dot{hollow} {colour}"), run=view.key))
    return drawn
