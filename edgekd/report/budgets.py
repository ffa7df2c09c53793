"""What a run takes of each of its budgets, and how that is known."""

from __future__ import annotations

from typing import Any

from edgekd.records import BudgetUse


def uses(row: dict[str, Any]) -> tuple[tuple[BudgetUse, ...], tuple[dict[str, Any], ...]]:
    """Of a run's ``row`` (of the table): the budgets of which something is known, each with its kind, and those of which nothing is.

    What was counted or computed of the exported file counts more than what the plan foretold. A latency of this host is none of the
    device's, and is not taken for it.
    """
    known, unknown = list[BudgetUse](), list[dict[str, Any]]()
    for budget in row["budgets"]:
        used, kind = _used(row, budget)
        if used is None:
            unknown.append(budget)
        else:
            known.append(BudgetUse(budget["name"], used, budget["limit"], budget["unit"], budget["source"], kind))
    return tuple(known), tuple(unknown)


def _used(row: dict[str, Any], budget: dict[str, Any]) -> tuple[float | None, str]:
    name, student = budget["name"], row["student"] or {}
    if budget["actual"] is not None:
        return budget["actual"], row[name]["kind"]
    if name == "accuracy_drop_pp":
        return _lost(row)
    if name == "max_macs" and student.get("macs"):
        return student["macs"]["value"], student["macs"]["kind"]
    return budget.get("used"), "predicted"


def _lost(row: dict[str, Any]) -> tuple[float | None, str]:
    """Percentage points below the teacher, of the task that loses most; None where no teacher's accuracy is known."""
    pairs = [(one["teacher_accuracy"], one["accuracy"]) for one in (row["tasks"].values() if row["tasks"] else [row])]
    lost = [(100 * (teacher["value"] - mine["value"]), mine["kind"]) for teacher, mine in pairs if teacher and mine]
    return max(lost, default=(None, ""))
