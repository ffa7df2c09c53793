"""Charts as SVG text: elements that escape what they are given, scales with round ticks, a frame with axes, marks that can be focused.

Drawn for 360 pixels of width, so that text stays readable on a phone; colours and sizes of text come from the page's style.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

#: Of runs, in their order, so that colour is not all that tells them apart.
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "down", "plus", "star")
#: As many colours as the style has.
COLOURS = 8


def el(tag: str, *children: str, **attributes: object) -> Markup:
    """An element; ``class_`` is class, other underscores are hyphens; None is left out. Text that is no Markup is escaped."""
    said = "".join(f' {_attribute(k)}="{_text(v)}"' for k, v in attributes.items() if v is not None)
    inside = Markup("").join(escape(child) for child in children)
    return Markup(f"<{tag}{said}>{inside}</{tag}>" if children else f"<{tag}{said}/>")


def _attribute(name: str) -> str:
    return {"class_": "class", "viewbox": "viewBox"}.get(name, name.replace("_", "-"))


def _text(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(escape(value))


def text(x: float, y: float, said: str, *, anchor: str = "start", **attributes: object) -> Markup:
    return el("text", said, x=float(x), y=float(y), text_anchor=None if anchor == "start" else anchor, **attributes)


def mark(said: str, *children: str, run: str = "", **attributes: object) -> Markup:
    """What a reader can point at: ``said`` is shown then, and read aloud. ``run`` is the key of its run, which can be hidden."""
    names = f"mark {attributes.pop('class_', '')}".strip()
    return el("g", *children, class_=names, role="img", tabindex="-1", aria_label=said, data_run=run or None, **attributes)


def drawing(label: str, width: float, height: float, *children: str) -> Markup:
    """The whole chart; ``label`` says in words what it shows."""
    return el("svg", *children, class_="chart", viewbox=f"0 0 {width:g} {height:g}", role="group", aria_label=label)


def shape(at: int, x: float, y: float, size: float = 4.5, **attributes: object) -> Markup:
    """The marker of run ``at``, of its colour, around (x, y)."""
    attributes = {"class_": f"dot c{at % COLOURS}", **attributes}
    kind, r = SHAPES[at % len(SHAPES)], size
    if kind == "circle":
        return el("circle", cx=float(x), cy=float(y), r=r, **attributes)
    if kind == "square":
        return el("rect", x=float(x - r), y=float(y - r), width=2 * r, height=2 * r, **attributes)
    w = r * 1.3
    corners = {
        "triangle": ((0, -w), (w, r), (-w, r)),
        "down": ((0, w), (w, -r), (-w, -r)),
        "diamond": ((0, -w), (w, 0), (0, w), (-w, 0)),
        "plus": _cross(r),
        "cross": tuple((0.7 * (dx - dy), 0.7 * (dx + dy)) for dx, dy in _cross(r)),
        "star": tuple((math.sin(k * math.pi / 5) * w / (1 + k % 2), -math.cos(k * math.pi / 5) * w / (1 + k % 2)) for k in range(10)),
    }[kind]
    return el("polygon", points=" ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners), **attributes)


def _cross(r: float) -> tuple[tuple[float, float], ...]:
    """The outline of two bars: of each arm its two ends, and the corner to the next."""
    arms = ((1, 0), (0, 1), (-1, 0), (0, -1))
    return tuple(
        (r * (a * out - b * side), r * (b * out + a * side)) for a, b in arms for out, side in ((1.3, -0.4), (1.3, 0.4), (0.4, 0.4))
    )


def key(at: int) -> Markup:
    """The marker of a run by itself, for legends."""
    return el("svg", shape(at, 8, 8, 5), class_="key", viewbox="0 0 16 16", aria_hidden="true")


@dataclass(frozen=True)
class Scale:
    """Values from ``low`` to ``high`` onto pixels from ``start`` to ``end``; ``log`` where each step is a factor."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(max(v, 1e-12)) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - low) / ((high - low) or 1.0) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values within the scale, about ``count`` of them."""
        if self.log:
            steps = [m * 10.0**e for e in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1) for m in (1, 2, 5)]
            found = [s for s in steps if self.low * 0.999 <= s <= self.high * 1.001]
            found = [s for s in found if f"{s:e}"[0] == "1"] if len(found) > count + 2 else found
            if len(found) > 1:
                return found
        step = _round((self.high - self.low) / max(count, 1))
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _round(step: float) -> float:
    if step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= step * 0.999)


def around(values: Sequence[float], *, log: bool = False, share: float = 0.08) -> tuple[float, float]:
    """The span of the values with room on both sides."""
    low, high = min(values), max(values)
    if log:
        low, high = max(low, 1e-9), max(high, 1e-9)
        room = max((high / low) ** share, 1.25)
        return low / room, high * room
    room = (high - low) * share or max(abs(low) * 0.05, 1e-6)
    return low - room, high + room


@dataclass(frozen=True)
class Frame:
    """Where a chart's axes lie in its picture."""

    width: float = 360
    height: float = 250
    left: float = 48
    right: float = 12
    top: float = 10
    bottom: float = 42

    def x(self, span: tuple[float, float], *, log: bool = False) -> Scale:
        return Scale(*span, self.left, self.width - self.right, log)

    def y(self, span: tuple[float, float], *, log: bool = False) -> Scale:
        return Scale(*span, self.height - self.bottom, self.top, log)

    def axes(self, x: Scale, y: Scale, across: str, up: str, *, xs: Sequence[float] = (), ys: Sequence[float] = ()) -> Markup:
        """Grid, numbers at round values (or at ``xs`` and ``ys``), and what the axes show."""
        floor, drawn = self.height - self.bottom, []
        for value in xs or x.ticks():
            drawn.append(el("path", d=f"M{x(value):.1f} {self.top} V{floor}", class_="grid"))
            drawn.append(text(x(value), floor + 14, number(value), anchor="middle", class_="tick"))
        for value in ys or y.ticks():
            drawn.append(el("path", d=f"M{self.left} {y(value):.1f} H{self.width - self.right}", class_="grid"))
            drawn.append(text(self.left - 5, y(value) + 3.5, number(value), anchor="end", class_="tick"))
        middle = (self.top + floor) / 2
        drawn.append(el("path", d=f"M{self.left} {self.top} V{floor} H{self.width - self.right}", class_="axis"))
        drawn.append(text((self.left + self.width - self.right) / 2, self.height - 6, across, anchor="middle", class_="title"))
        drawn.append(text(0, 0, up, anchor="middle", class_="title", transform=f"translate(11 {middle:.1f}) rotate(-90)"))
        return el("g", *drawn, aria_hidden="true")


def number(value: float) -> str:
    """A tick's number, short."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e4 else f"{value:.6g}"
