"""The table at the end: one row a run, from the records alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from edgekd import runs
from edgekd.errors import InputError, plain
from edgekd.records import Checkpoint, Figure, Measurement, Plan, Verdict

#: Budgets that a figure of the exported file can exceed. Latency is not among them: what this host takes says nothing about the device.
_CHECKED = ("model_bytes", "peak_ram_bytes")
#: Marks of the budgets that are not the profile's own.
_SET_BY = {"recipe": " †", "command line": " ‡"}


def rows(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """One dictionary a run, of plain JSON values; what it has not come to yet is None or empty. Raises InputError for a damaged record."""
    return [_row(Path(folder)) for folder in folders]


def documents(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """One dictionary a run: what was decided, and every record, by its stage, as it is stored. Raises InputError for a damaged record."""
    decided = [{name: row[name] for name in ("run", "target", "ok", "failures")} for row in rows(folders)]
    return [d | {"records": {stage: runs.document(Path(d["run"]), stage) for stage in runs.stages(Path(d["run"]))}} for d in decided]


def table(folders: Sequence[Path]) -> Table:
    """The rows for people: figures with their unit, n and interval, and a mark on those that were not measured here."""
    shown = Table(title=None, show_lines=True, expand=False)
    for heading in ("target", "budget", "student", "accuracy (teacher)", "file", "peak RAM", "latency, this host", "runtimes", "verdict"):
        shown.add_column(heading, overflow="fold")
    for row in rows(folders):
        shown.add_row(
            *(escape(plain(cell)) for cell in _cells(row)),
            plain(_verdict(row)),
        )
    shown.caption = (
        "budgets: set by the profile, † by the recipe, ‡ on the command line\n"
        "accuracy: test set, 95 % interval; * emulated: a stand-in for the device, run on this host; ~ predicted\n"
        "peak RAM without *: growth of a process on this host"
    )
    return shown


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    """All but the verdict, as plain text."""
    return (
        row["target"],
        "\n".join(_budget(b) for b in row["budgets"]) or "-",
        _student(row["student"]),
        _accuracy(row),
        _amount(row["model_bytes"]),
        _amount(row["peak_ram_bytes"]),
        _amount(row["latency_ms"]),
        "\n".join(_runtime(name, verdict) for name, verdict in row["runtimes"].items()) or "-",
    )


def _row(run: Path) -> dict[str, Any]:
    runs.request(run)  # says what is wrong if this is no run folder
    bodies: list[Any] = []
    named: dict[str, Figure] = {}
    limits: dict[str, dict[str, Any]] = {}
    baseline: Figure | None = None
    for stage in runs.stages(run):
        record = runs.read(run, stage)
        if stage == "baseline":  # what post-training quantization makes of the same float student; no figure of this run
            if not isinstance(record.body, Measurement):
                where = str(Path(run) / "records" / f"{stage}.json")
                raise InputError("does not hold what its stage writes", where=where, mend="edgekd build … --resume")
            baseline = record.body.figures.get("accuracy")
            continue
        if stage.startswith("bench-"):  # of another device, of fewer samples, or even rejected: `edgekd results` shows them
            continue
        named |= record.figures
        limits |= _limits(record.config.get("budgets"))
        bodies += record.body if isinstance(record.body, list) else [record.body]
    plan = next((body for body in bodies if isinstance(body, Plan)), None)
    verdicts = [body for body in bodies if isinstance(body, Verdict)]
    measured: dict[str, Figure] = {}
    for body in bodies:
        if isinstance(body, Checkpoint):
            named |= body.figures
    for body in reversed([body for body in bodies if isinstance(body, Measurement)]):
        measured |= body.figures  # the first measurement is the target's own runtime and counts most
    accuracy = measured.get("accuracy") or next((v.figures["accuracy"] for v in verdicts if "accuracy" in v.figures), None)
    teacher = named.get("teacher_accuracy") or measured.get("teacher_accuracy")
    budgets: list[dict[str, Any]] = (
        [{"actual": None, **asdict(b), "fits": b.fits, **_actual(b.name, measured)} for b in plan.budgets] if plan else []
    )
    budgets += [{"actual": None, "name": name, **b} for name, b in limits.items() if name not in {known["name"] for known in budgets}]
    tasks = _tasks(measured, verdicts)
    compared = {task: (one["accuracy"], one["teacher_accuracy"]) for task, one in tasks.items()} or {"": (accuracy, teacher)}
    failures = _failures(verdicts, budgets, compared)
    return {
        "run": str(run),
        "target": plan.target if plan else run.name,
        "budgets": budgets,
        "student": _spec(plan),
        **{name: _plain(figure) for name, figure in (("accuracy", accuracy), ("teacher_accuracy", teacher), ("baseline", baseline))},
        "tasks": {task: {name: _plain(figure) for name, figure in one.items()} for task, one in tasks.items()},
        **{name: _plain(measured.get(name)) for name in ("float_accuracy", "float_top1_agreement")},
        **{name: _plain(measured.get(name)) for name in ("model_bytes", "peak_ram_bytes", "latency_ms", "latency_p90_ms")},
        "runtimes": {
            v.runtime: {"ok": v.ok, "reason": v.reason, "first_layer": v.first_layer}
            | {name: _plain(v.figures.get(name)) for name in ("bit_equal", "top1_agreement", "accuracy")}
            | {"tasks": {task: _plain(v.figures.get(f"top1_agreement_{task}")) for task in tasks}}
            for v in verdicts
        },
        "notes": list(plan.notes) if plan else [],
        "failures": failures,
        "ok": None if not verdicts or not measured else not failures,
    }


def _failures(
    verdicts: Sequence[Verdict], budgets: Sequence[dict[str, Any]], compared: Mapping[str, tuple[Figure | None, Figure | None]]
) -> list[str]:
    """Versions that disagree, budgets that are exceeded, tasks (``compared``: accuracy and the teacher's) that lost more than allowed."""
    failures = [f"{v.runtime}: {v.reason}" + _layer(v) for v in verdicts if not v.ok]
    failures += [
        f"{b['name']} {b['actual']:g} of {b['limit']:g} {b['unit']}"
        for b in budgets
        if (b["actual"] is not None) and b["actual"] > b["limit"]
    ]
    drop = next((b["limit"] for b in budgets if b["name"] == "accuracy_drop_pp"), None)
    for task, (mine, theirs) in compared.items():
        if drop is not None and mine and theirs and (lost := 100 * (theirs.value - mine.value)) > drop:
            failures.append(f"{task + ': ' if task else ''}{lost:.2f} pp below the teacher, {drop:g} allowed")
    return failures


def _tasks(measured: dict[str, Figure], verdicts: Sequence[Verdict]) -> dict[str, dict[str, Figure | None]]:
    """Accuracy, and the teacher's, of each task of a student that has several; empty for one."""
    found = (verdicts[0].figures if verdicts else {}) | measured
    names = [name.removeprefix("accuracy_") for name in found if name.startswith("accuracy_")]
    return {task: {name: found.get(f"{name}_{task}") for name in ("accuracy", "teacher_accuracy")} for task in names}


def _limits(budgets: Any) -> dict[str, dict[str, Any]]:
    """Budgets as a record's configuration has them: name → limit, unit, source. Those that no plan can count stand only there."""
    found = budgets if isinstance(budgets, dict) else {}
    sound = {name: b for name, b in found.items() if isinstance(b, dict) and isinstance(b.get("limit"), int | float) and "unit" in b}
    return {name: {"limit": b["limit"], "unit": str(b["unit"]), "source": str(b.get("source", ""))} for name, b in sound.items()}


def _actual(name: str, measured: dict[str, Figure]) -> dict[str, float]:
    """What the exported file really takes of a budget, where that is known of the device and not only of this host."""
    figure = measured.get(name)
    return {"actual": figure.value} if figure and name in _CHECKED and figure.kind in ("counted", "emulated") else {}


def _spec(plan: Plan | None) -> dict[str, Any] | None:
    if plan is None:
        return None
    return {"family": plan.family, "spec": plan.spec} | {name: _plain(plan.figures.get(name)) for name in ("parameters", "macs")}


def _plain(figure: Figure | None) -> dict[str, Any] | None:
    return asdict(figure) if figure else None


# ---- for people


def _budget(budget: dict[str, Any]) -> str:
    words = {"model_bytes": "file", "peak_ram_bytes": "RAM", "latency_ms": "latency", "accuracy_drop_pp": "drop", "max_macs": "size"}
    mark = _SET_BY.get(budget["source"].partition(",")[0], "")
    return f"{words.get(budget['name'], budget['name'])} ≤ {_value(budget['limit'], budget['unit'])}{mark}"


def _student(student: dict[str, Any] | None) -> str:
    if student is None:
        return "-"
    sizes = [f"{_short(student[name]['value'])} {unit}" for name, unit in (("parameters", "weights"), ("macs", "MAC")) if student[name]]
    return "\n".join([student["family"], *sizes])


def _accuracy(row: dict[str, Any]) -> str:
    if row["tasks"]:
        return "\n".join(f"{task}: {_accuracy({**row, **one, 'tasks': {}, 'baseline': None})}" for task, one in row["tasks"].items())
    figure, teacher, whole, agreed = (row[name] for name in ("accuracy", "teacher_accuracy", "float_accuracy", "float_top1_agreement"))
    if figure is None:
        return f"top-1 as float: {_below_one(agreed['value'])}\nn = {agreed['n']}" if agreed else "-"
    text = f"{figure['value']:.2%}"
    if figure["low"] is not None:
        text += f" [{100 * figure['low']:.2f}, {100 * figure['high']:.2f}]"
    text += f"\nn = {figure['n']}" if figure["n"] else ""
    text += f"\nPTQ {row['baseline']['value']:.2%}" if row["baseline"] else ""
    if whole:  # quantized after training: no teacher, but the float model itself
        return f"{text}\n(float {whole['value']:.2%})"
    return text + (f"\n(teacher {teacher['value']:.2%})" if teacher else "\n(teacher's not known)")


def _amount(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "-"
    mark = {"emulated": "*", "predicted": "~"}.get(figure["kind"], "")
    spread = ""
    if figure["low"] is not None and figure["unit"] == "ms":
        spread = f"\n[{figure['low']:.3g}, {figure['high']:.3g}], n = {figure['n']}"
    return _value(figure["value"], figure["unit"]) + mark + spread


def _runtime(name: str, verdict: dict[str, Any]) -> str:
    equal, agreement = verdict["bit_equal"], verdict["top1_agreement"]
    if equal and equal["value"] == 1:
        return f"{name}: bit-equal, all {equal['n']}"
    parts = [f"bit-equal {_below_one(equal['value'])}"] if equal else []
    agreements = {f"{task} ": one for task, one in verdict["tasks"].items()} or {"": agreement}
    parts += [f"top-1 {task}{_below_one(one['value'])}" for task, one in agreements.items() if one]
    return f"{name}: {', '.join(parts)}{'' if verdict['ok'] else ' FAILED'}"


def _verdict(row: dict[str, Any]) -> str:
    if row["ok"] is None:
        return "\n".join(["unfinished", *(escape(failure) for failure in row["failures"])])
    return "[green]good[/green]" if row["ok"] else "[red]NO[/red]\n" + "\n".join(escape(failure) for failure in row["failures"])


def _below_one(share: float) -> str:
    """Rounded, but never up to 100 % when it is less."""
    return "100 %" if share == 1 else f"{min(share, 0.9999):.2%}"


def _short(value: float) -> str:
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.1f} K" if value >= 1e3 else f"{value:g}"


def _value(value: float, unit: str) -> str:
    if unit == "B":
        return f"{value / 2**20:.2f} MiB" if value >= 2**20 else f"{value / 1024:.1f} KiB"
    if value < 1000:
        return f"{value:.3g} {unit}"
    return f"{value:,.0f} ms" if unit == "ms" else f"{_short(value)} {unit}"


def _layer(verdict: Verdict) -> str:
    """Where a runtime starts to disagree; or why no layer can be named, which stands in the same place."""
    found = verdict.first_layer or ""
    return f"; {'' if found.startswith('no layer named') else 'first at '}{found}" if found else ""
