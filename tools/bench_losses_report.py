"""What the results of all methods say together: means, spreads, differences paired by seed, and which method to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from bench_losses_methods import PLAIN, Method
from bench_losses_runs import cost_s
from bench_statistics import spread

from edgekd import runs
from edgekd.errors import InputError

LEAST_SEEDS = 3
#: Of a result's environment, what a training's bytes and seconds depend on; the runtime of the exported file stands elsewhere.
MACHINE = ("cpu", "cores", "python", "torch")
#: Method → its results, one a seed, in the same order of seeds for all.
Results = Mapping[str, Sequence[Mapping[str, Any]]]


def verdict(gain: Mapping[str, Any]) -> str:
    """What the interval of the difference to plain training says."""
    if gain["low"] is None:
        return "one seed says nothing"
    return "helps" if gain["low"] > 0 else "hurts" if gain["high"] < 0 else "no difference"


def judge(results: Results, methods: Sequence[Method], least_gain: float) -> dict[str, Any]:
    """Percent and percentage points of every method; the one that is best on validation; and whether that beats all plain training.

    Differences are paired by seed: the same untrained student, and but for what the method itself draws, the same batches.
    """
    percent = {
        name: {split: [100 * r[split]["value"] for r in found] for split in ("validation", "test")} for name, found in results.items()
    }
    rows: dict[str, dict[str, Any]] = {}
    for method in methods:
        own, plain = percent[method.name], percent[PLAIN]
        row: dict[str, Any] = {"paper": method.paper, "note": method.note, "baseline": method.baseline or method.name == PLAIN}
        row |= {split: spread(own[split]) for split in own}
        row["seconds"] = float(np.mean([cost_s(r) for r in results[method.name]]))
        row["times_plain"] = float(np.mean([times(a, b) for a, b in zip(results[method.name], results[PLAIN], strict=True)]))
        if method.name != PLAIN:
            row["gain_pp"] = _gain(own["test"], plain["test"])
            row["verdict"] = verdict(row["gain_pp"])
        rows[method.name] = row
    # Of equals the first in the file; plain training is the first of all.
    candidates = [name for name, row in rows.items() if name == PLAIN or not row["baseline"]]
    best = max(candidates, key=lambda name: rows[name]["validation"]["mean"])
    demands = []
    for name in (name for name, row in rows.items() if row["baseline"]):
        found = _gain(percent[best]["test"], percent[name]["test"])["mean"]
        # Counts of samples are whole, so what is equal must not miss its demand by a rounding of the mean.
        demands.append(
            {"demand": f"{best} (best on validation) − {name} >= {least_gain:g} pp", "found": found, "ok": found >= least_gain - 1e-9}
        )
    n = len(results[PLAIN])
    demands.append({"demand": f"seeds >= {LEAST_SEEDS}", "found": n, "ok": n >= LEAST_SEEDS})
    return {"best_on_validation": best, "methods": rows, "demands": demands, "ok": all(d["ok"] for d in demands)}


def times(ours: Mapping[str, Any], plain: Mapping[str, Any]) -> float:
    """How many times as long as plain training: both by the processor's seconds, or both by the clock's."""
    a, b = (r["cpu_s"] if ours["cpu_s"] and plain["cpu_s"] else sum(r["training_s"].values()) for r in (ours, plain))
    return a / max(b, 1e-9)


def _gain(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    return spread([a - b for a, b in zip(ours, theirs, strict=True)])


def about(results: Results, current_code: str) -> dict[str, Any]:
    """Where, when and by what the results were made; several where they differ. ``stale``: how many another version of edgekd made."""
    every = [r for found in results.values() for r in found]
    first = every[0]
    return {
        "config": first["config"],
        "seeds": [r["seed"] for r in results[PLAIN]],
        "runtimes": sorted({r["test"]["where"] for r in every}),
        "machines": sorted({", ".join(f"{key} {r['environment'][key]}" for key in MACHINE if key in r["environment"]) for r in every}),
        "dates": sorted({r["date"] for r in every}),
        "threads": sorted({r["config"]["threads"] for r in every}),
        "test_n": first["test"]["n"],
        "bytes": sorted({r["file"]["bytes"] for r in every}),
        "teacher_test": first["teacher_test"],
        "stale_results": sum(r["code"] != current_code for r in every),
        "results": len(every),
    }


def lines(report: Mapping[str, Any]) -> list[str]:
    """The report for a terminal."""
    out = [*header(report), "", f"{'method':<24}{'int8 test, %':>16}{'validation, %':>15}   {'against plain, pp [95 %]':<28}{'time':>6}"]
    for name, row in report["methods"].items():
        gain = _shown_gain(row) if "gain_pp" in row else ""
        verdict_ = f"   {row['verdict']}" if "verdict" in row else ""
        test = _plus_minus(row["test"])
        out.append(f"{name:<24}{test:>16}{row['validation']['mean']:>15.2f}   {gain:<28}{row['times_plain']:>5.2f}x{verdict_}")
    out += ["", f"best on validation: {report['best_on_validation']}"]
    out += [f"{'holds' if d['ok'] else 'FAILS':<6} {d['demand']}: {round(d['found'], 3)}" for d in report["demands"]]
    return out


def header(report: Mapping[str, Any]) -> list[str]:
    """What was trained, how long, where and when."""
    made, student = report["about"], report["student"]
    config, schedule = made["config"], made["config"]["schedule"]
    size = " to ".join(f"{n:,}" for n in sorted({made["bytes"][0], made["bytes"][-1]}))
    teacher = "" if made["teacher_test"] is None else f" The teacher has {100 * made['teacher_test']:.2f} %."
    seeds, threads = ", ".join(map(str, made["seeds"])), ", ".join(map(str, made["threads"]))
    epochs = f"{schedule['float_epochs']:g} passes in float, {schedule['qat_epochs']:g} quantized, batches of {schedule['batch']}"
    out = [
        f"{config['recipe']} for {config['target']}, preset {config['preset']}: {epochs}; seeds {seeds}; threads: {threads}.",
        f"The same student for all: {student['macs']:,.0f} MAC, a file of {size} bytes.{teacher}",
        f"int8 test: the exported file on all {made['test_n']:,} test samples in {'; '.join(made['runtimes'])}.",
        f"Made {' to '.join(dict.fromkeys((made['dates'][0], made['dates'][-1])))}; {'; '.join(made['machines'])}.",
    ]
    if made["stale_results"]:
        out.append(f"{made['stale_results']} of {made['results']} results were made by another version of edgekd's code.")
    return out


def section(report: Mapping[str, Any], command: str) -> str:
    """The report in Markdown, between the comments by which it is found again."""
    begin, end = markers(report["name"])
    out = [begin, *(f"{line}  " for line in header(report)), f"Again: `{command}`", ""]
    out.append("| method | int8 test, % | validation, % | against plain, pp (95 % interval) | time | |")
    out.append("|---|---|---|---|---|---|")
    for name, row in report["methods"].items():
        shown = f"**{name}**" if name == report["best_on_validation"] else name
        gain = _shown_gain(row) if "gain_pp" in row else ""
        cells = (_plus_minus(row["test"]), f"{row['validation']['mean']:.2f}", gain, f"{row['times_plain']:.2f}×", row.get("verdict", ""))
        out.append(f"| {shown} | {' | '.join(cells)} |")
    out += ["", f"Best on validation: **{report['best_on_validation']}**."]
    out += [f"{'Holds' if d['ok'] else '**Does not hold**'}: {d['demand']} (found {round(d['found'], 3)})." for d in report["demands"]]
    out.append("")
    for name, row in report["methods"].items():
        out.append(f"- {name}: {row['note'] or 'see the file of methods'}" + (f" ({row['paper']})" if row["paper"] else ""))
    return "\n".join([*out, end])


def markers(name: str) -> tuple[str, str]:
    return f"<!-- bench_losses {name} -->", f"<!-- /bench_losses {name} -->"


def checked_markdown(file: Path, name: str) -> str:
    """The text of ``file``. Raises InputError unless it has the section's two comments, once each, in their order."""
    begin, end = markers(name)
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        found = "no such file" if not file.is_file() else "has no section for this table"
        raise InputError(found, where=f"--markdown {file}", expected=f"two lines, once each: {begin} and {end}")
    return text


def write_markdown(file: Path, report: Mapping[str, Any], command: str) -> None:
    """Put the table in its section of ``file``; the rest stays."""
    text = checked_markdown(file, report["name"])
    begin, end = markers(report["name"])
    before, after = text[: text.index(begin)], text[text.index(end) + len(end) :]
    runs.atomic_write(file, f"{before}{section(report, command)}{after}".encode())


def _plus_minus(found: Mapping[str, Any]) -> str:
    return f"{found['mean']:.2f}" + ("" if found["sd"] is None else f" ± {found['sd']:.2f}")


def _shown_gain(row: Mapping[str, Any]) -> str:
    gain = row["gain_pp"]
    interval = "" if gain["low"] is None else f" [{gain['low']:+.2f}, {gain['high']:+.2f}]"
    return f"{gain['mean']:+.2f}{interval}".replace("-", "−")


def student_of(plan: Any) -> dict[str, Any]:
    return {"spec": plan.spec, "macs": plan.figures["macs"].value, "figures": {k: asdict(v) for k, v in plan.figures.items()}}
