"""How each class fares: the share of its samples that is answered right, of the student and of its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgekd.quant.compare import Share
from edgekd.records import Examined
from edgekd.report.layers import short
from edgekd.report.svg import COLOURS, Scale, drawing, el, mark, number, shape, text

#: Classes in the chart; of more, those that fare worst.
_MOST = 40
_ROW, _LEFT, _WIDTH, _RIGHT = 18, 110, 360, 14


@dataclass(frozen=True)
class Class:
    """Shares of ``n`` samples; the interval is Wilson's, 95 %. ``teacher`` is None where its answers are not known."""

    label: str
    n: int
    student: float
    low: float
    high: float
    teacher: float | None


def rows(examined: Examined) -> list[Class]:
    """One of each class that has samples."""
    found = []
    for at, counts in enumerate(examined.confusion):
        n = sum(counts)
        if not n:
            continue
        share = Share(counts[at], n)
        teacher = None
        if examined.teacher_confusion is not None and at < len(examined.teacher_confusion):
            theirs = examined.teacher_confusion[at]
            teacher = theirs[at] / sum(theirs) if sum(theirs) else None
        found.append(Class(label_of(examined, at), n, share.value, *share.interval, teacher))
    return found


def label_of(examined: Examined, at: int) -> str:
    return examined.labels[at] if 0 <= at < len(examined.labels) else f"class {at}"


def chart(found: Sequence[Class], at: int, title: str) -> Markup:
    """A line a class, worst first: the student's share with its interval, the teacher's as an open circle."""
    shown = sorted(found, key=lambda c: (c.student, c.label))[:_MOST]
    least = min(min(c.low, c.student if c.teacher is None else c.teacher) for c in shown)
    x = Scale(max(0.0, 100 * least - 2), 100.5, _LEFT, _WIDTH - _RIGHT)
    floor, colour = _ROW * len(shown) + 6, f"c{at % COLOURS}"
    drawn = [el("path", d=f"M{x(t):.1f} 4 V{floor}", class_="grid") for t in x.ticks(4)]
    drawn += [text(x(t), floor + 13, number(t), anchor="middle", class_="tick") for t in x.ticks(4)]
    drawn.append(text((_LEFT + _WIDTH) / 2, floor + 28, "answered right, %", anchor="middle", class_="title"))
    for n, c in enumerate(shown):
        y = 4 + n * _ROW + _ROW / 2
        said = f"{c.label}: {100 * c.student:.1f} % of {c.n} ({100 * c.low:.1f} to {100 * c.high:.1f} %)"
        parts = [
            el("rect", x=0, y=y - _ROW / 2, width=_WIDTH, height=_ROW, class_="row"),
            text(_LEFT - 8, y + 4, short(c.label, 17), anchor="end", class_="label"),
            el("path", d=f"M{x(100 * c.low):.1f} {y:.1f} H{x(100 * c.high):.1f}", class_=f"whisker {colour}"),
        ]
        if c.teacher is not None:
            said += f"; teacher {100 * c.teacher:.1f} %"
            parts.append(el("circle", cx=x(100 * c.teacher), cy=y, r=5, class_="dot hollow teachers"))
        parts.append(shape(at, x(100 * c.student), y, 3.5))
        drawn.append(mark(said, *parts))
    return drawing(f"{title}: share of each class that is answered right, the worst first", _WIDTH, floor + 34, *drawn)
