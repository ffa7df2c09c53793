"""Is a searched student better than the one that the plan takes without a search, at the same budgets, trained equally long?

    python tools/bench_search.py [RECIPE] [--target T,T,…] [--seeds 3] [--preset demo] [--float-epochs X] [--qat-epochs Y]
        [--trials 300] [--trained 12] [--passes 0.5,1.5] [--supernet P] [--alone] [--least-gain 0.5] [--most-macs 0.6] [--threads 0]
        [--runs DIR] [--json]

One search serves all targets and chooses on validation, by seed 0. Then both students of each target are built with the same schedule over
the seeds, and the exported int8 file is run on the whole test set: accuracy with its sample standard deviation, the difference paired by
seed with the 95 % interval of Student's t, and MACs. A target holds if the searched student gains --least-gain points, or is at least as
accurate with --most-macs of the MACs. With --alone the first target is searched by itself as well, and the ratio of both searches' seconds
is shown, on the clock and of the processor (which does not depend on what else the machine does), if neither was begun before. Exit code 0
if every target holds, 1 if not. All of it goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# First, because it keeps openvino and others from reporting what is done here.
import edgekd  # noqa: F401  # pyright: ignore[reportUnusedImport]

# isort: split
import bench_builds
from bench_statistics import spread

from edgekd import console, runs, searching
from edgekd.jobs import Job, Request, load_jobs, plan_job
from edgekd.plan.halving import Rungs
from edgekd.recipe.load import LoadedRecipe
from edgekd.recipe.schema import Recipe

PLANNED, SEARCHED = "planned", "searched"


def searched(
    options: argparse.Namespace, targets: Sequence[str], root: Path, progress: console.Bars
) -> tuple[searching.Searched, dict[str, float]]:
    """What a search finds for ``targets``, and its seconds: on the clock, and of the processor with its child processes."""
    rungs = Rungs(options.trained, tuple(float(text) for text in options.passes.split(",")))
    request = Request(options.recipe, tuple(targets), options.preset, threads=options.threads)
    start, before = time.perf_counter(), sum(os.times()[:4])
    found = searching.search(request, root, progress, trials=options.trials, rungs=rungs, supernet=options.supernet)
    return found, {"clock": time.perf_counter() - start, "processor": sum(os.times()[:4]) - before}


def jobs_of(options: argparse.Namespace, targets: Sequence[str], seed: int, student: str) -> list[Job]:
    """One a target, with the schedule that both are trained by."""
    request = Request(options.recipe, tuple(targets), options.preset, seed, threads=options.threads, student=student)
    changes = {"float_epochs": options.float_epochs, "qat_epochs": options.qat_epochs}
    made = []
    for job in load_jobs(request):
        recipe = job.loaded.recipe.model_dump()
        recipe["presets"][options.preset] |= {name: value for name, value in changes.items() if value is not None}
        made.append(replace(job, loaded=LoadedRecipe(Recipe.model_validate(recipe), job.loaded.folder, job.loaded.beside)))
    return made


def result(job: Job, root: Path, progress: console.Bars) -> dict[str, Any]:
    """Test accuracy of the exported file, and what the student costs."""
    plan = plan_job(job)
    figures = runs.read(bench_builds.built(job, plan, root, progress), "measure").figures
    return {"accuracy": figures["accuracy"].value, **{name: plan.figures[name].value for name in ("macs", "model_bytes")}}


def compare(options: argparse.Namespace, progress: console.Bars) -> dict[str, Any]:
    targets = options.target.split(",")
    fresh = not options.runs.exists()
    found, seconds = searched(options, targets, options.runs / "search", progress)
    times = {"together_s": seconds, "targets": len(targets), "whole": fresh}
    if options.alone:
        times["alone_s"] = searched(options, targets[:1], options.runs / "alone", progress)[1]
    results: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for seed in range(options.seeds):
        for kind, student in ((PLANNED, ""), (SEARCHED, str(found.folder))):
            for job in jobs_of(options, targets, seed, student):
                progress.prefix = f"{job.profile.name}, {kind}, seed {seed}: "
                results.setdefault((job.profile.name, kind), []).append(result(job, options.runs, progress))
    progress.prefix = ""
    rows = {target: judged(options, results[target, PLANNED], results[target, SEARCHED]) for target in targets}
    asked = {name: value for name, value in vars(options).items() if name not in ("json", "runs", "threads")}
    return {"asked": asked, "rows": rows, "search": found.document(), "times": times, "environment": runs.environment()}


def judged(options: argparse.Namespace, planned: list[dict[str, Any]], found: list[dict[str, Any]]) -> dict[str, Any]:
    """One target: both accuracies, their difference in percentage points, the share of the MACs, and whether that is as asked."""
    each = {PLANNED: planned, SEARCHED: found}
    accuracies = {kind: [one["accuracy"] for one in results] for kind, results in each.items()}
    gain = spread([100 * (b - a) for a, b in zip(accuracies[PLANNED], accuracies[SEARCHED], strict=True)])
    macs = found[0]["macs"] / planned[0]["macs"]
    holds = gain["mean"] >= options.least_gain or (gain["mean"] >= 0 and macs <= options.most_macs)
    rows = {kind: {**spread(accuracies[kind]), "results": results} for kind, results in each.items()}
    return {**rows, "gain_pp": gain, "macs": macs, "holds": holds}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    six = "nucleo-l4r5zi,nrf52840dk,nucleo-u575zi,nucleo-h7a3zi,rp2040,corstone-300"
    bench_builds.add_common(made, target=six, folder="runs/bench_search")
    made.add_argument("--float-epochs", type=float)
    made.add_argument("--qat-epochs", type=float)
    made.add_argument("--trials", type=int, default=300)
    made.add_argument("--trained", type=int, default=12)
    made.add_argument("--passes", default="0.5,1.5")
    made.add_argument("--supernet", type=float, default=0.0)
    made.add_argument("--alone", action="store_true")
    made.add_argument("--least-gain", type=float, default=0.5)
    made.add_argument("--most-macs", type=float, default=0.6)
    return made.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)

    def said(found: dict[str, Any]) -> tuple[list[str], bool]:
        lines = []
        for target, row in found["rows"].items():
            gain, (planned, best) = row["gain_pp"], (row[kind] for kind in (PLANNED, SEARCHED))
            interval = "" if gain["low"] is None else f" [{gain['low']:+.2f}, {gain['high']:+.2f}]"
            lines.append(
                f"{target:<16} planned {bench_builds.shown(planned)}, {planned['results'][0]['macs']:,} MACs; searched "
                f"{bench_builds.shown(best)}, {best['results'][0]['macs']:,} MACs: {gain['mean']:+.2f} pp{interval}, "
                f"{100 * row['macs']:.0f} % of the MACs: {'holds' if row['holds'] else 'does not hold'}"
            )
        times = found["times"]
        if "alone_s" in times and times["whole"]:
            ratios = {kind: times["together_s"][kind] / times["alone_s"][kind] for kind in times["alone_s"]}
            shown = " and ".join(f"{ratio:.2f} times the seconds of the {kind}" for kind, ratio in ratios.items())
            lines.append(f"searching for {times['targets']} targets took {shown} that the first alone took")
        return lines, all(row["holds"] for row in found["rows"].values())

    return bench_builds.run(options, compare, said)


if __name__ == "__main__":
    sys.exit(main())
