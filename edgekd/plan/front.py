"""What cannot be bettered in one respect without losing in another: the Pareto front, and its picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

#: Of the picture, in pixels.
WIDTH, HEIGHT, MARGIN = 720, 420, 64


@dataclass(frozen=True)
class Point:
    """One student: ``cost`` (the less the better), ``gain`` (the more the better), and what it is called."""

    cost: float
    gain: float
    name: str


def front(points: Sequence[Point]) -> tuple[Point, ...]:
    """Those that no other beats or equals in both, by rising cost; of two alike in both the first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.gain)):
        if not kept or point.gain > kept[-1].gain:
            kept.append(point)
    return tuple(kept)


def picture(points: Sequence[Point], *, cost: str, gain: str, marked: Sequence[str] = ()) -> str:
    """An SVG of all ``points``, cost on a logarithmic axis, the front joined; ``marked`` are named. Raises ValueError for no points."""
    if not points:
        raise ValueError("no points to draw")
    xs, ys = [math.log10(max(p.cost, 1e-12)) for p in points], [p.gain for p in points]
    (left, right), (low, high) = _span(xs), _span(ys)

    def at(point: Point) -> tuple[float, float]:
        x = MARGIN + (math.log10(max(point.cost, 1e-12)) - left) / (right - left) * (WIDTH - 2 * MARGIN)
        return x, HEIGHT - MARGIN - (point.gain - low) / (high - low) * (HEIGHT - 2 * MARGIN)

    best = front(points)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 16}" text-anchor="middle">{escape(cost)}</text>',
        f'<text x="16" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 16 {HEIGHT / 2})">{escape(gain)}</text>',
        *_axes((left, right), (low, high)),
        '<polyline fill="none" stroke="#c0392b" points="' + " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, best)) + '"/>',
    ]
    for point in points:
        x, y = at(point)
        colour = "#c0392b" if point in best else "#7f8c8d"
        said = f"{escape(point.name)}: {point.cost:g}, {point.gain:g}"
        drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"><title>{said}</title></circle>')
        if point.name in marked:
            drawn.append(f'<text x="{x + 6:.1f}" y="{y - 6:.1f}">{escape(point.name)}</text>')
    return "\n".join([*drawn, "</svg>", ""])


def _axes(across: tuple[float, float], up: tuple[float, float]) -> list[str]:
    drawn = []
    for n in range(5):
        x, y = MARGIN + n / 4 * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - n / 4 * (HEIGHT - 2 * MARGIN)
        cost, gain = 10 ** (across[0] + n / 4 * (across[1] - across[0])), up[0] + n / 4 * (up[1] - up[0])
        drawn.append(f'<text x="{x:.1f}" y="{HEIGHT - MARGIN + 20}" text-anchor="middle">{cost:,.3g}</text>')
        drawn.append(f'<text x="{MARGIN - 8}" y="{y + 4:.1f}" text-anchor="end">{gain:.4g}</text>')
        drawn.append(f'<path stroke="#ecf0f1" d="M{x:.1f} {MARGIN} V{HEIGHT - MARGIN} M{MARGIN} {y:.1f} H{WIDTH - MARGIN}"/>')
    return drawn


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = (high - low) * 0.05 or max(abs(low) * 0.05, 1e-6)
    return low - margin, high + margin
