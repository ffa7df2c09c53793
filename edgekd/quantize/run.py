"""A request, or a build's float student, becomes a folder that is filled as a build fills a run, so that `edgekd report` shows it.

graph/, export/ and records/ as a run has them; float/ holds the float model.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekd import host, lazy, runs
from edgekd.errors import InputError
from edgekd.jobs import built_from
from edgekd.profile.load import load as load_profile
from edgekd.quantize.data import Pixels, of_dataset, open_data
from edgekd.quantize.model import open_model, open_student
from edgekd.quantize.stages import BUDGETS, Job, Progress, Work
from edgekd.records import Record, figures_of

SAMPLES = 300


@dataclass(frozen=True)
class Request:
    """``samples`` to calibrate with, drawn with ``seed``; ``shape`` of one sample, channels last, where the model leaves it open."""

    model: str
    data: str
    target: str
    weights: Path | None = None
    samples: int = SAMPLES
    seed: int = 0
    pixels: Pixels | None = None
    shape: tuple[int, ...] | None = None
    threads: int = 0


def quantize(request: Request, root: Path, out: Path | None, progress: Progress) -> Path:
    """Quantize a float model for a target; returns the folder, ``out`` or one below ``root`` that the request names.

    Raises InputError for a model, data or target that is not there, does not fit or is quantized already, Disagreement if the model read
    here answers otherwise than the original.
    """
    _check_source(request)
    profile = load_profile(request.target)
    model = open_model(request.model, request.weights)
    data = open_data(request.data, _shape(request.shape, model.shape), count=request.samples, seed=request.seed)
    data = replace(data, pixels=request.pixels or data.pixels)
    task = Job(model, data, profile, request.samples, request.seed, request.threads)
    folder = out or runs.create(root, f"quantize-{_word(model.name)}", profile.name, task.identity)
    return _fill(task, folder, progress)


def baseline(run: Path, progress: Progress, *, samples: int = SAMPLES, seed: int = 0, threads: int = 0) -> Path:
    """Quantize the float student of a build, in ``run``/baseline, and record in ``run`` what became of it; returns that folder.

    Raises InputError if the run has no float student, or its data changed.
    """
    recipe, profile, dataset, _ = built_from(run)
    model = open_student(run, recipe, profile)
    data = of_dataset(dataset, model.shape, count=samples, seed=seed)
    with runs.lock(run):
        began = time.monotonic()
        made = _fill(Job(model, data, profile, samples, seed, threads, recipe.student.softmax), run / "baseline", progress)
        (found,) = runs.read(made, "measure").body
        config = {"folder": "baseline", "samples": samples, "seed": seed}
        inputs = {"float": model.sha256, "data": data.sha256}
        runs.write(run, Record("baseline", inputs, config, runs.environment(), found, round(time.monotonic() - began, 2)))
    return made


def is_run(text: str) -> bool:
    """Whether MODEL is a run folder."""
    return (Path(text) / "request.json").is_file()


def _check_source(request: Request) -> None:
    for value, option, example in ((request.data, "--data", "--data samples.npz"), (request.target, "--target", "--target nucleo-l4r5zi")):
        if not value:
            raise InputError(f"no {option}", where=request.model, expected=f"{option}, but for a run of `edgekd build`", mend=example)


def _shape(stated: tuple[int, ...] | None, said: tuple[int | None, ...] | None) -> tuple[int | None, ...] | None:
    """What the command line and the model say of a sample together. Raises InputError where they contradict each other."""
    if stated is None or said is None:
        return stated or said
    if len(stated) != len(said) or any(b not in (None, a) for a, b in zip(stated, said, strict=True)):
        found, expected = (",".join("?" if d is None else str(d) for d in shape) for shape in (stated, said))
        raise InputError(f"--shape {found}", where="command line", expected=f"{expected}, as the model says")
    return stated


def _word(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[:60] or "model"


def _fill(task: Job, folder: Path, progress: Progress) -> Path:
    _begin(task, folder)
    lazy.load("torch:set_num_threads")(host.threads(task.threads))
    work = Work(task, folder, progress)
    inputs = {"model": task.model.sha256, "data": task.data.sha256}
    limits = {
        n: {"limit": getattr(task.profile.budgets, n), "unit": unit, "source": f"profile {task.profile.name}"}
        for n, unit in BUDGETS.items()
    }
    config = {"samples": len(task.data.calibration), "seed": task.seed, "budgets": limits}
    stages: dict[str, Callable[[], Any]] = {
        "freeze": work.freeze,
        "export": work.export,
        "verify": work.verify,
        "measure": work.measure,
        "plan": work.plan,
    }
    for stage, make in stages.items():
        if stage != "verify":  # which says more of itself
            progress(stage, 0, 1)
        began = time.monotonic()
        body = make()
        seconds = round(time.monotonic() - began, 2)
        runs.write(folder, Record(stage, inputs, config, runs.environment(), body, seconds, figures=figures_of(body)))
        if stage != "verify":
            progress(stage, 1, 1)
    return folder


def _begin(task: Job, folder: Path) -> None:
    """The folder, with what was asked. Raises InputError if something else lies there."""
    if (folder / "request.json").exists() and runs.request(folder).get("command") != "quantize":
        raise InputError("holds something else", where=str(folder), expected="an empty folder, or one that `edgekd quantize` made")
    for old in (folder / "records").glob("*.json"):
        old.unlink()
    (folder / "records").mkdir(parents=True, exist_ok=True)
    runs.atomic_write(folder / "request.json", json.dumps(task.identity, indent=1, sort_keys=True).encode())
