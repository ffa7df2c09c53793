"""Parity with the reference: how far outputs differ, and which tensors do, runtime by runtime."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from edgekd.records import ComparedTensor, Verdict
from edgekd.report import wording
from edgekd.report.svg import drawing, el, mark, text

#: Differences further from zero than this are counted together.
_FURTHEST = 6
_CELL, _PER_LINE = 14, 24


def histogram(verdict: Verdict, title: str) -> Markup | None:
    """How many outputs differ by how many LSB; the bars' length is a share, and every count is written. None where nothing was counted."""
    counted: dict[int, int] = {}
    for difference, n in verdict.histogram.items():
        try:
            at = max(-_FURTHEST, min(_FURTHEST, int(difference)))
        except ValueError:
            continue
        counted[at] = counted.get(at, 0) + n
    total = sum(counted.values())
    if not total:
        return None
    spread = range(min(*counted, -1), max(*counted, 1) + 1)
    drawn = []
    for n, at in enumerate(spread):
        y, count = 4 + 18 * n, counted.get(at, 0)
        share = count / total
        said = f"{count} of {total} outputs differ by {at} LSB" if at else f"{count} of {total} outputs are equal"
        name = f"{at:+d} LSB" if abs(at) < _FURTHEST else f"{at:+d} LSB or more"
        parts = [
            text(92, y + 12, "equal" if at == 0 else name, anchor="end", class_="label"),
            el(
                "rect",
                x=98,
                y=y + 2,
                width=max(150 * share, 1.0 if count else 0.0),
                height=12,
                class_="bar equal" if at == 0 else "bar off",
            ),
            text(356, y + 12, f"{wording.count(count)} ({_share(share)})", anchor="end", class_="label"),
        ]
        drawn.append(mark(said, *parts))
    return drawing(f"{title}: outputs by their difference from the reference", 360, 18 * len(spread) + 8, *drawn)


def strip(tensors: Sequence[ComparedTensor], title: str) -> Markup:
    """One square a tensor, in the order in which they are made: outlined where all is equal, filled the more the more differs."""
    lines = -(-len(tensors) // _PER_LINE)
    drawn = []
    for n, tensor in enumerate(tensors):
        x, y = 2 + (n % _PER_LINE) * (_CELL + 1), 2 + n // _PER_LINE * (_CELL + 1)
        share = tensor.different / tensor.elements if tensor.elements else 0.0
        equal = tensor.different == 0
        said = f"{n + 1}. {tensor.name} ({tensor.operator}): {_differs(tensor)}"
        parts = [el("rect", x=x, y=y, width=_CELL, height=_CELL, class_="cell equal" if equal else f"cell off{_step(share)}")]
        if not equal:  # not by colour alone
            parts.append(el("path", d=f"M{x + 3} {y + 3} l{_CELL - 6} {_CELL - 6} m0 {6 - _CELL} l{6 - _CELL} {_CELL - 6}", class_="cross"))
        drawn.append(mark(said, *parts))
    equal = sum(t.different == 0 for t in tensors)
    return drawing(f"{title}: {equal} of {len(tensors)} tensors are equal", 364, lines * (_CELL + 1) + 4, *drawn)


def first(tensors: Sequence[ComparedTensor]) -> str:
    """One sentence: which tensor is the first that differs."""
    equal = sum(t.different == 0 for t in tensors)
    found = next((t for t in tensors if t.different), None)
    said = f"{equal} of {len(tensors)} tensors are equal in every element"
    return f"{said}." if found is None else f"{said}; {found.name} ({found.operator}) is the first that is not: {_differs(found)}."


def _differs(tensor: ComparedTensor) -> str:
    if not tensor.different:
        return f"all {tensor.elements} elements are equal"
    share = tensor.different / tensor.elements if tensor.elements else 0.0
    return f"{tensor.different} of {tensor.elements} elements differ ({_share(share)}), by {tensor.largest:g} at most"


def _share(share: float) -> str:
    """A small share is not rounded to none, a large one not to all."""
    if 0 < share < 0.0001:
        return "< 0.01 %"
    return f"{wording.percent(share)} %"


def _step(share: float) -> int:
    return 1 if share < 0.01 else 2 if share < 0.1 else 3
