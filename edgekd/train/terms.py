"""The recipe's losses, found, checked and tried once before anything is trained."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any

import torch

from edgekd import lazy
from edgekd.data.dataset import Task
from edgekd.errors import InputError
from edgekd.losses import LOSSES, OF_THE_SOFTMAX
from edgekd.recipe.schema import Recipe, Teacher
from edgekd.train.criterion import check_value, tried
from edgekd.train.distill import Paths, Term


def terms(recipe: Recipe, heads: tuple[Task, ...], taught: Collection[int]) -> tuple[Term, ...]:
    """The recipe's losses; ``taught`` are the tasks, by their place in ``heads``, that have a teacher.

    Those that tap nothing are tried on two samples here; the others when there is a student. Raises InputError for a loss that is not
    known, that is no loss, that does not take its options, or that asks a teacher where there is none.
    """
    made = []
    for n, loss in enumerate(recipe.losses):
        where = f"recipe, losses[{n}]"
        function = lazy.resolve(loss.name, LOSSES, where=f"{where}.name")
        if not callable(function):
            raise InputError(f"{loss.name} is a {type(function).__name__}", where=f"{where}.name", expected="a function, or a module class")
        if isinstance(function, type) and not issubclass(function, torch.nn.Module):
            raise InputError(f"{loss.name} is a class, but no module", where=f"{where}.name", expected="a function, or an nn.Module class")
        _check_options(loss.name, function, loss.options, where)
        task = task_of(loss.task, heads, f"{where}.task")
        student, teacher = _paths(loss.student), _paths(loss.teacher)
        term = Term(function, loss.weight, dict(loss.options), loss.name, student, teacher, task, loss.phase, where)
        if loss.teacher_paths and task not in taught:
            raise InputError(
                f"task {heads[task].name!r} has no teacher to tap", where=f"{where}.teacher", expected="a teacher of this task"
            )
        if student is None and teacher is None:
            _try(term, len(heads[task].labels), taught=task in taught, heads=heads)
        made.append(term)
    return tuple(made)


def task_of(name: str | None, heads: tuple[Task, ...], where: str) -> int:
    """The place of the task called ``name``; that of the first for None. Raises InputError that lists them."""
    names = [task.name for task in heads]
    if name is None:
        return 0
    if name in names:
        return names.index(name)
    near = get_close_matches(name, names, 1)
    every = ", ".join(names) if all(names) else "no name: the data has one task"
    raise InputError(f"no task is called {name!r}", where=where, expected=every, mend=f"task = {near[0]!r}" if near else "")


def _check_options(name: str, function: Any, options: Mapping[str, Any], where: str) -> None:
    """Raises InputError unless the loss takes its ``options`` after what it is fed."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # of a callable that does not say what it takes
    fed = ("student", "teacher", "samples" if isinstance(function, type) else "labels")
    try:
        signature.bind(*fed, **options)
    except TypeError as error:
        message = f"{name} does not take these options: {error}"
        raise InputError(message, where=f"{where}.options", expected=f"{name}{signature}") from error


def check_heads(made: Sequence[Term], heads: tuple[Task, ...]) -> None:
    """Raises InputError for a task that a phase teaches nothing of: its outputs would stay, or become, noise."""
    for task, head in enumerate(heads):
        for phase in ("float", "qat"):
            if not any(term.active(phase) and term.task == task for term in made):
                raise InputError(
                    f"no loss with a weight is of task {head.name!r} in the {phase} phase, so its outputs would mean nothing",
                    where="recipe, losses",
                    expected="at least one for each task",
                    mend=f'[[losses]] with task = "{head.name}"',
                )


def check_top_k(made: Sequence[Term], heads: tuple[Task, ...], cut: Mapping[int, Teacher]) -> None:
    """Raises InputError for a loss that needs every logit of a teacher of whom the largest are stored; ``cut`` are these, by task."""
    for term in made:
        if term.task not in cut or not term.weight or term.teacher is not None or term.name in OF_THE_SOFTMAX:
            continue
        classes = len(heads[term.task].labels)
        student, labels = torch.linspace(-1, 1, 2 * classes).reshape(2, classes).requires_grad_(), torch.tensor([0, classes - 1])
        # What stays a number for a teacher that says none does not ask it.
        if term.student is None and torch.isfinite(_called(term, student, torch.full((2, classes), float("nan")), labels)):
            continue
        raise InputError(
            f"{term.name} looks at every logit of the teacher, but top_k = {cut[term.task].top_k} of {classes} are stored",
            where=term.where,
            expected=f"{', '.join(sorted(OF_THE_SOFTMAX))}, or a loss that does not read the stored logits",
            mend="delete top_k under [teacher]",
        )


def _paths(value: str | list[str] | None) -> Paths:
    return tuple(value) if isinstance(value, list) else value


def _try(term: Term, classes: int, *, taught: bool, heads: tuple[Task, ...]) -> None:
    """Call a loss of logits on two samples; without a teacher, on what would be seen in its value."""
    # Steps of logits, as plain ones have neither a spread nor an order, and no draws, which trainings count on.
    steps = torch.linspace(-1, 1, 2 * classes).reshape(2, classes)
    student, labels = steps.clone().requires_grad_(), torch.tensor([0, classes - 1])
    found = tried(partial(_called, term, student, teacher := steps.flip(0).square(), labels), (student, teacher, labels), term)
    check_value(found, term.name, term.where, weight=term.weight or None)
    if not taught and not torch.isfinite(_called(term, student, torch.full((2, classes), float("nan")), labels)):
        name = heads[term.task].name
        raise InputError(
            f"{term.name} asks the teacher, but task {name!r} has none",
            where=term.where,
            expected="a loss that looks at labels alone, or a teacher of this task",
            mend=f'[[teachers]] with task = "{name}"',
        )


def _called(term: Term, student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor) -> Any:
    if not term.is_module:
        return lazy.attempt(term.name, partial(term.function, student, teacher, labels, **term.options), where=term.where)
    made = lazy.attempt(term.name, partial(term.function, student, teacher, 2, **term.options), where=term.where)
    return lazy.attempt(term.name, partial(made, student, teacher, labels, torch.arange(2)), where=term.where)
