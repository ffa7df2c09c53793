"""The arena over time: every buffer as a rectangle, from the operator that makes it to the last that reads it, at its offset."""

from __future__ import annotations

from markupsafe import Markup

from edgekd.quant import arena
from edgekd.report import wording
from edgekd.report.svg import COLOURS, Frame, drawing, el, mark, text

#: Width of a letter in the chart's own units, at most.
_LETTER = 6.2


def chart(arranged: arena.Arranged, at: int, title: str) -> Markup:
    """Offsets in KiB against operators in the order in which they run. Buffers that make the peak are marked."""
    buffers, offsets, total = arena.lifetimes(arranged.graph), arranged.placement.offsets, arranged.placement.total_bytes
    steps = len(arranged.graph.ops)
    frame = Frame(height=280)
    peak = peak_step(arranged)
    x, y = frame.x((0, steps + 1)), frame.y((0, total / 1024 * 1.1))
    every = max(1, round(steps / 8))
    band = el("rect", x=x(peak), y=frame.top, width=x(peak + 1) - x(peak), height=frame.height - frame.bottom - frame.top, class_="band")
    drawn = []
    for life in sorted(buffers, key=lambda b: (b.first, b.name)):
        low, high = offsets[life.name] / 1024, (offsets[life.name] + life.nbytes) / 1024
        left, right, top, floor = x(life.first), x(life.last + 1), y(high), y(low)
        alive = life.first <= peak <= life.last
        said = (
            f"{life.name}: {wording.amount(life.nbytes, 'B')} at offset {wording.count(offsets[life.name])}, "
            f"{_span(life.first, life.last)}{'; alive at the peak' if alive else ''}"
        )
        parts = [el("rect", x=left, y=top, width=max(right - left - 0.6, 0.8), height=max(floor - top, 0.8),
                    class_=f"buffer c{at % COLOURS}{' alive' if alive else ''}")]  # fmt: skip
        parts += _name(life.name, (left, top, right, floor))
        drawn.append(mark(said, *parts))
    line = el("path", d=f"M{frame.left} {y(total / 1024):.1f} H{frame.width - frame.right}", class_="limit")
    note = text(frame.width - frame.right, y(total / 1024) - 4, f"peak {wording.amount(total, 'B')}", anchor="end", class_="label strong")
    axes = frame.axes(x, y, "operator", "offset, KiB", xs=range(0, steps + 1, every))
    said = f"{title}: {len(buffers)} buffers in {wording.amount(total, 'B')}, the peak at operator {peak}"
    return drawing(said, 360, 280, axes, band, *drawn, line, note)


def _name(name: str, box: tuple[float, float, float, float]) -> list[Markup]:
    """The buffer's name within its rectangle, upright where that is narrow; nothing where it does not fit."""
    left, top, right, floor = box
    x, y, room = (left + right) / 2, (top + floor) / 2, len(name) * _LETTER + 6
    if right - left >= room and floor - top > 13:
        return [text(x, y + 4, name, anchor="middle")]
    if floor - top >= room and right - left > 13:
        return [el("text", name, text_anchor="middle", transform=f"translate({x + 4:.1f} {y:.1f}) rotate(-90)")]
    return []


def peak_step(arranged: arena.Arranged) -> int:
    """The first operator (from 1; 0 is the input's arrival) at which most bytes are alive."""
    buffers = arena.lifetimes(arranged.graph)
    alive = [sum(b.nbytes for b in buffers if b.first <= t <= b.last) for t in range(len(arranged.graph.ops) + 1)]
    return alive.index(max(alive))


def about(arranged: arena.Arranged) -> str:
    """One sentence: what the peak is, and what the order and the plan of the file save."""
    placement = arranged.placement
    peak = arranged.graph.ops[peak_step(arranged) - 1].name if peak_step(arranged) else "the input"
    said = f"Activations and scratch take {wording.amount(placement.total_bytes, 'B')}, most of it alive at {peak}"
    if placement.total_bytes < arranged.greedy_bytes:
        said += f"; placed as they come they would take {wording.amount(arranged.greedy_bytes, 'B')}"
    if placement.optimal:
        said += "; no placement of this order can be smaller"
    return f"{said}."


def _span(first: int, last: int) -> str:
    return f"operator {first}" if first == last else f"operators {first} to {last}"
