"""Advice on a recipe: loads what it names, measures it, and has it judged; and the search of its temperatures and weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgekd import lazy, runs
from edgekd.advise.circumstances import Capacity, Schedule, judge_capacity, judge_shift, smells
from edgekd.advise.finding import Finding, ordered
from edgekd.advise.judge import Situation, judge
from edgekd.advise.measure import Answers, Facts, images, measure
from edgekd.advise.shifted import TwoSample
from edgekd.data.dataset import Dataset
from edgekd.errors import DoesNotFit, InputError
from edgekd.jobs import Job, Request, load_data, load_jobs, plan_job
from edgekd.losses import LOSSES
from edgekd.recipe.load import LoadedRecipe, preset
from edgekd.recipe.load import load as load_recipe
from edgekd.recipe.schema import Recipe

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Advice:
    """What was measured of a recipe, one entry a task, and what follows. ``silent`` says what could not be measured, and why."""

    recipe: str
    preset: str
    samples: int
    facts: tuple[Facts, ...]
    images: dict[str, TwoSample]
    capacity: tuple[Capacity, ...]
    findings: tuple[Finding, ...]
    silent: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def advise(request: Request, samples: int, progress: Progress) -> Advice:
    """Measure the recipe's teacher and data on at most ``samples`` training images and the whole validation split.

    Raises InputError for what cannot be loaded, or fewer than two samples.
    """
    if samples < 2:
        raise InputError(f"--samples {samples}", where="command line", expected="two at least; 2000 give figures to two points")
    loaded, data, jobs = load(request)
    recipe, schedule = loaded.recipe, preset(loaded.recipe, request.preset)
    lesson = lazy.load("edgekd.train.lesson:open_lesson")(loaded, data, runs.cache_folder(), progress, schedule)
    data, silent = lesson.data, list[str]()
    heading = f"presets.{request.preset}.views" if schedule.views else "views"
    recipe = recipe.model_copy(update={"views": schedule.views or recipe.views})
    teachers = list(_teachers(loaded, lesson, progress, silent))
    rows = np.sort(np.random.default_rng(request.seed).permutation(len(data.train))[:samples])
    temperatures = soft_temperatures(recipe)
    situation = Situation(recipe, temperatures, data.heads[0].name, heading)
    facts, findings = [], []
    for at, task in enumerate(data.heads):
        progress("measuring", at, len(data.heads))
        soft = situation.soft(task.name)
        facts.append(measure(_answers(lesson, at, rows, teachers[at].validation), soft[1] if soft else 1.0, seed=request.seed))
        findings += [*judge(facts[-1], situation), *judge_shift(facts[-1].tests, situation, task.name)]
    tests = _images(lesson, rows, request.seed)
    capacity = [c for job in jobs for c in _capacity(job, teachers, silent)]
    if not jobs:
        silent.append("the gap between teacher and student: no --target")
    findings += judge_shift(tests, situation)
    findings += [finding for c in capacity for finding in judge_capacity(c, recipe)]
    native, integer = lazy.load("edgekd.teachers.teacher:amx")(), not jobs or any(job.scheme.is_integer for job in jobs)
    circumstances = Schedule(request.preset, schedule, native, integer, len(data.train), len(data.validation))
    findings += smells(recipe, temperatures, circumstances)
    progress("measuring", len(data.heads), len(data.heads))
    found = ordered(_agreeing(findings))
    return Advice(recipe.name, request.preset, len(rows), tuple(facts), tests, tuple(capacity), found, tuple(silent))


def load(request: Request) -> tuple[LoadedRecipe, Dataset, list[Job]]:
    """The recipe, its data, and a job for each target, which may be none."""
    if request.targets:
        jobs = load_jobs(request)
        return jobs[0].loaded, jobs[0].data, jobs
    loaded = load_recipe(request.recipe)
    preset(loaded.recipe, request.preset)
    return loaded, load_data(loaded), []


def soft_temperatures(recipe: Recipe) -> dict[int, float]:
    """For each loss (by place) that takes an option ``temperature``, what it is: the recipe's, or else the loss's own."""
    found = {}
    for at, loss in enumerate(recipe.losses):
        parameters = inspect.signature(lazy.resolve(loss.name, LOSSES, where=f"recipe, losses[{at}].name")).parameters
        value = loss.options.get("temperature", getattr(parameters.get("temperature"), "default", None))
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            found[at] = float(value)
    return found


@dataclass(frozen=True)
class _Taught:
    """Of one task: logits [n, C] of the validation split, None where they are not known; parameters and MACs of what answers it."""

    validation: np.ndarray | None
    parameters: int | None
    macs: int | None


def _teachers(loaded: LoadedRecipe, lesson: Any, progress: Progress, silent: list[str]) -> Iterator[_Taught]:
    """What is to be known of the teacher of each task; its answers on the validation split are stored like the others."""
    data: Dataset = lesson.data
    lazy.load("torch:manual_seed")(0)  # one without a checkpoint is random: the same one as in the lesson
    try:
        teacher = lazy.load("edgekd.train.lesson:open_teacher")(loaded, data)
    except InputError:  # the lesson could be opened: so it is a file of outputs
        silent.append("accuracy and calibration: the teacher is a file, which has no outputs for the validation split")
        yield _Taught(None, None, None)
        return
    name = lazy.load("edgekd.teachers.soft_targets:key")(lesson.teacher_sha256, data.sha256, "validation")
    file = runs.cache_folder() / "soft_targets" / f"{name}.npy"
    stored = lazy.load("edgekd.teachers.soft_targets:soft_targets")(
        teacher, [lambda: data.validation.x], file, lambda n, total: progress("teacher on validation", n, total)
    )
    yield _Taught(stored[0], *lazy.load("edgekd.teachers.cost:cost")(teacher, data.shape))


def _answers(lesson: Any, at: int, rows: np.ndarray, validation: np.ndarray | None) -> Answers:
    data: Dataset = lesson.data
    task, splits = data.heads[at], {"train": data.train, "validation": data.validation, "test": data.test}
    counts = {}
    for name, split in splits.items():
        y = split.classes(at)
        counts[name] = np.bincount(y[y >= 0], minlength=len(task.labels))
    return Answers(
        task.name,
        task.labels,
        rows,
        np.asarray(lesson.targets[:, rows], np.float32),
        data.train.classes(at)[rows],
        validation,
        data.validation.classes(at),
        lesson.answers[at],
        counts,
    )


def _images(lesson: Any, rows: np.ndarray, seed: int) -> dict[str, TwoSample]:
    """Samples of the splits, and the views that a student is fed of the training images ``rows``, compared."""
    data, rng = lesson.data, np.random.default_rng(seed)
    x = data.train.x[rows]
    views = lesson.views.apply(x, rows, rng.integers(0, lesson.views.count, len(rows)))
    some = {name: split.x[np.sort(rng.permutation(len(split))[: len(rows)])] for name, split in
            (("validation", data.validation), ("test", data.test))}  # fmt: skip
    return images(x, views, some, seed)


def _capacity(job: Job, teachers: Sequence[_Taught], silent: list[str]) -> Iterator[Capacity]:
    """Of one target's student, against all teachers together."""
    try:
        figures = plan_job(job).figures
    except DoesNotFit as error:
        silent.append(f"the gap between teacher and student: {str(error).splitlines()[0]}")
        return
    parameters, macs = ([getattr(t, name) for t in teachers] for name in ("parameters", "macs"))
    yield Capacity(
        job.profile.name,
        sum(parameters) if all(parameters) else None,
        int(figures["parameters"].value),
        sum(macs) if all(macs) else None,
        int(figures["macs"].value),
    )


def _agreeing(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Without what another finding, which was measured, contradicts: less weight for the labels of a teacher that errs."""
    findings = list(findings)
    errs = any(f.name in ("weak_classes", "miscalibrated_classes") for f in findings)
    yield from (f for f in findings if not (errs and f.name == "heavy_labels"))
