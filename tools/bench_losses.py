"""Which ways of distillation help? Each trains the recipe's student on the same data, seeds and schedule, against plain training.

    python tools/bench_losses.py RECIPE METHODS.toml [--only a,b] [--seeds 3] [--preset demo] [--target T] [--float-epochs X]
        [--qat-epochs Y] [--threads 1] [--cache DIR] [--least-gain 0.5] [--plan] [--json] [--markdown FILE [--section NAME]]

METHODS.toml says what each method changes in the recipe (tools/bench_losses_methods.py); the table ``plain`` is cross-entropy on labels
alone. The student is planned once, from the recipe as it stands. Every training goes through the stages of `edgekd build`, assistants,
curation and quantized phase included, and the exported int8 file is run on the whole test set. For each method: test accuracy, mean and
sample standard deviation over the seeds, its difference to plain training paired by seed with the 95 % interval of Student's t, and what
that says: helps, hurts, or no difference. With twenty methods one in twenty "helps" or "hurts" by chance.

The method that is best on validation (by its exported file, mean of the seeds) has to beat plain training by --least-gain percentage
points on test, and every other method that says ``baseline = true``: exit code 0 if it does, over three seeds or more, 1 if not, 2 for
what cannot be done as asked. Losses of all methods are tried before the first is trained.

Results are kept under --cache by the hash of what they depend on, and trainings resume after their last whole pass: the same command goes
on after an interruption, and a second process that runs the same command takes other trainings. edgekd's own code is not part of that
hash: results that other code made are used, and counted (stale_results); another --cache makes all of them again. --plan trains nothing:
it lists what is there, what is to be done, and the hours, by what was measured before (at any number of epochs).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# First, because it keeps openvino and others from reporting what is done here.
import edgekd  # noqa: F401  # pyright: ignore[reportUnusedImport]

# isort: split
import bench_losses_plan
import bench_losses_report
from bench_losses_methods import PLAIN, Shelf, read_shelf
from bench_losses_runs import Busy, Contest, code, named, open_contest, result, result_file, stored, try_out

from edgekd import console, runs
from edgekd.errors import EdgekdError, InputError
from edgekd.jobs import Request


def compete(shelf: Shelf, contest: Contest, seeds: int, progress: console.Bars) -> dict[str, list[dict[str, Any]]]:
    """Train what is not there yet, seed by seed, so that an early end leaves all methods with as many; returns all results."""
    for method in shelf.methods:
        if any(stored(result_file(contest, method.name, seed)) is None for seed in range(seeds)):
            progress.prefix = f"{method.name}: "
            with named(shelf, method):
                try_out(contest, method.name, progress)
    found: dict[tuple[str, int], dict[str, Any]] = {}
    left = [(method, seed) for seed in range(seeds) for method in shelf.methods]
    for wait in (None, progress.say):  # what another process is training is asked for again at the end
        later = []
        for method, seed in left:
            progress.prefix = f"{method.name}, seed {seed}: "
            with named(shelf, method):
                try:
                    found[method.name, seed] = result(contest, method.name, seed, progress, wait=wait)
                except Busy:
                    later.append((method, seed))
        left = later
    progress.prefix = ""
    return {method.name: [found[method.name, seed] for seed in range(seeds)] for method in shelf.methods}


def report_of(shelf: Shelf, contest: Contest, options: argparse.Namespace, progress: console.Bars) -> dict[str, Any]:
    results = compete(shelf, contest, options.seeds, progress)
    made = bench_losses_report.about(results, code())
    if made["stale_results"]:
        progress.say(f"{made['stale_results']} of {made['results']} results in {options.cache} were made by another version of the code")
    judged = bench_losses_report.judge(results, shelf.methods, options.least_gain)
    student = bench_losses_report.student_of(contest.plan)
    return {
        "schema_version": 1,
        "name": options.section or shelf.file.stem,
        "about": made,
        "student": student,
        **judged,
        "results": results,
    }


#: Options that decide what a table says.
_DEFAULTS = {"only": "", "seeds": 3, "preset": "demo", "target": None, "float_epochs": None, "qat_epochs": None, "section": ""}


def command(options: argparse.Namespace, **changes: Any) -> str:
    """The command line that asks for the same, with ``changes``; options that say the default are left out."""
    asked = vars(options) | changes
    words = ["python", "tools/bench_losses.py", asked["recipe"], str(asked["methods"])]
    for name, default in _DEFAULTS.items():
        if asked[name] != default:
            words += [f"--{name.replace('_', '-')}", f"{asked[name]:g}" if isinstance(asked[name], float) else str(asked[name])]
    words += [] if asked["least_gain"] == 0.5 else ["--least-gain", f"{asked['least_gain']:g}"]
    return shlex.join(words)


def opened(options: argparse.Namespace) -> tuple[Shelf, Contest]:
    """Methods and data, checked. Raises InputError."""
    epochs = {"float_epochs": options.float_epochs, "qat_epochs": options.qat_epochs}
    shelf = read_shelf(options.recipe, options.methods, options.preset, {k: v for k, v in epochs.items() if v is not None})
    if options.only:
        shelf = shelf.only([name.strip() for name in options.only.split(",")])
    if options.markdown is not None and not options.plan:
        bench_losses_report.checked_markdown(options.markdown, options.section or shelf.file.stem)
    target = options.target or next(iter(shelf.base.recipe.targets), None)
    if target is None:
        raise InputError("the recipe names none", where="--target", expected="a target's name", mend="edgekd targets list")
    request = Request(options.recipe, (target,), options.preset, 0, {}, options.threads)
    return shelf, open_contest(shelf, request, options.cache)


def show_plan(contest: Contest, options: argparse.Namespace) -> None:
    plan = bench_losses_plan.foreseen(contest, options.seeds)
    schedule, student = contest.base.preset, bench_losses_report.student_of(contest.plan)
    tenth = {"float_epochs": schedule.float_epochs / 10, "qat_epochs": schedule.qat_epochs / 10}
    unknown = [name for name in plan["to_measure"] if name != PLAIN]
    measure = command(options, only=",".join(unknown), seeds=1, **tenth)
    if options.json:
        print(json.dumps({**plan, "student": student}, indent=2))
    else:
        print("\n".join(bench_losses_plan.lines(plan, student, measure)))


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


def count(text: str) -> int:
    if (value := int(text)) < 1:
        raise ValueError
    return value


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="Ways of distillation against plain training: same student, data, seeds and schedule.")
    made.add_argument("recipe")
    made.add_argument("methods", type=Path, help="what each method changes in the recipe, e.g. tools/bench_losses/fashion_mnist.toml")
    made.add_argument("--only", default="", help="names of methods, with commas between; plain always takes part")
    made.add_argument("--seeds", type=count, default=3, help="how many, from 0 on; two at least, for a spread")
    made.add_argument("--preset", default="demo")
    made.add_argument("--target", help="left out: the first that the recipe names")
    made.add_argument("--float-epochs", type=positive)
    made.add_argument("--qat-epochs", type=positive)
    made.add_argument("--threads", type=count, default=1, help="one a process is most efficient: start the command twice on two cores")
    made.add_argument("--cache", type=Path, default=runs.cache_folder() / "bench_losses")
    made.add_argument("--least-gain", type=float, default=0.5, help="percentage points of test accuracy over plain training")
    made.add_argument("--plan", action="store_true", help="train nothing: say what is there, what is to be done, and the hours")
    made.add_argument("--json", action="store_true")
    made.add_argument("--markdown", type=Path, help="a file with a section for this table, which is written anew")
    made.add_argument("--section", default="", help="that section's name; left out: the name of METHODS.toml")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        shelf, contest = opened(options)
        if options.plan:
            show_plan(contest, options)
            return 0
        with console.bars() as progress, contextlib.redirect_stdout(sys.stderr):  # stdout is for the result
            report = report_of(shelf, contest, options, progress)
        if options.markdown is not None:
            bench_losses_report.write_markdown(options.markdown, report, command(options))
    except EdgekdError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    print(json.dumps(report, indent=2) if options.json else "\n".join(bench_losses_report.lines(report)))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
