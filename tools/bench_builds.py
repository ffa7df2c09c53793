"""What the benchmarks that compare whole builds do alike: build into a run folder, show progress, print, and say it by the exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from edgekd import console, host, runs
from edgekd.errors import EdgekdError
from edgekd.jobs import Job
from edgekd.records import Plan
from edgekd.stages import Build
from edgekd.train.lesson import open_lesson

#: What was found → the lines to print, and whether it is as asked.
Said = Callable[[dict[str, Any]], tuple[Sequence[str], bool]]


def built(job: Job, plan: Plan, root: Path, progress: console.Bars) -> Path:
    """The run folder of a build, which goes on where it was interrupted."""
    run = runs.create(root, job.loaded.recipe.name, job.profile.name, job.identity)
    with runs.lock(run):
        lesson = open_lesson(job.loaded, job.data, runs.cache_folder(), progress, job.preset)
        Build(job, plan, lesson, run, progress).all()
    return run


def add_common(made: argparse.ArgumentParser, *, target: str, folder: str) -> None:
    """The options that all of them have."""
    made.add_argument("recipe", nargs="?", default="fashion_mnist")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--preset", default="demo")
    made.add_argument("--target", default=target)
    made.add_argument("--threads", type=int, default=0)
    made.add_argument("--runs", type=Path, default=Path(folder))
    made.add_argument("--json", action="store_true")


def run(options: argparse.Namespace, compare: Callable[[argparse.Namespace, console.Bars], dict[str, Any]], said: Said) -> int:
    """Exit code 0 where what ``compare`` finds is as asked, 1 where it is not, and that of an error, which is printed."""
    torch.set_num_threads(host.threads(options.threads))
    try:
        with console.bars() as progress:
            found = compare(options, progress)
    except EdgekdError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    lines, good = said(found)
    print(json.dumps(found, indent=1) if options.json else "\n".join(lines))
    return 0 if good else 1


def shown(of: dict[str, Any]) -> str:
    """A spread (see bench_statistics) of shares, in percent."""
    deviation = "" if of["sd"] is None else f" ± {100 * of['sd']:.2f}"
    return f"{100 * of['mean']:.2f} %{deviation} (n = {of['n']})"
