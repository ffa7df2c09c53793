"""What every student of a recipe shares: the data, the teachers and their stored outputs. Made once, whatever the number of targets."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.data.dataset import Dataset
from edgekd.data.views import Views
from edgekd.errors import InputError
from edgekd.losses import OF_THE_SOFTMAX
from edgekd.recipe.load import LoadedRecipe
from edgekd.recipe.schema import DataFree, Preset, Recipe
from edgekd.teachers.soft_targets import key
from edgekd.teachers.teacher import Teacher, amx
from edgekd.teachers.top_k import Targets, TopK, rest
from edgekd.train.ask import Asked, Ready, answers, identity, ready, where_of
from edgekd.train.curate import Samples, check_critics, curate
from edgekd.train.distill import Term
from edgekd.train.readings import reading
from edgekd.train.synthesize import synthetic
from edgekd.train.taps import Live
from edgekd.train.terms import check_heads, check_top_k, task_of, terms
from edgekd.train.together import together

LOG = logging.getLogger(__name__)
#: Which share of an answer is much to be left out.
MUCH = 0.5
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Lesson:
    """``targets`` [views, N, classes] are the teachers' logits for the training set, ``answers`` for the test set, one array a task, mapped
    from the cache.

    ``targets`` of a task are None where nobody teaches it; ``answers`` also where its teacher is a file that has none for the test set:
    then its accuracy is not known. ``teacher_where`` is where they were computed, as a figure names it. ``live`` are teachers that losses
    tap. ``chosen`` and ``weights`` are which training samples are shown and how often, as a Feed has them. ``data`` are what the student is
    fed; ``data.for_teachers`` what all of this was made with.
    """

    recipe: Recipe
    data: Dataset
    views: Views
    terms: tuple[Term, ...]
    targets: tuple[Targets | None, ...]
    answers: tuple[np.ndarray | None, ...]
    teacher_sha256: str
    teacher_where: str = ""
    live: tuple[Live, ...] = ()
    chosen: np.ndarray | None = None
    weights: np.ndarray | None = None
    curated: tuple[dict[str, Any], ...] = ()
    teacher_parameters: int | None = None


def open_lesson(
    loaded: LoadedRecipe,
    data: Dataset,
    cache: Path,
    progress: Progress,
    preset: Preset | None = None,
    rehearse: Callable[[Lesson], None] | None = None,
) -> Lesson:
    """Load the teachers, and compute or find their outputs in ``cache``, over the views of ``preset`` or else the recipe's own.

    With [data_free] the lesson's data has a training split that is made from the teacher; with [curate] the critics have judged it.
    Teachers and critics see ``data.for_teachers``; the lesson is one for a student that is fed ``data``. Before any of that, which may
    take hours, all that can be wrong is looked for; ``rehearse`` gets a lesson like the one to come, whose targets are made up, and raises
    what a training of it would.
    """
    recipe, student_data, data = loaded.recipe, data, data.for_teachers
    if recipe.data_free is not None and student_data is not data:  # which the recipe's rules do not see in a student's own file
        raise InputError("is beside [data_free]", where="recipe, student.frontend", expected="one of the two", mend="delete frontend")
    tasks = [task_of(table.task, data.heads, where_of(recipe, table, "task")) for table in recipe.all_teachers]
    losses = terms(recipe, data.heads, set(tasks))
    views = Views(**((preset and preset.views) or recipe.views).model_dump())
    check_heads(losses, data.heads)
    check_top_k(losses, data.heads, {task: t for task, t in zip(tasks, recipe.all_teachers, strict=True) if t.top_k is not None})
    views.check(data.shape)
    check_critics(recipe.curate.critics if recipe.curate else (), [data.heads[task] for task in sorted(set(tasks))])
    how = recipe.ensemble.how if recipe.ensemble else "mean"
    asked = Asked(data, views, validation=how == "per_class")
    opened = [ready(loaded, table, asked) for table in recipe.all_teachers]
    if rehearse is not None:
        rehearse(fed(_made_up(recipe, asked, losses, opened), student_data))
    if recipe.data_free is not None:
        data = _without_data(opened[0], recipe.data_free, data, cache, progress)
        asked = replace(asked, data=data)
    found = [answers(one, asked, cache, progress) for one in opened]
    each = [together([a for a in found if a.task == task], how, asked, cache, progress) for task in range(len(data.heads))]
    sha256 = found[0].sha256 if len(found) == 1 else key(*(one.sha256 for one in found), repr(recipe.ensemble), repr(tasks))
    live = _live(losses, opened, data)
    where = "; ".join(dict.fromkeys(one.where for one in found))
    targets, tests = tuple(t for t, _ in each), tuple(a for _, a in each)
    _say_what_is_cut(losses, targets)
    lesson = Lesson(recipe, data, views, losses, targets, tests, sha256, where, live, teacher_parameters=_largest(opened))
    return fed(_judged(lesson), student_data)


def _say_what_is_cut(losses: Sequence[Term], targets: Sequence[Targets | None]) -> None:
    """How far what the largest logits leave out may be from what the teacher said, where that is much; of 1000 samples."""
    for term in losses:
        cut = targets[term.task]
        if isinstance(cut, TopK) and term.weight and term.name in OF_THE_SOFTMAX:
            temperature = float(term.options.get("temperature", inspect.signature(term.function).parameters["temperature"].default))
            share = float(rest(cut.rows[0, :1000], cut.classes, max(1.0, temperature)).mean())
            if share > MUCH:
                told = "%s: at temperature %g the %d classes that top_k = %d leaves out have %.0f %% of the answer, in equal parts"
                what = (term.where, temperature, cut.classes - cut.stored, cut.stored, 100 * share)
                LOG.warning(told + ": a larger top_k or a lower temperature", *what)


def fed(lesson: Lesson, data: Dataset) -> Lesson:
    """``lesson`` for a student that is fed ``data``: the same samples through any front-end, and the same views of them.

    The teachers' outputs stay what they are. Raises InputError where the teachers see something else of ``data``.
    """
    if data is lesson.data or data.teachers_see is lesson.data.teachers_see is None:
        return lesson
    own = data.for_teachers
    if own.sha256 != lesson.data.for_teachers.sha256:
        found, expected = "the teachers of this student see other samples", "the samples of [data]"
        raise InputError(found, where="recipe, student.frontend", expected=expected)
    return replace(lesson, data=data, views=replace(lesson.views, of=None if own is data else own.shape[:2]))


def _made_up(recipe: Recipe, asked: Asked, losses: tuple[Term, ...], opened: Sequence[Ready]) -> Lesson:
    """A lesson whose targets are random: what they say is of no interest."""
    taught = {one.task for one in opened}
    shapes = [(asked.views.count, len(asked.data.train), len(head.labels)) for head in asked.data.heads]
    targets = tuple(_random(shape) if task in taught else None for task, shape in enumerate(shapes))
    live = _live(losses, opened, asked.data)
    nothing = (None,) * len(targets)
    return Lesson(recipe, asked.data, asked.views, losses, targets, nothing, "", live=live, teacher_parameters=_largest(opened))


def _random(shape: tuple[int, int, int]) -> np.ndarray:
    """Numbers in windows of one long row: no two samples are alike, and a million of a thousand classes take 2 MB."""
    _, samples, classes = shape
    row = np.random.default_rng(0).random(samples + classes - 1, np.float32).astype(np.float16)
    return np.broadcast_to(np.lib.stride_tricks.sliding_window_view(row, classes), shape)


def _largest(opened: Sequence[Ready]) -> int | None:
    """Parameters of the largest teacher, where those of all are known."""
    sizes = [one.parameters for one in opened]
    return None if None in sizes else max(size for size in sizes if size is not None)


def _live(losses: Sequence[Term], opened: Sequence[Ready], data: Dataset) -> tuple[Live, ...]:
    """The teachers that some loss taps."""
    tapped = {term.task for term in losses if term.teacher_paths}
    return tuple(
        Live(one.teacher, one.task, amx(), None if one.table.reads is None else reading(data.train, one.table.reads))
        for one in opened
        if one.task in tapped and one.teacher is not None
    )


def _without_data(one: Ready, table: DataFree, data: Dataset, cache: Path, progress: Progress) -> Dataset:
    """``data`` with a training split that is made from the recipe's only teacher."""
    assert isinstance(one.teacher, Teacher), "the recipe's rules let no other pass"
    return synthetic(data, table, one.teacher, identity(one.teacher, one.table), cache, progress)


def _judged(lesson: Lesson) -> Lesson:
    """With what the recipe's critics leave of the training split; they see the images themselves, of all views the first."""
    if lesson.recipe.curate is None:
        return lesson
    train, heads = lesson.data.train, lesson.data.heads
    samples = [
        Samples(train.x, targets[0], train.classes(task), heads[task])
        for task, targets in enumerate(lesson.targets)
        if targets is not None and not isinstance(targets, TopK)  # the recipe's rules let no TopK pass
    ]
    found = curate(lesson.recipe.curate.critics, samples)
    return replace(lesson, chosen=found.chosen, weights=found.weights, curated=found.kept)
