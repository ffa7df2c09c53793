"""The verdicts of a run, one line each: what passed and what did not, against which budget, and whose limit that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from edgekd.records import Figure
from edgekd.report import wording
from edgekd.report.budgets import uses
from edgekd.report.gather import View

Status = Literal["pass", "fail", "open"]
#: What is written for each: never colour alone.
WORDS: dict[Status, str] = {"pass": "pass", "fail": "fail", "open": "not judged"}


@dataclass(frozen=True)
class Line:
    """``share`` of the limit that is used, None where there is no limit; ``note`` says whose limit it is, or what was measured."""

    status: Status
    what: str
    said: str
    note: str = ""
    share: float | None = None


def of_run(view: View) -> tuple[Status, tuple[Line, ...]]:
    """The run's verdict as a whole, as the table has it, and each line; what failed comes first."""
    lines = [_runtime(name, verdict) for name, verdict in view.row["runtimes"].items()]
    lines += [line for budget in view.row["budgets"] for line in _budget(view, budget)]
    if not view.verdicts:
        lines.append(Line("open", "Runtimes", "not compared yet"))
    lines.sort(key=lambda line: line.status != "fail")
    ok = view.row["ok"]
    return ("open" if ok is None else "pass" if ok else "fail"), tuple(lines)


def _runtime(name: str, verdict: dict[str, Any]) -> Line:
    first = verdict["first_layer"] or ""
    note = "" if not first else first if first.startswith("no layer named") else f"first at {first}"
    return Line("pass" if verdict["ok"] else "fail", name, verdict["reason"], note)


def _budget(view: View, budget: dict[str, Any]) -> list[Line]:
    if budget["name"] == "accuracy_drop_pp":
        return _drops(view, budget)
    limit, unit, what = budget["limit"], budget["unit"], wording.name(budget["name"])
    source = f"limit: {budget['source']}"
    known = next((one for one in uses(view.row)[0] if one.name == budget["name"]), None)
    if known is None:
        here = view.figure(budget["name"])
        said = f"; {wording.amount(here.value, here.unit)} {here.kind} on this host says nothing about the device" if here else ""
        return [Line("open", what, f"at most {wording.amount(limit, unit)} allowed{said}", source)]
    said = f"{wording.amount(known.used, unit)} of {wording.amount(limit, unit)}, {known.kind}"
    return [Line("pass" if known.fits else "fail", what, said, source, known.used / limit if limit else None)]


def _drops(view: View, budget: dict[str, Any]) -> list[Line]:
    """What each task loses to its teacher."""
    row, limit = view.row, budget["limit"]
    tasks = row["tasks"] or {"": {"accuracy": row["accuracy"], "teacher_accuracy": row["teacher_accuracy"]}}
    lines = []
    for task, found in tasks.items():
        mine, theirs = wording.of_row(found["accuracy"]), wording.of_row(found["teacher_accuracy"])
        what = f"{wording.name('accuracy_drop_pp')}{f', {task}' if task else ''}"
        source = f"limit: {budget['source']}"
        if mine is None or theirs is None:
            lines.append(Line("open", what, f"at most {limit:g} pp allowed; one of the two accuracies is not known", source))
            continue
        lost = 100 * (theirs.value - mine.value)
        share = max(lost, 0.0) / limit if limit else None
        words = f"{lost:.2f} pp" if lost >= 0 else f"none: {-lost:.2f} pp better"
        said = f"{words}, {limit:g} pp allowed ({_short(mine)} against {_short(theirs)})"
        lines.append(Line("pass" if lost <= limit else "fail", what, said, source, share))
    return lines


def _short(figure: Figure) -> str:
    return wording.amount(figure.value, figure.unit)
