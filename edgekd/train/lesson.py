"""What every student of a recipe shares: the data, the teachers and their stored outputs. Made once, whatever the number of targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.data.dataset import Dataset
from edgekd.data.views import Views
from edgekd.recipe.load import LoadedRecipe
from edgekd.recipe.schema import DataFree, Preset, Recipe
from edgekd.teachers.soft_targets import key
from edgekd.teachers.teacher import Teacher, amx
from edgekd.train.ask import Answers, Asked, ask, identity, open_teacher, where_of
from edgekd.train.curate import Samples, curate
from edgekd.train.distill import Term
from edgekd.train.readings import reading
from edgekd.train.synthesize import synthetic
from edgekd.train.taps import Live, listed
from edgekd.train.terms import task_of, terms
from edgekd.train.together import together

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Lesson:
    """``targets`` float16 [views, N, classes] are the teachers' logits for the training set, ``answers`` for the test set, one array a
    task.

    ``targets`` of a task are None where nobody teaches it; ``answers`` also where its teacher is a file that has none for the test set:
    then its accuracy is not known. ``teacher_where`` is where they were computed, as a figure names it. ``live`` are teachers that losses
    tap. ``chosen`` and ``weights`` are which training samples are shown and how often, as a Feed has them.
    """

    recipe: Recipe
    data: Dataset
    views: Views
    terms: tuple[Term, ...]
    targets: tuple[np.ndarray | None, ...]
    answers: tuple[np.ndarray | None, ...]
    teacher_sha256: str
    teacher_where: str = ""
    live: tuple[Live, ...] = ()
    chosen: np.ndarray | None = None
    weights: np.ndarray | None = None
    curated: tuple[dict[str, Any], ...] = ()
    teacher_parameters: int | None = None

    @property
    def teacher_outputs(self) -> np.ndarray | None:
        """What the first task's teacher answers on the test set: logits float16 [N, classes]."""
        return self.answers[0]


def open_lesson(loaded: LoadedRecipe, data: Dataset, cache: Path, progress: Progress, preset: Preset | None = None) -> Lesson:
    """Load the teachers, and compute or find their outputs in ``cache``, over the views of ``preset`` or else the recipe's own.

    With [data_free] the lesson's data has a training split that is made from the teacher; with [curate] the critics have judged it.
    """
    recipe = loaded.recipe
    tasks = [task_of(table.task, data.heads, where_of(recipe, table, "task")) for table in recipe.all_teachers]
    losses = terms(recipe, data.heads, set(tasks))
    views = Views(**((preset and preset.views) or recipe.views).model_dump())
    if recipe.data_free is not None:
        data = _without_data(loaded, recipe.data_free, data, cache, progress)
    how = recipe.ensemble.how if recipe.ensemble else "mean"
    asked = Asked(data, views, validation=how == "per_class")
    found = [ask(loaded, table, asked, cache, progress) for table in recipe.all_teachers]
    each = [together([a for a in found if a.task == task], how, asked, cache, progress) for task in range(len(data.heads))]
    sha256 = found[0].sha256 if len(found) == 1 else key(*(one.sha256 for one in found), repr(recipe.ensemble), repr(tasks))
    tapped = {term.task for term in losses if any(not path.startswith("student:") for path in listed(term.teacher))}
    live = tuple(_live(one, data) for one in found if one.task in tapped and one.module is not None)
    where = "; ".join(dict.fromkeys(one.where for one in found))
    sizes = [one.parameters for one in found]
    targets, answers = tuple(t for t, _ in each), tuple(a for _, a in each)
    lesson = Lesson(recipe, data, views, losses, targets, answers, sha256, where, live)
    lesson = replace(lesson, teacher_parameters=None if None in sizes else max(size for size in sizes if size is not None))
    return _judged(lesson)


def _live(one: Answers, data: Dataset) -> Live:
    assert one.module is not None
    return Live(one.module, one.task, amx(), None if one.table.reads is None else reading(data.train, one.table.reads))


def _without_data(loaded: LoadedRecipe, table: DataFree, data: Dataset, cache: Path, progress: Progress) -> Dataset:
    """``data`` with a training split that is made from the recipe's only teacher."""
    teacher = open_teacher(loaded, data)
    assert isinstance(teacher, Teacher), "the recipe's rules let no other pass"
    return synthetic(data, table, teacher, identity(teacher, loaded.recipe.all_teachers[0]), cache, progress)


def _judged(lesson: Lesson) -> Lesson:
    """With what the recipe's critics leave of the training split; they see the images themselves, of all views the first."""
    if lesson.recipe.curate is None:
        return lesson
    train, heads = lesson.data.train, lesson.data.heads
    samples = [
        Samples(train.x, targets[0], train.classes(task), heads[task]) for task, targets in enumerate(lesson.targets) if targets is not None
    ]
    found = curate(lesson.recipe.curate.critics, samples)
    return replace(lesson, chosen=found.chosen, weights=found.weights, curated=found.kept)
