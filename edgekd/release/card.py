"""The model card: what a person reads before taking a model in. Markdown; sections as Mitchell et al. 2019 have them, where they fit."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekd.quant import io
from edgekd.records import Examined, Figure
from edgekd.release.evidence import clean, said
from edgekd.release.facts import Border, Facts
from edgekd.release.manifest import edgekd_version
from edgekd.release.template import render

#: What Markdown or HTML would read as something else than text.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&$])")


@dataclass(frozen=True)
class ClassRow:
    """One class of a task, its numbers as text."""

    label: str
    n: int
    right: int
    recall: str
    interval: str
    precision: str
    taken_for: str


def text(facts: Facts) -> str:
    """The card of ``facts``, which needs nothing else: bundles may hold it, too."""
    plan = said(facts, "plan")
    config, inputs = _table(plan.get("config")), _table(plan.get("inputs"))
    recipe: Mapping[str, Any] = clean(facts.recipe)
    teachers = [recipe["teacher"]] if isinstance(recipe.get("teacher"), dict) else recipe.get("teachers") or []
    made = render(
        "MODEL_CARD.md",
        facts=facts, own=facts.models[facts.own], md=escape, told=told, number=number, plain=plain, classes=classes, quantized=quantized,
        title=facts.licenses.get("title") or f"{facts.name} for {facts.target}", fingerprint=io.fingerprint(facts.graph),
        edgekd=edgekd_version(), means=_table(facts.graph.metadata.get("input")).get("value", ""),
        family=(recipe.get("student") or {}).get("family", "unknown"),
        teachers=" and ".join(escape(one.get("source", "unknown")) for one in teachers) or "no teacher",
        losses=", ".join(f"{escape(loss['name'])} ({plain(loss['weight'])})" for loss in recipe.get("losses") or []),
        scheme=_table(facts.graph.metadata.get("scheme")),
        schedule={key: value for key, value in _table(config.get("schedule")).items() if value is not None},
        data=(recipe.get("data") or {}).get("source", "unknown"), data_sha256=inputs.get("data", ""),
        verdicts=[verdict for model in facts.models.values() for verdict in model.verdicts],
    )  # fmt: skip
    return re.sub(r"\n{3,}", "\n\n", made)


def escape(value: Any) -> str:
    """As text of one line, which Markdown shows as it is, also what looks like a table or a tag: labels and names are anyone's."""
    shown = ("yes" if value else "no") if isinstance(value, bool) else str(value)
    line = " ".join("".join(char if char.isprintable() else " " for char in shown).split())
    return _SPECIAL.sub(r"\\\1", line)


def told(value: str) -> str:
    """The same of what may say where something lay on a machine."""
    return escape(clean(value))


def number(figure: Figure, value: float) -> str:
    """Shares in percent, sizes and counts whole, the rest with four digits."""
    if figure.unit == "share":
        return f"{100 * value:.2f} %"
    return f"{plain(value)} {escape(figure.unit)}".rstrip()


def plain(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def quantized(border: Border) -> str:
    """How its integers stand for numbers; nothing of floats."""
    return "" if border.scale is None else f", real value = {border.scale!r} · (q − {border.zero_point})"


def classes(task: Examined) -> list[ClassRow]:
    """A row for each class of ``task``; "-" where there is nothing to divide by."""
    rows = []
    for at, (label, counts) in enumerate(zip(task.labels, task.confusion, strict=True)):
        n, right = sum(counts), counts[at]
        answered = sum(row[at] for row in task.confusion)
        wrong = [(count, -other) for other, count in enumerate(counts) if other != at and count]
        most = max(wrong, default=None)
        low, high = _wilson(right, n)
        rows.append(
            ClassRow(
                label, n, right, _share(right, n), f"{100 * low:.1f} to {100 * high:.1f} %" if n else "-", _share(right, answered),
                "-" if most is None else f"{task.labels[-most[1]]} ({most[0]})",
            )
        )  # fmt: skip
    return rows


def _table(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _wilson(right: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); (0, 1) of none."""
    if not n:
        return 0.0, 1.0
    p, zz = right / n, z * z / n
    middle, half = p + zz / 2, z * math.sqrt(p * (1 - p) / n + zz / (4 * n))
    return max(0.0, (middle - half) / (1 + zz)), min(1.0, (middle + half) / (1 + zz))
