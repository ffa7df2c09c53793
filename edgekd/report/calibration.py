"""The reliability diagram (Guo et al. 2017): how often an answer is right, against how sure it is."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from edgekd.quant.compare import Share
from edgekd.records import Bin
from edgekd.report.svg import COLOURS, Frame, drawing, el, mark


def diagram(bins: Sequence[Bin], at: int, title: str) -> Markup | None:
    """Bars are the share that is right in each bin, with 95 % intervals; the line is where it equals the confidence.

    Below: how many samples each bin has. None without samples.
    """
    filled = [b for b in bins if b.n]
    if not filled:
        return None
    frame = Frame(height=270, bottom=82)
    x, y = frame.x((0, 100)), frame.y((0, 100))
    floor, most = frame.height - frame.bottom, max(b.n for b in filled)
    drawn = [el("path", d=f"M{x(0):.1f} {y(0):.1f} L{x(100):.1f} {y(100):.1f}", class_="ideal", aria_hidden="true")]
    foot = frame.height - 6
    for b in filled:
        share = Share(b.correct, b.n)
        left, right = x(100 * b.low) + 1, x(100 * b.high) - 1
        middle, (low, high) = (left + right) / 2, share.interval
        said = (
            f"confidence {100 * b.low:.0f} to {100 * b.high:.0f} % ({100 * b.confidence:.1f} % on average): "
            f"{100 * share.value:.1f} % right, {b.correct} of {b.n}"
        )
        tall = 22 * b.n / most
        parts = [
            el("rect", x=left, y=y(100 * share.value), width=right - left, height=max(floor - y(100 * share.value), 0.6),
               class_=f"bar pale c{at % COLOURS}"),
            el("path", d=f"M{middle:.1f} {y(100 * low):.1f} V{y(100 * high):.1f}", class_="whisker"),
            el("path", d=f"M{left:.1f} {y(100 * b.confidence):.1f} H{right:.1f}", class_="tickmark"),
            el("rect", x=left, y=foot - tall, width=right - left, height=max(tall, 0.8), class_="bar other"),
        ]  # fmt: skip
        drawn.append(mark(said, *parts))
    axes = Frame(height=frame.height - 40, bottom=42).axes(x, y, "confidence of the answer, %", "answered right, %")
    return drawing(f"{title}: share of answers that are right, by their confidence", 360, frame.height, axes, *drawn)
