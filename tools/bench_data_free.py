"""How much of the accuracy with data does a student keep that is taught on images made from the teacher alone?

    python tools/bench_data_free.py [RECIPE] [--method inversion,generator] [--samples 5000] [--steps 200]
        [--generator-steps 2000] [--seeds 3] [--preset demo] [--target nucleo-l4r5zi] [--least 0.8] [--threads 0] [--runs DIR] [--json]

The same student is built with the recipe's data and with each method's images: as many steps of training, the same losses, and the same
real validation and test splits. For each: test accuracy of the exported int8 file, mean and spread over the seeds. Images are made once,
by the seed that the method's table has. Exit code 0 if every method keeps the share --least of the accuracy with data, 1 if not.

Of Fashion-MNIST's teacher (width 64) a step of inversion costs about 7 ms of one core with AMX an image, so that 5000 images of 200
steps take two hours of one core; a step of the generator of 128 images 2.5 s, so that 2000 steps take an hour and a half. A build of
preset demo takes about a quarter of an hour of one core each seed. All of it goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import sys
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

from edgekd import console, runs
from edgekd.jobs import Job, Request, load_jobs, plan_job
from edgekd.recipe.load import LoadedRecipe
from edgekd.recipe.schema import Recipe
from edgekd.records import Plan

WITH_DATA = "with data"


def without_data(job: Job, method: str, samples: int, steps: int) -> Job:
    """``job`` on ``samples`` images made by ``method`` in ``steps``, trained for as many steps as with data."""
    recipe, name = job.loaded.recipe.model_dump(), job.request.preset
    schedule, more = recipe["presets"][name], len(job.data.train) / samples
    longer = {key: schedule[key] * more for key in ("float_epochs", "qat_epochs")}
    recipe["presets"][name] = schedule | longer
    recipe["data_free"] = {"method": method, "samples": samples, "steps": steps}
    return replace(job, loaded=LoadedRecipe(Recipe.model_validate(recipe), job.loaded.folder))


def result(job: Job, plan: Plan, root: Path, progress: console.Bars) -> dict[str, Any]:
    """Test accuracy of the file that is exported, and of the teacher."""
    run = bench_builds.built(job, plan, root, progress)
    figures = runs.read(run, "measure").figures
    return {"accuracy": figures["accuracy"].value, "teacher": figures["teacher_accuracy"].value, "run": str(run)}


def compare(options: argparse.Namespace, progress: console.Bars) -> dict[str, Any]:
    """Every way and seed; a plan of the recipe as it stands is every student's."""
    found: dict[str, list[dict[str, Any]]] = {}
    plan: Plan | None = None
    for seed in range(options.seeds):
        (job,) = load_jobs(Request(options.recipe, (options.target,), options.preset, seed, threads=options.threads))
        plan = plan or plan_job(job)
        steps = {"generator": options.generator_steps}
        methods = {m: steps.get(m, options.steps) for m in options.method.split(",")}
        jobs = {WITH_DATA: job} | {m: without_data(job, m, options.samples, n) for m, n in methods.items()}
        for name, one in jobs.items():
            progress.prefix = f"{name}, seed {seed}: "
            found.setdefault(name, []).append(result(one, plan, options.runs, progress))
    progress.prefix = ""
    spreads = {name: spread([one["accuracy"] for one in results]) for name, results in found.items()}
    full = spreads[WITH_DATA]["mean"]
    rows = {name: {**of, "of_with_data": of["mean"] / full, "results": found[name]} for name, of in spreads.items()}
    asked = {name: getattr(options, name) for name in ("recipe", "target", "preset", "samples", "steps", "generator_steps")}
    return {"asked": asked, "rows": rows, "environment": runs.environment()}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    bench_builds.add_common(made, target="nucleo-l4r5zi", folder="runs/data_free")
    made.add_argument("--method", default="inversion,generator")
    made.add_argument("--samples", type=int, default=5000)
    made.add_argument("--steps", type=int, default=200)
    made.add_argument("--generator-steps", type=int, default=2000)
    made.add_argument("--least", type=float, default=0.8)
    return made.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)

    def said(found: dict[str, Any]) -> tuple[list[str], bool]:
        rows = found["rows"]
        lines = [f"{name:<12} {bench_builds.shown(row)}, {100 * row['of_with_data']:.1f} % of with data" for name, row in rows.items()]
        return lines, all(row["of_with_data"] >= options.least for row in rows.values())

    return bench_builds.run(options, compare, said)


if __name__ == "__main__":
    sys.exit(main())
