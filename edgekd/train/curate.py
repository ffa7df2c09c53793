"""Which training samples a student is shown, and how often: what the recipe's critics leave of the training split."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekd import lazy
from edgekd.data.dataset import Task
from edgekd.errors import InputError
from edgekd.recipe.schema import Critic
from edgekd.train import CRITICS


@dataclass(frozen=True)
class Samples:
    """What is judged: ``x`` uint8 [N, H, W, C], ``teacher`` logits [N, classes] of ``task``, ``labels`` int64 [N], −1 where unknown."""

    x: np.ndarray
    teacher: np.ndarray
    labels: np.ndarray
    task: Task

    @property
    def filled(self) -> np.ndarray:
        """The labels, the teacher's where there is none."""
        return np.where(self.labels < 0, self.teacher.argmax(1), self.labels)


@dataclass(frozen=True)
class Curated:
    """What the critics leave: ``chosen`` int64 [n] are places in the training split, in rising order; ``weights`` float64 [n], with the
    mean 1, say how often each is drawn, None where all are drawn alike. ``kept`` says for each critic what a record keeps of it."""

    chosen: np.ndarray
    weights: np.ndarray | None
    kept: tuple[dict[str, Any], ...] = field(default=())


def curate(critics: Sequence[Critic], samples: Sequence[Samples]) -> Curated:
    """Ask each of the recipe's ``critics`` in turn; ``samples`` are the training split as each task sees it, the first task first.

    ``keep`` leaves the best round(keep · N) of what came before (never one of score 0; ties are drawn with a fixed seed, for a split may
    lie class by class); ``weight`` multiplies what samples weigh by their score. A critic always scores the whole split, whatever those
    before it left.

    Raises InputError for an unknown critic or task, for scores that are none, and if nothing is left, or nothing of a class.
    """
    if not samples:
        raise InputError("there are no samples", where="recipe, curate", expected="a training split")
    chosen, weights, kept = np.arange(len(samples[0].labels)), None, []
    for at, critic in enumerate(critics):
        where = f"recipe, curate.critics[{at}]"
        seen = _of_task(critic, samples, where)
        score = _scores(critic, seen, where)
        before = chosen
        if critic.weight:
            with np.errstate(over="ignore"):  # looked for below
                weights = score if weights is None else weights * score
            chosen = chosen[weights[chosen] > 0]
        else:
            chosen = _best(chosen, score, critic.keep or 1.0)
        said = {"critic": critic.name, "before": len(before), "kept": len(chosen)}
        kept.append(said | {"per_class": _left(critic, samples, (before, chosen), where)})
    if weights is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            weights = weights[chosen] / weights[chosen].mean()
        if not (np.isfinite(weights).all() and weights.sum() > 0):
            raise InputError("the scores are too large to be added up", where="recipe, curate", expected="scores of about 1")
    return Curated(chosen, weights, tuple(kept))


def _best(chosen: np.ndarray, score: np.ndarray, keep: float) -> np.ndarray:
    """Those of ``chosen`` that are among the best ``keep`` of them."""
    count = max(1, round(keep * len(chosen))) if len(chosen) else 0
    shuffled = np.random.default_rng(0).permutation(chosen)
    best = shuffled[np.argsort(-score[shuffled], kind="stable")[:count]]
    return np.sort(best[score[best] > 0])


def _of_task(critic: Critic, samples: Sequence[Samples], where: str) -> Samples:
    if critic.task is None:
        return samples[0]
    for one in samples:
        if one.task.name == critic.task:
            return one
    known = ", ".join(s.task.name for s in samples) or "no name: the data has one task"
    raise InputError(f"no task that has a teacher is called {critic.task!r}", where=f"{where}.task", expected=known, mend="delete task")


def check_critics(critics: Sequence[Critic], tasks: Sequence[Task]) -> None:
    """Raises InputError for what ``curate`` would refuse before it asks a critic; ``tasks`` are those that have a teacher.

    Each is tried on eight samples, whose scores nobody looks at: what it does not take is said before a teacher is asked for hours.
    """
    for at, critic in enumerate(critics):
        where = f"recipe, curate.critics[{at}]"
        classes = np.arange(8)
        tried = [
            Samples(
                np.zeros((8, 8, 8, 1), np.uint8),
                np.eye(len(t.labels), dtype=np.float32)[classes % len(t.labels)],
                classes % len(t.labels),
                t,
            )
            for t in tasks
        ]
        if not tried:
            raise InputError(f"{critic.name} judges with a teacher, and there is none", where=where, expected="a teacher of this task")
        seen = _of_task(critic, tried, where)
        function = _function(critic, (seen.x, seen.teacher, seen.labels), where)
        if critic.name in CRITICS:  # a user's own may want real samples
            function(seen.x, seen.teacher, seen.labels, **critic.options)


def _function(critic: Critic, arguments: tuple[np.ndarray, ...], where: str) -> Callable[..., Any]:
    """The critic itself, which takes ``arguments`` and its options."""
    function = lazy.resolve(critic.name, CRITICS, where=f"{where}.name")
    if not callable(function):
        raise InputError(f"{critic.name} is a {type(function).__name__}", where=f"{where}.name", expected="a function")
    try:
        inspect.signature(function).bind(*arguments, **critic.options)
    except TypeError as error:
        message = f"{critic.name} does not take these options: {error}"
        raise InputError(message, where=f"{where}.options", expected=f"{critic.name}{inspect.signature(function)}") from error
    return function


def _scores(critic: Critic, samples: Samples, where: str) -> np.ndarray:
    """float64 [N], finite, at least 0."""
    x = samples.x.view()
    x.flags.writeable = False  # the student sees the same
    arguments = (x, np.asarray(samples.teacher, np.float32), samples.filled)
    function = _function(critic, arguments, where)
    found = lazy.attempt(critic.name, lambda: np.asarray(function(*arguments, **critic.options)), where=where)
    if found.shape != samples.labels.shape or found.dtype.kind not in "bfiu":
        shape, kind = list(found.shape), found.dtype
        raise InputError(f"{critic.name} returned {kind} {shape}", where=where, expected=f"a score a sample, [{len(samples.labels)}]")
    score = found.astype(np.float64)
    if not np.isfinite(score).all() or score.min() < 0:
        odd = score[~(np.isfinite(score) & (score >= 0))]
        raise InputError(f"{critic.name} returned scores like {odd[0]:.4g}", where=where, expected="finite numbers, none below 0")
    return score


def _left(critic: Critic, samples: Sequence[Samples], sets: tuple[np.ndarray, np.ndarray], where: str) -> dict[str, int]:
    """How many samples of each class are left (of the critic's task; an unlabeled one is of the teacher's class).

    Raises InputError if a class of any task had some, and has none left.
    """
    before, chosen = sets
    cure = "a higher keep, other options, or another critic"
    if not len(chosen):
        raise InputError(f"{critic.name} keeps none of {len(before)} samples", where=where, expected="some in each class", mend=cure)
    counts = {}
    for task in samples:
        labels, names = task.filled, task.task.labels
        had, has = (np.bincount(labels[some], minlength=len(names)) for some in (before, chosen))
        for name, old, new in zip(names, had, has, strict=True):
            if old and not new:
                of = f" of task {task.task.name}" if task.task.name else ""
                raise InputError(
                    f"{critic.name} keeps none of the {old} samples of class {name!r}{of}", where=where, expected="some in each", mend=cure
                )
        if task is _of_task(critic, samples, where):
            counts = {name: int(n) for name, n in zip(names, has, strict=True)}
    return counts
