"""Accuracy against bytes and against latency: every run, what post-training quantization made of it, and what a search tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgekd.plan.front import Point, front
from edgekd.records import Figure
from edgekd.report import wording
from edgekd.report.gather import View
from edgekd.report.svg import Frame, Scale, around, drawing, el, mark, shape, text

#: Cost on the abscissa → its axis, and how many of its unit are one there.
_COSTS = {"model_bytes": ("bytes of the file, KiB (log)", 1024.0), "latency_ms": ("latency, ms (log)", 1.0)}


@dataclass(frozen=True)
class _Candidate:
    view: View
    cost: Figure
    accuracy: Figure
    what: str


def plot(views: Sequence[View], cost: str) -> Markup | None:
    """Accuracy in percent against ``cost``, with 95 % intervals; runs that nothing betters in both are joined. None without a run."""
    found = [c for view in views for c in _candidates(view, cost)]
    if not found:
        return None
    title, unit = _COSTS[cost]
    frame = Frame(height=270)
    costs = [v / unit for c in found for v in (c.cost.value, c.cost.low, c.cost.high) if v is not None]
    shares = [100 * v for c in found for v in (c.accuracy.value, c.accuracy.low, c.accuracy.high) if v is not None]
    low, high = around(shares)
    x, y = frame.x(around(costs, log=True), log=True), frame.y((max(low, 0), min(high, 100.2)))
    best = front([Point(c.cost.value / unit, 100 * c.accuracy.value, "") for c in found])
    line = " ".join(f"{x(p.cost):.1f},{y(p.gain):.1f}" for p in best) if comparable(views, cost) else ""
    return drawing(
        f"Accuracy against {wording.name(cost).lower()} of {len(found)} candidates",
        frame.width,
        frame.height,
        frame.axes(x, y, title, "accuracy on the test set, %"),
        el("polyline", points=line, class_="front", aria_hidden="true"),
        *(_drawn(c, x, y, unit) for c in found),
    )


def comparable(views: Sequence[View], cost: str) -> bool:
    """Whether one run can better another: accuracies of the same data, and costs that came about alike, latencies in one place."""
    costs = [figure for view in views if (figure := view.figure(cost)) is not None]
    alike = {(figure.kind, figure.where if cost == "latency_ms" else "") for figure in costs}
    return len({view.data for view in views if view.data}) < 2 and len(alike) < 2


def _candidates(view: View, cost: str) -> list[_Candidate]:
    costs, accuracy = view.figure(cost), wording.of_row(view.row["accuracy"])
    if accuracy is None and view.row["tasks"]:
        accuracy = wording.of_row(next(iter(view.row["tasks"].values()))["accuracy"])
    if costs is None or accuracy is None:
        return []
    found = [_Candidate(view, costs, accuracy, view.name)]
    if (baseline := wording.of_row(view.row["baseline"])) is not None:
        found.append(_Candidate(view, costs, baseline, f"{view.name}, quantized after training"))
    return found


def _drawn(c: _Candidate, x: Scale, y: Scale, unit: float) -> Markup:
    cost, accuracy = c.cost, c.accuracy
    at, up = x(cost.value / unit), y(100 * accuracy.value)
    bars = []
    if accuracy.low is not None and accuracy.high is not None:
        bars.append(el("path", d=f"M{at:.1f} {y(100 * accuracy.low):.1f} V{y(100 * accuracy.high):.1f}", class_="whisker"))
    if cost.low and cost.high:
        bars.append(el("path", d=f"M{x(cost.low / unit):.1f} {up:.1f} H{x(cost.high / unit):.1f}", class_="whisker"))
    said = f"{c.what}: {wording.amount(accuracy.value, accuracy.unit)} ({accuracy.kind}"
    said += f", {wording.interval(accuracy)}" if accuracy.low is not None else ""
    own = c.what == c.view.name
    of = "" if own else "; of the run itself, whose graph it has"
    said += f"), {wording.amount(cost.value, cost.unit)} ({cost.kind}, {cost.where}{of})"
    hollow = "" if own else "hollow "
    dot = shape(c.view.at, at, up, 5, class_=f"dot {hollow}c{c.view.at % 8}")
    return mark(said, *bars, dot, run=c.view.key, class_=f"c{c.view.at % 8}")


def search(views: Sequence[View]) -> Markup | None:
    """What searches for the same recipe tried: validation accuracy after short trainings against bytes. None where there was none."""
    trials = list({t.name: t for view in views for t in view.trials}.values())
    trained = [t for t in trials if t.accuracy is not None]
    if not trials:
        return None
    frame = Frame(height=270)
    x = frame.x(around([t.model_bytes / 1024 for t in trials], log=True), log=True)
    y = frame.y(around([100 * (t.accuracy or 0) for t in trained], share=0.12) if trained else (0, 100))
    floor = frame.height - frame.bottom
    rug = [el("path", d=f"M{x(t.model_bytes / 1024):.1f} {floor} v-7", class_="rug") for t in trials if t.accuracy is None]
    dots = [
        mark(
            f"candidate {t.name}: {100 * (t.accuracy or 0):.2f} % on validation after {t.passes:g} passes, "
            f"{wording.amount(t.model_bytes, 'B')}, {wording.amount(t.macs, 'MAC')}",
            el("circle", cx=x(t.model_bytes / 1024), cy=y(100 * (t.accuracy or 0)), r=4, class_="dot other"),
        )
        for t in trained
    ]
    label = f"{len(trained)} candidates of a search that were trained briefly, and {len(trials) - len(trained)} that were counted"
    note = text(frame.width - frame.right, frame.top + 4, "bars below: counted only", anchor="end", class_="tick") if rug else Markup("")
    axes = frame.axes(x, y, "bytes of the file, KiB (log)", "validation accuracy, %")
    return drawing(label, frame.width, frame.height, axes, el("g", *rug, aria_hidden="true"), note, *dots)
