"""The recipe's losses over one student in one phase: what each is fed, their modules, their weighted sum."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from edgekd import lazy, team
from edgekd.errors import InputError
from edgekd.recipe.schema import listed
from edgekd.train.distill import Batch, Paths, Term
from edgekd.train.taps import Taps

#: (task, path) → what the teacher's module answered; see Tutors.
Taught = Mapping[tuple[int, str], torch.Tensor]


@dataclass(frozen=True)
class Lessons:
    """What criteria need to know of the data: which outputs belong to each task, and how many training samples there are."""

    columns: tuple[slice, ...]
    samples: int


class Criterion(nn.Module):
    """``criterion(outputs, batch, taught)``: the weighted sum of ``terms`` and the value of each, once ``model`` has computed ``outputs``.

    Its parameters and buffers are those of the losses that are modules; call ``prepare`` before these are asked for.
    """

    def __init__(self, model: nn.Module, terms: Sequence[Term], lessons: Lessons) -> None:
        super().__init__()
        self.terms, self.lessons = tuple(terms), lessons
        self.names = _names(self.terms)
        self.modules_of_losses = nn.ModuleDict()
        paths = {path: term.where for term in reversed(self.terms) for path in term.student_paths}
        self._taps = None
        if paths:
            # One at a time, so that the message names the loss that is wrong.
            for path, where in paths.items():
                Taps(model, [path], where=where).close()
            self._taps = Taps(model, paths)

    @property
    def needs_example(self) -> bool:
        return self._taps is not None or any(t.is_module or listed(t.teacher) for t in self.terms)

    def prepare(self, outputs: torch.Tensor, batch: Batch, taught: Taught) -> None:
        """Make the losses that are modules, of an example of what they will be fed, and try each loss that taps.

        Raises InputError for a loss that does not take what it is fed.
        """
        for n, term in enumerate(self.terms):
            student, teacher = self._fed(term, outputs, batch, taught)
            student, teacher = _example(student, gradient=True), _example(teacher, gradient=False)
            if term.is_module:
                make = partial(term.function, student, teacher, self.lessons.samples, **term.options)
                made = lazy.attempt(term.name, make, where=term.where)
                if not isinstance(made, nn.Module):
                    raise InputError(f"{term.name} made a {type(made).__name__}", where=term.where, expected="an nn.Module")
                self.modules_of_losses[str(n)] = made
                loss = partial(_copy(made, make, term), student, teacher, batch.labels[term.task], batch.indices)
            elif term.student is not None or term.teacher is not None:
                loss = partial(term.function, student, teacher, batch.labels[term.task], **term.options)
            else:
                continue  # tried when the lesson was opened
            with torch.enable_grad():
                found = tried(partial(lazy.attempt, term.name, loss, where=term.where), (student, teacher, *batch.labels), term)
                check_value(found, term.name, term.where, weight=term.weight or None)

    def forward(self, outputs: torch.Tensor, batch: Batch, taught: Taught) -> tuple[torch.Tensor, torch.Tensor]:
        """The weighted sum, and each term's own value, detached [terms], in the order of ``names``."""
        values = []
        for n, term in enumerate(self.terms):
            student, teacher = self._fed(term, outputs, batch, taught)
            labels = batch.labels[term.task]
            loss = partial(term.function, student, teacher, labels, **term.options)
            if term.is_module:
                loss = partial(self.modules_of_losses[str(n)], student, teacher, labels, batch.indices)
            values.append(check_value(lazy.attempt(term.name, loss, where=term.where), term.name, term.where))
        total = torch.stack([term.weight * value for term, value in zip(self.terms, values, strict=True)]).sum()
        return total, torch.stack([value.detach() for value in values])

    def close(self) -> None:
        if self._taps is not None:
            self._taps.close()

    def _fed(self, term: Term, outputs: torch.Tensor, batch: Batch, taught: Taught) -> tuple[Any, Any]:
        """What ``term`` compares."""
        logits = outputs[:, self.lessons.columns[term.task]]
        student = (
            logits
            if term.student is None
            else _one_or_all(term.student, [self._tapped(path, logits, batch) for path in listed(term.student)])
        )
        if term.teacher is None:
            stored = batch.teacher[term.task] if batch.teacher else None
            # A task without a teacher has losses that look at labels alone: the lesson has made sure.
            return student, logits.detach() if stored is None else stored
        found = [
            self._tapped(path.removeprefix("student:"), logits, batch).detach() if path.startswith("student:") else taught[term.task, path]
            for path in listed(term.teacher)
        ]
        return student, _one_or_all(term.teacher, found)

    def _tapped(self, path: str, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        if not path:
            return logits
        assert self._taps is not None
        return self._taps[path] if batch.part is None else team.here().whole(self._taps[path])


def check_value(found: object, name: str, where: str, *, weight: float | None = None) -> torch.Tensor:
    """``found``. Raises InputError unless it is what a loss returns; with ``weight``, also unless it is finite, times that."""
    expected = "one number, computed by torch from the student's values"
    if not isinstance(found, torch.Tensor) or found.ndim or not found.requires_grad or not found.is_floating_point():
        raise InputError(f"{name} returned {found!r:.80}", where=where, expected=expected)
    if weight is not None and not torch.isfinite(found.detach() * weight):
        told = f"{name} returned {float(found.detach()):g} for an example of two samples, with weight {weight:g}"
        raise InputError(told, where=where, expected="a finite number", mend="other options, or another weight")
    return found


def tried(loss: Callable[[], object], fed: Sequence[Any], term: Term) -> object:
    """What ``loss`` returns. Raises InputError if it overwrites what it is ``fed``: other losses are fed the same."""
    tensors = [one for each in fed for one in (each if isinstance(each, list | tuple) else [each])]
    before = [tensor._version for tensor in tensors]
    found = loss()
    if [tensor._version for tensor in tensors] != before:
        expected = "a function that leaves its arguments as they are: other losses are fed the same tensors"
        raise InputError(f"{term.name} overwrites what it is fed", where=term.where, expected=expected, mend="x = x * 2 instead of x *= 2")
    return found


def _copy(made: nn.Module, make: Callable[[], Any], term: Term) -> nn.Module:
    """One like ``made`` to be tried: a memory bank would take the example for a sample."""
    try:
        return copy.deepcopy(made)
    except Exception:  # a user's module may hold a lock, a generator, a graph
        with torch.random.fork_rng():
            return lazy.attempt(term.name, make, where=term.where)


def _one_or_all(paths: Paths, values: list[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
    return values[0] if isinstance(paths, str) else values


def _example(value: torch.Tensor | list[torch.Tensor], *, gradient: bool) -> Any:
    if isinstance(value, list):
        return [_example(one, gradient=gradient) for one in value]
    return value.detach().clone().requires_grad_(gradient)


def _names(terms: Sequence[Term]) -> tuple[str, ...]:
    """A name for each term; the second of a kind is called "rkd 2"."""
    plain = [(term.name or getattr(term.function, "__name__", "loss")).rpartition(":")[2] for term in terms]
    return tuple(name if plain[:n].count(name) == 0 else f"{name} {plain[: n + 1].count(name)}" for n, name in enumerate(plain))
