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
    asked = list(_asked(loaded, lesson, progress))
    shown = np.arange(len(data.train)) if lesson.chosen is None else lesson.chosen
    rows = np.sort(np.random.default_rng(request.seed).permutation(shown)[:samples])
    temperatures = soft_temperatures(recipe)
    situation = Situation(recipe, temperatures, data.heads[0].name, heading)
    facts, findings = [], []
    for at, task in enumerate(data.heads):
        progress("measuring", at, len(data.heads))
        if lesson.targets[at] is None:
            silent.append(f"task {task.name}: it has no teacher")
            continue
        soft = situation.soft(task.name)
        held = _validation(recipe, lesson, at, asked, silent)
        facts.append(measure(_answers(lesson, at, rows, held), soft[1] if soft else 1.0, seed=request.seed))
        findings += [*judge(facts[-1], situation), *judge_shift(facts[-1].tests, situation, task.name)]
    tests = _images(lesson, rows, request.seed)
    capacity = [c for job in jobs for c in _capacity(job, asked, silent)]
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
    """The recipe, its data as the teachers see them, and a job for each target, which may be none."""
    if request.targets:
        jobs = load_jobs(request)
        return jobs[0].loaded, jobs[0].data.for_teachers, jobs
    loaded = load_recipe(request.recipe)
    preset(loaded.recipe, request.preset)
    return loaded, load_data(loaded).for_teachers, []


def soft_temperatures(recipe: Recipe) -> dict[int, float]:
    """For each loss (by place) that takes an option ``temperature``, what it is: the recipe's, or else the loss's own."""
    found = {}
    for at, loss in enumerate(recipe.losses):
        parameters = inspect.signature(lazy.resolve(loss.name, LOSSES, where=f"recipe, losses[{at}].name")).parameters
        value = loss.options.get("temperature", getattr(parameters.get("temperature"), "default", None))
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            found[at] = float(value)
    return found


def _asked(loaded: LoadedRecipe, lesson: Any, progress: Progress) -> Iterator[Any]:
    """Each teacher's answers, on the validation split too: computed once and stored, like the others."""
    ask, make = lazy.load("edgekd.train.ask:ask"), lazy.load("edgekd.train.ask:Asked")
    asked = make(lesson.data, lesson.views, validation=True)
    for table in loaded.recipe.all_teachers:
        yield ask(loaded, table, asked, runs.cache_folder(), progress)


def _validation(recipe: Recipe, lesson: Any, at: int, asked: Sequence[Any], silent: list[str]) -> np.ndarray | None:
    """Logits [n, C] of the teachers of one task together on the validation split; None where one has none."""
    found = [one for one in asked if one.task == at]
    outputs = [one.validation for one in found if one.validation is not None]
    task = lesson.data.heads[at]
    if len(outputs) < len(found):
        of = f" of task {task.name}" if task.name else ""
        silent.append(f"accuracy and calibration: a teacher{of} is a file, which has no outputs for the validation split")
        return None
    if len(outputs) == 1:
        return outputs[0]
    blend, name_of, recall = (lazy.load(f"edgekd.teachers.ensemble:{name}") for name in ("blend", "name_of", "recall"))
    how, y = recipe.ensemble.how if recipe.ensemble else "mean", lesson.data.validation.classes(at)
    weights = np.stack([recall(one, y, len(task.labels)) for one in outputs]) if how == "per_class" else None
    name = name_of([one.sha256 for one in found], how, weights, f"{lesson.data.sha256} validation")
    file = runs.cache_folder() / "ensembles" / f"{name}.npy"
    return blend([one[None] for one in outputs], how, file, reliability=weights)[0]


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
        np.asarray(lesson.targets[at][:, rows], np.float32),
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


def _capacity(job: Job, asked: Sequence[Any], silent: list[str]) -> Iterator[Capacity]:
    """Of one target's student, against the largest teacher."""
    try:
        figures = plan_job(job).figures
    except DoesNotFit as error:
        silent.append(f"the gap between teacher and student: {str(error).splitlines()[0]}")
        return
    cost = lazy.load("edgekd.teachers.cost:cost")
    # One that reads something else than images is not fed one here.
    macs = [None if one.module is None or one.table.reads else cost(one.module, job.data.for_teachers.shape) for one in asked]
    parameters = [one.parameters for one in asked]
    yield Capacity(
        job.profile.name,
        max(p or 0 for p in parameters) if all(parameters) else None,
        int(figures["parameters"].value),
        max(m or 0 for m in macs) if all(macs) else None,
        int(figures["macs"].value),
    )


def _agreeing(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Without what another finding, which was measured, contradicts: less weight for the labels of a teacher that errs."""
    findings = list(findings)
    errs = any(f.name in ("weak_classes", "miscalibrated_classes") for f in findings)
    yield from (f for f in findings if not (errs and f.name == "heavy_labels"))
