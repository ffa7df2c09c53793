"""What does a MobileNetV2 of transformers lose on Fashion-MNIST (32×32) that is pruned to half its MACs and distilled back?

    python tools/bench_prune.py [RECIPE] [--macs 0.5] [--importance taylor] [--spread even] [--steps 1] [--width 1.0] [--seeds 3]
        [--float-epochs 10] [--compress-epochs 8] [--qat-epochs 3] [--target pixel-8] [--most 1.0] [--threads 0] [--runs DIR] [--json]

The same student, teacher, losses and seeds, pruned and not: the pruned one is trained for --float-epochs, pruned, and distilled for
--compress-epochs; the whole one is trained for the sum of both, in one schedule. Both then take --qat-epochs of quantized training. For
each: test accuracy of the exported int8 file, mean and spread over the seeds, and the loss of each pair. Exit code 0 if the mean loss is
below --most points, 1 if not. All of it goes on where it was interrupted; --train and --test take the first images only, to try it out.
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
from edgekd.jobs import Job, Request, load_data, load_jobs, plan_job
from edgekd.plan.compressed import student_family
from edgekd.recipe.load import LoadedRecipe
from edgekd.recipe.schema import Recipe

WHOLE, PRUNED = "whole", "pruned"


def jobs_of(options: argparse.Namespace, seed: int) -> dict[str, Job]:
    """The job of each variant: the recipe's teacher and losses, with another student, data and schedule; its budgets are for its own."""
    budgets = {"accuracy_drop_pp": 100, "model_bytes": 1 << 30}
    (job,) = load_jobs(Request(options.recipe, (options.target,), options.preset, seed, budgets, threads=options.threads))
    given = job.loaded.recipe.model_dump()
    schedule = given["presets"][options.preset] | {"qat_epochs": options.qat_epochs, "max_macs": None, "batch": options.batch}
    data = {"source": "prune_student:padded", "options": {"train": options.train, "test": options.test}}
    student = {"family": "prune_student:mobilenet", "options": {"width_multiplier": options.width}}
    compress = {"method": "channels", "macs": options.macs, "importance": options.importance, "spread": options.spread}
    both = options.float_epochs + options.compress_epochs
    pruned = {**compress, "steps": options.steps, "epochs": options.compress_epochs}
    made = {}
    for name, epochs, table in ((WHOLE, both, None), (PRUNED, options.float_epochs, pruned)):
        text = {**given, "name": f"prune_{name}", "data": data, "student": student, "targets": {}, "compress": table}
        text["presets"] = {options.preset: schedule | {"float_epochs": epochs}}
        recipe = Recipe.model_validate(text)
        loaded = LoadedRecipe(recipe, job.loaded.folder)
        made[name] = replace(job, loaded=loaded, data=load_data(loaded), family=student_family(recipe, job.loaded.folder))
    return made


def result(job: Job, root: Path, progress: console.Bars) -> dict[str, Any]:
    """Test accuracy of the file that is exported, and what the student costs."""
    plan = plan_job(job)
    run = bench_builds.built(job, plan, root, progress)
    figures = runs.read(run, "measure").figures
    float_ = {name: figure.value for name, figure in runs.read(run, "float").figures.items()}
    costs = {name: plan.figures[name].value for name in ("macs", "parameters", "model_bytes")}
    return {"accuracy": figures["accuracy"].value, "teacher": figures["teacher_accuracy"].value, **costs, "float": float_, "run": str(run)}


def compare(options: argparse.Namespace, progress: console.Bars) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {WHOLE: [], PRUNED: []}
    for seed in range(options.seeds):
        for name, job in jobs_of(options, seed).items():
            progress.prefix = f"{name}, seed {seed}: "
            found[name].append(result(job, options.runs, progress))
    progress.prefix = ""
    pairs = zip(found[WHOLE], found[PRUNED], strict=True)
    lost = [100 * (whole["accuracy"] - pruned["accuracy"]) for whole, pruned in pairs]
    rows = {name: {**spread([one["accuracy"] for one in results]), "results": results} for name, results in found.items()}
    share = found[PRUNED][0]["macs"] / found[WHOLE][0]["macs"]
    asked = {name: value for name, value in vars(options).items() if name not in ("json", "runs", "threads")}
    return {"asked": asked, "rows": rows, "macs_left": share, "lost_pp": spread(lost), "environment": runs.environment()}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    bench_builds.add_common(made, target="pixel-8", folder="runs/prune")
    made.add_argument("--macs", type=float, default=0.5)
    made.add_argument("--importance", default="taylor")
    made.add_argument("--spread", default="even")
    made.add_argument("--steps", type=int, default=1)
    made.add_argument("--width", type=float, default=1.0)
    made.add_argument("--batch", type=int, default=128)
    made.add_argument("--float-epochs", type=float, default=10.0)
    made.add_argument("--compress-epochs", type=float, default=8.0)
    made.add_argument("--qat-epochs", type=float, default=3.0)
    made.add_argument("--train", type=int, default=0)
    made.add_argument("--test", type=int, default=0)
    made.add_argument("--most", type=float, default=1.0)
    return made.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)

    def said(found: dict[str, Any]) -> tuple[list[str], bool]:
        lines = []
        for name, row in found["rows"].items():
            one = row["results"][0]
            lines.append(f"{name:<7} {bench_builds.shown(row)}, {one['macs']:,} MACs, {one['model_bytes']:,} B")
        lost, left = found["lost_pp"], found["macs_left"]
        lines.append(f"lost: {lost['mean']:.2f} points (n = {lost['n']}) with {100 * left:.1f} % of the MACs")
        return lines, lost["mean"] < options.most

    return bench_builds.run(options, compare, said)


if __name__ == "__main__":
    sys.exit(main())
