"""What each layer costs: as a device or an emulator took it, else as it is predicted, else its share of the multiply-accumulates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from edgekd.quant import size
from edgekd.report import wording
from edgekd.report.gather import View
from edgekd.report.svg import COLOURS, drawing, el, mark, text

#: Rows of the chart; of more layers those that cost most, and the rest as one.
_MOST = 32
_ROW, _LEFT, _RIGHT, _WIDTH = 17, 116, 62, 360


@dataclass(frozen=True)
class Layers:
    """``rows``: name, what it is, value in ``unit``. ``how`` says what the values are, and where they come from."""

    rows: tuple[tuple[str, str, float], ...]
    unit: str
    how: str


def costs(view: View) -> Layers | None:
    """The best that is known. None without a graph."""
    graph = view.graph
    if graph is None:
        return None
    for result in reversed(view.results):
        found = _stored(result.document.get("layers"))
        if found and not result.failed:
            rows, unit = found
            kind = next((f.kind for name, f in result.figures.items() if name in ("latency_ms", "instructions")), "measured")
            return Layers(
                rows, unit, f"{kind.capitalize()} on {result.where}{f', {result.row}' if result.row else ''}, {result.created[:10]}"
            )
    kinds = [(op.name, type(op).__name__) for op in graph.ops]
    if view.prediction.per_operator_ms:
        times = zip(kinds, view.prediction.per_operator_ms, strict=False)
        figure = view.prediction.latency_ms
        where = figure.where.partition(";")[0] if figure else ""
        return Layers(tuple((name, kind, ms) for (name, kind), ms in times), "ms", f"Predicted: {where}")
    macs = tuple((cost.name, cost.kind, float(cost.macs)) for cost in size.count(graph))
    reason = view.prediction.reason.removeprefix("latency is not predicted: ").partition(";")[0]
    return Layers(macs, "MAC", f"Counted, not time: multiply-accumulates, since {reason}")


def _stored(layers: Any) -> tuple[tuple[tuple[str, str, float], ...], str] | None:
    """Layers as the store's documents have them."""
    if not isinstance(layers, list) or not layers:
        return None
    try:
        rows = tuple((str(one["name"]), str(one.get("note", "")), float(one["value"])) for one in layers)
        return rows, str(layers[0].get("unit", ""))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def chart(layers: Layers, at: int, title: str) -> Markup:
    """Horizontal bars in the order in which the layers run; the last is the sum of those that cost least where there are many."""
    rows = list(layers.rows)
    if len(rows) > _MOST:
        costly = set(sorted(range(len(rows)), key=lambda at: -rows[at][2])[: _MOST - 1])
        rest = [row[2] for at, row in enumerate(rows) if at not in costly]
        rows = [*(row for at, row in enumerate(rows) if at in costly), (f"{len(rest)} others", "", sum(rest))]
    total = sum(value for _, _, value in rows) or 1.0
    widest = max((value for _, _, value in rows), default=0) or 1.0
    room, height = _WIDTH - _LEFT - _RIGHT, _ROW * len(rows) + 6
    drawn = []
    for n, (name, kind, value) in enumerate(rows):
        y, share = 3 + n * _ROW, f"{100 * value / total:.1f} %"
        said = f"{name}{f' ({kind})' if kind else ''}: {wording.amount(value, layers.unit)}, {share}"
        parts = [
            el("rect", x=0, y=float(y), width=_WIDTH, height=_ROW, class_="row"),
            text(_LEFT - 6, y + 12, short(name, 18), anchor="end", class_="label"),
            el("rect", x=_LEFT, y=float(y + 3), width=max(room * value / widest, 1.0), height=_ROW - 6, class_=f"bar c{at % COLOURS}"),
            text(_WIDTH - 2, y + 12, share, anchor="end", class_="label"),
        ]
        drawn.append(mark(said, *parts))
    return drawing(f"{title}: what each of {len(layers.rows)} layers takes, {layers.how}", _WIDTH, height, *drawn)


def short(name: str, most: int) -> str:
    """The name, its middle left out where it is long."""
    return name if len(name) <= most else f"{name[: most - 8]}…{name[-7:]}"
