"""The confusion matrix: samples of each class by the class that was answered."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from edgekd.records import Examined
from edgekd.report.classes import label_of
from edgekd.report.layers import short
from edgekd.report.svg import drawing, el, mark, text

#: Classes of a matrix that can still be read; of more, only the list of what is confused most is shown.
MOST = 24
_WIDTH, _LEFT, _TOP = 360, 84, 6
#: Side of a cell, at most.
_LARGEST = 40


def matrix(examined: Examined, confusion: Sequence[Sequence[int]], title: str) -> Markup | None:
    """Rows are true classes, columns what was answered; the darker, the larger the share of the row. None for more than MOST classes."""
    size = len(confusion)
    if not 1 < size <= MOST:
        return None
    cell = min((_WIDTH - _LEFT - 4) / size, _LARGEST)
    drawn = [
        text(_LEFT - 6, _TOP + (n + 0.5) * cell + 4, short(label_of(examined, n), 13), anchor="end", class_="label") for n in range(size)
    ]
    floor = _TOP + size * cell
    for n in range(size):
        x = _LEFT + (n + 0.5) * cell
        name = short(label_of(examined, n), 11)
        drawn.append(el("text", name, class_="label", text_anchor="end", transform=f"translate({x + 4:.1f} {floor + 8:.1f}) rotate(-60)"))
    for true, counts in enumerate(confusion):
        total = sum(counts) or 1
        for answered, count in enumerate(counts):
            drawn.append(_cell(examined, (true, answered), count, total, cell))
    longest = max(len(short(label_of(examined, n), 11)) for n in range(size))
    below = 18 + longest * 5.4
    height = floor + below + 12
    drawn.append(text(_LEFT + size * cell / 2, height - 3, "answered class", anchor="middle", class_="title"))
    side = f"translate(9 {(_TOP + floor) / 2:.1f}) rotate(-90)"
    drawn.append(el("text", "true class", class_="title", text_anchor="middle", transform=side))
    return drawing(f"{title}: samples of each true class (rows) by the class that was answered (columns)", _WIDTH, height, *drawn)


def _cell(examined: Examined, at: tuple[int, int], count: int, total: int, cell: float) -> Markup:
    true, answered = at
    x, y, share = _LEFT + answered * cell, _TOP + true * cell, count / total
    step = 0 if not count else 1 if share < 0.005 else min(9, 2 + int(share * 8))
    parts = [el("rect", x=x, y=y, width=cell - 1, height=cell - 1, class_=f"heat h{step}{' own' if true == answered else ''}")]
    if count and cell >= 20:
        parts.append(text(x + cell / 2 - 0.5, y + cell / 2 + 3.5, _fitting(count), anchor="middle", class_=f"count h{step}"))
    what = f"{label_of(examined, true)} answered as {label_of(examined, answered)}: {count} of {total} ({100 * share:.1f} %)"
    return mark(what, *parts)


def _fitting(count: int) -> str:
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"


def most_confused(examined: Examined, most: int = 8) -> list[tuple[str, str, int, int, int | None]]:
    """True class, answered class, how often, of how many, and how often the teacher does so (None where that is not known)."""
    theirs = examined.teacher_confusion
    found = [
        (count, true, answered)
        for true, counts in enumerate(examined.confusion)
        for answered, count in enumerate(counts)
        if true != answered and count
    ]
    found.sort(key=lambda f: (-f[0], f[1], f[2]))
    return [
        (
            label_of(examined, true),
            label_of(examined, answered),
            count,
            sum(examined.confusion[true]),
            theirs[true][answered] if theirs else None,
        )
        for count, true, answered in found[:most]
    ]
