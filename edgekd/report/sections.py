"""What each section of the page shows, run by run, as plain values and drawn charts for the templates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from edgekd.records import Artifact, Checkpoint, Figure, Measurement, Verdict
from edgekd.report import curves, examined, layers, memory, pareto, parity, verdicts, wording
from edgekd.report.gather import View, plain
from edgekd.report.svg import el

#: Figures that stand side by side, in this order; the rest stand in each run's own table.
_COMPARED = (
    "accuracy", "teacher_accuracy", "worst_class_accuracy", "calibration_error", "teacher_agreement", "float_accuracy", "model_bytes",
    "peak_ram_bytes", "latency_ms", "latency_p90_ms", "energy_uj", "macs", "parameters", "bit_equal", "top1_agreement",
)  # fmt: skip


@dataclass(frozen=True)
class Lacking:
    """What a run has not, and the command that adds it."""

    view: View
    what: str
    command: str


def all_of(views: Sequence[View]) -> dict[str, Any]:
    """Name of each section → what its template needs."""
    return {
        "summary": _summary(views),
        "verdict_cards": [_verdicts(view) for view in views],
        "compared": _compared(views),
        "figure_cards": [_figures(view) for view in views],
        "pareto": _pareto(views),
        "training": _training(views),
        "layer_cards": [_layers(view) for view in views],
        "memory_cards": [_memory(view) for view in views],
        "parity_cards": [_parity(view) for view in views],
        **examined.sections(views),
        "device_cards": [_devices(view) for view in views],
        "environment": _environment(views),
        "lacks": _lacks(views),
    }


def _summary(views: Sequence[View]) -> dict[str, Any]:
    created = sorted(r.environment.get("created", "") for v in views for r in v.records.values())
    names = sorted({view.recipe for view in views})
    return {"recipes": names, "newest": (created[-1][:16].replace("T", " ") if created and created[-1] else ""), "count": len(views)}


def _verdicts(view: View) -> dict[str, Any]:
    status, lines = verdicts.of_run(view)
    student, plan = view.row["student"], view.plan
    said = []
    if student:
        said.append(student["family"])
        said += [wording.amount(student[n]["value"], u) for n, u in (("parameters", "weights"), ("macs", "MAC")) if student[n]]
    if plan and plan.considered:
        said.append(f"chosen from {plan.considered} that the plan counted" if plan.considered > 1 else "the only student that was counted")
    return {
        "view": view,
        "status": status,
        "word": {"pass": "pass", "fail": "fail", "open": "unfinished"}[status],
        "student": ", ".join(said),
        "lines": [{"line": line, "word": verdicts.WORDS[line.status], "bar": _share_bar(line.share)} for line in lines],
    }


def _share_bar(share: float | None) -> Markup | None:
    """How much of a limit is used, as a bar; its end is the limit."""
    if share is None:
        return None
    used = max(0.0, min(share, 1.25))
    said = f"{100 * share:.0f} % of the limit"
    return el(
        "svg",
        el("rect", x=0, y=2, width=125, height=6, class_="track"),
        el("rect", x=0, y=2, width=100 * used, height=6, class_="used over" if share > 1 else "used"),
        el("path", d="M100 0 V10", class_="mark-limit"),
        class_="share", viewbox="0 0 126 10", role="img", aria_label=said,
    )  # fmt: skip


def _compared(views: Sequence[View]) -> list[dict[str, Any]]:
    """Rows of the table side by side: those that at least one run has."""
    rows = []
    names = [
        *_COMPARED,
        *sorted({n for v in views for m in v.measurements for n in m.figures if n.startswith(("accuracy_", "teacher_accuracy_"))}),
    ]
    for name in names:
        found = [_standing(view, name) for view in views]
        if any(found):
            cells = [{"view": view, "figure": f, "text": _cell(f) if f else None} for view, f in zip(views, found, strict=True)]
            rows.append({"name": wording.name(name), "cells": cells})
    return rows


def _standing(view: View, name: str) -> Figure | None:
    rowed = view.row.get(name)
    return view.figure(name) or (wording.of_row(rowed) if isinstance(rowed, dict) and "kind" in rowed else None)


def _cell(figure: Figure) -> dict[str, str]:
    return {
        "value": wording.amount(figure.value, figure.unit),
        "interval": wording.interval(figure),
        "kind": figure.kind,
        "n": wording.count(figure.n) if figure.n else "",
        "where": figure.where,
        "sort": f"{figure.value!r}",
    }


def _figures(view: View) -> dict[str, Any]:
    """Every figure of every record, with the notes that stand beside them."""
    rows, notes = [], []
    for stage, record in view.records.items():
        for body in view.body(stage):
            of = body.runtime if isinstance(body, Verdict) else body.device if isinstance(body, Measurement) else ""
            of = body.format if isinstance(body, Artifact) else of
            figures: dict[str, Figure] = getattr(body, "figures", {}) or (record.figures if isinstance(body, Checkpoint) else {})
            figures = {"": body} if isinstance(body, Figure) else figures
            rows += [{"name": wording.name(n or stage), "stage": f"{stage}, {of}" if of else stage, **_cell(f)} for n, f in figures.items()]
            notes += [str(note) for note in getattr(body, "notes", ())]
    return {"view": view, "rows": rows, "notes": [*dict.fromkeys(notes), *view.notes]}


def _pareto(views: Sequence[View]) -> dict[str, Any]:
    counted = sum(view.plan.considered for view in views if view.plan)
    return {
        "bytes": pareto.plot(views, "model_bytes"),
        "latency": pareto.plot(views, "latency_ms"),
        "search": pareto.search(views),
        "baselines": any(view.row["baseline"] for view in views),
        "kinds": sorted({f.kind for view in views if (f := view.figure("latency_ms"))}),
        "counted": counted,
        "one_data": len({view.data for view in views if view.data}) < 2,
        "one_place": pareto.comparable(views, "latency_ms"),
    }


def _training(views: Sequence[View]) -> dict[str, Any]:
    minutes = {v: sum(r.seconds for r in v.records.values()) / 60 for v in views}
    return {
        "charts": [c for c in (curves.plot(views, "validation"), curves.plot(views, "loss")) if c is not None],
        "minutes": [{"view": v, "minutes": f"{m:.1f}"} for v, m in minutes.items()],
        "shared": _shared(views),
    }


def _shared(views: Sequence[View]) -> list[str]:
    """Names of runs whose float student is the same to the last bit, so that their curves lie on one another."""
    by_weights: dict[str, list[str]] = {}
    for view in views:
        if "float" in view.trainings:
            by_weights.setdefault(view.trainings["float"].sha256, []).append(view.name)
    return [f"{', '.join(names[:-1])} and {names[-1]}" for names in by_weights.values() if len(names) > 1]


def _layers(view: View) -> dict[str, Any]:
    found = layers.costs(view)
    if found is None:
        return {"view": view, "chart": None, "how": "", "rows": []}
    total = sum(value for _, _, value in found.rows) or 1.0
    rows = [
        {
            "at": n,
            "name": name,
            "kind": kind,
            "value": wording.amount(value, found.unit),
            "sort": repr(value),
            "share": f"{100 * value / total:.1f}",
        }
        for n, (name, kind, value) in enumerate(found.rows, start=1)
    ]
    return {
        "view": view,
        "chart": layers.chart(found, view.at, view.name),
        "how": f"{found.how}; {wording.amount(total, found.unit)} in all",
        "rows": rows,
    }


def _memory(view: View) -> dict[str, Any]:
    if view.arranged is None:
        return {"view": view, "chart": None, "about": "", "real": ""}
    runtime = next((v.runtime for v in view.verdicts), "")
    own = (
        ""
        if runtime in ("tflm", "litert_ref")
        else "As TensorFlow Lite Micro would place them; this run's own runtime places its buffers itself."
    )
    peak, about = view.figure("peak_ram_bytes"), memory.about(view.arranged)
    if peak and peak.kind == "emulated":
        about += f" With the runtime's own structures the arena takes {wording.amount(peak.value, 'B')}, which is the peak RAM above."
    return {"view": view, "chart": memory.chart(view.arranged, view.at, view.name), "about": about, "real": own}


def _parity(view: View) -> dict[str, Any]:
    tensors: dict[str, list[Any]] = {}
    for tensor in view.examination.tensors if view.examination else ():
        tensors.setdefault(tensor.runtime, []).append(tensor)
    blocks = []
    for verdict in view.verdicts:
        own = tensors.pop(verdict.runtime, [])
        title = f"{view.name}, {verdict.runtime}"
        blocks.append(
            {
                "runtime": verdict.runtime,
                "profile": verdict.profile,
                "ok": verdict.ok,
                "first": verdict.first_layer,
                "histogram": parity.histogram(verdict, title),
                "strip": parity.strip(own, title) if own else None,
                "sentence": parity.first(own) if own else "",
            }
        )
    return {"view": view, "blocks": blocks}


def _devices(view: View) -> dict[str, Any]:
    names = ("latency_ms", "latency_p90_ms", "accuracy", "bit_equal", "peak_ram_bytes", "energy_uj", "instructions")
    there = [name for name in names if any(name in result.figures for result in view.results)]
    rows = [
        {
            "device": result.where,
            "way": result.row,
            "when": result.created[:10],
            "failed": result.failed,
            "cells": [_cell(result.figures[name]) if name in result.figures else None for name in there],
        }
        for result in view.results
    ]
    return {"view": view, "names": [wording.name(name) for name in there], "rows": rows}


def _environment(views: Sequence[View]) -> dict[str, Any]:
    last = [list(view.records.values())[-1] if view.records else None for view in views]
    keys = sorted({key for record in last if record for key in record.environment})
    config = [next((r.config for r in view.records.values() if r.config), {}) for view in views]
    asked = [key for key in ("preset", "seed", "schedule") if any(key in c for c in config)]
    stages = list(dict.fromkeys(stage for view in views for stage in view.records))
    rows = [{"name": "run", "cells": [view.folder.name for view in views]}]
    rows += [{"name": key, "cells": [plain(c[key]) if key in c else "" for c in config]} for key in asked]
    rows += [{"name": key, "cells": [r.environment.get(key, "") if r else "" for r in last]} for key in keys]
    seconds = [{"name": s, "cells": [f"{v.records[s].seconds:.1f}" if s in v.records else "" for v in views]} for s in stages]
    return {"rows": rows, "seconds": seconds}


def _lacks(views: Sequence[View]) -> dict[str, list[Lacking]]:
    """By section."""
    bench = {view: f"edgekd bench {view.folder} --device host" for view in views}
    examine = [Lacking(view, "was not examined", view.command) for view in views if view.examination is None]
    graph = [Lacking(view, "has no graph that can be drawn", view.command) for view in views if view.graph is None]
    return {
        "examine": examine,
        "tensors": [
            Lacking(v, "has no comparison of each tensor", v.command) for v in views if not (v.examination and v.examination.tensors)
        ],
        "layers": graph,
        "memory": graph + [Lacking(v, "cannot be given to TensorFlow Lite Micro", "") for v in views if v.graph and v.arranged is None],
        "training": [Lacking(v, "has no training in its records", v.command) for v in views if not v.trainings],
        "parity": [Lacking(v, "was not compared with the reference", v.command) for v in views if not v.verdicts],
        "devices": [Lacking(v, "has no result in the store of measurements", bench[v]) for v in views if not v.results],
    }
