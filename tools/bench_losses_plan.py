"""What is there already, what is to be done, and how many hours that takes, by what earlier results say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from bench_losses_runs import Contest, cost_s, result_file, stored

from edgekd.jobs import Job


def kind(job: Job) -> tuple[Any, ...]:
    """What methods that take about as long for a pass have in common: does a teacher run along, how many students are trained at a time."""
    recipe, preset = job.loaded.recipe, job.preset
    live = any(loss.weight and loss.teacher_paths for loss in recipe.losses)
    before = recipe.intermediates
    return live, preset.peers, before is not None and bool(before.assistants)


def estimates(contest: Contest, methods: Sequence[str]) -> dict[str, float | None]:
    """Seconds of one training of each method: by its own earlier results of this student, whatever their epochs, else by those of its kind.

    None where there is neither. A generation is counted as one more float training.
    """
    rates: dict[str, list[Mapping[str, float]]] = {}
    for found in _alike(contest):
        schedule = found["config"]["schedule"]
        seconds: dict[str, float] = found["training_s"]
        scale = cost_s(found) / max(sum(seconds.values()), 1e-9)
        in_float = sum(v for stage, v in seconds.items() if stage != "qat")
        quantized = seconds.get("qat", 0.0)
        rate = {"float": scale * in_float / schedule["float_epochs"], "qat": scale * quantized / schedule["qat_epochs"]}
        rates.setdefault(found["method"], []).append(rate)
    kinds: dict[tuple[Any, ...], list[Mapping[str, float]]] = {}
    for name, job in contest.jobs.items():
        before = job.loaded.recipe.intermediates
        if name in rates and (before is None or not before.generations):
            kinds.setdefault(kind(job), []).extend(rates[name])
    return {name: _seconds(contest.jobs[name], rates.get(name), kinds) for name in methods}


def _seconds(job: Job, own: list[Mapping[str, float]] | None, kinds: Mapping[tuple[Any, ...], list[Mapping[str, float]]]) -> float | None:
    before = job.loaded.recipe.intermediates
    links = 1 + (before.generations if before is not None and own is None else 0)
    rates = own or kinds.get(kind(job))
    if not rates:
        return None
    in_float, quantized = (float(np.mean([rate[phase] for rate in rates])) for phase in ("float", "qat"))
    return in_float * job.preset.float_epochs * links + quantized * job.preset.qat_epochs


def _alike(contest: Contest) -> Iterator[dict[str, Any]]:
    """Results of the same student and batches."""
    for path in sorted(contest.cache.glob("*.json")):
        found = json.loads(path.read_bytes())
        config = found.get("config", {})
        same = (config.get("recipe"), config.get("spec"), config.get("schedule", {}).get("batch"))
        if same == (contest.base.loaded.recipe.name, contest.plan.spec, contest.base.preset.batch):
            yield found


def foreseen(contest: Contest, seeds: int) -> dict[str, Any]:
    """For each method: seeds that are there, seeds to do, their hours; and one method of each kind that was never measured."""
    costs = estimates(contest, list(contest.jobs))
    rows = {}
    for name in contest.jobs:
        there = [seed for seed in range(seeds) if stored(result_file(contest, name, seed)) is not None]
        missing = [seed for seed in range(seeds) if seed not in there]
        cost = costs[name]
        rows[name] = {"there": there, "to_do": missing, "hours": None if cost is None else cost * len(missing) / 3600}
    unknown = {kind(contest.jobs[name]): name for name, row in reversed(rows.items()) if row["to_do"] and row["hours"] is None}
    total = sum(row["hours"] or 0.0 for row in rows.values())
    return {"methods": rows, "hours": total, "to_measure": list(reversed(unknown.values())), "cache": str(contest.cache)}


def lines(plan: Mapping[str, Any], student: Mapping[str, Any], measure: str) -> list[str]:
    """The plan for a terminal; ``measure`` is the command that measures what is not known."""
    out = [
        f"student: {student['macs']:,.0f} MAC; results in {plan['cache']}",
        f"{'method':<24}{'there':>10}{'to do':>10}{'hours':>8}",
    ]
    for name, row in plan["methods"].items():
        hours = "" if not row["to_do"] else "?" if row["hours"] is None else f"{row['hours']:.2f}"
        cells = (",".join(map(str, row[key])) or "-" for key in ("there", "to_do"))
        out.append(f"{name:<24}{''.join(f'{cell:>10}' for cell in cells)}{hours:>8}")
    unknown = plan["to_measure"]
    out.append(f"in all {'at least ' if unknown else ''}{plan['hours']:.1f} hours, of one process; teachers' stored outputs come on top")
    if unknown:
        out += ["nothing like those with a ? was measured yet; to measure one of each kind, at a tenth of the epochs:", f"  {measure}"]
    return out
