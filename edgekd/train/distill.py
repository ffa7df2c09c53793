"""What a student is trained on: batches of views with the teachers' stored outputs, and the recipe's losses as they stand in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from edgekd.data.dataset import Split, Task
from edgekd.data.resize import resize
from edgekd.data.views import Views
from edgekd.recipe.schema import listed
from edgekd.teachers.top_k import Targets

#: One path or several: a loss is fed a tensor, or a list of them.
Paths = str | tuple[str, ...] | None


@dataclass(frozen=True)
class Term:
    """One loss of the recipe: ``function`` is ``loss(student, teacher, labels, **options)``, or a module class of the same purpose.

    ``student`` and ``teacher`` are the paths that it taps, None standing for logits; ``task`` is the place of its task in the data's heads;
    ``phase`` is "both", "float" or "qat". ``where`` names it in messages.
    """

    function: Callable[..., Any]
    weight: float
    options: Mapping[str, Any]
    name: str = ""
    student: Paths = None
    teacher: Paths = None
    task: int = 0
    phase: str = "both"
    where: str = "recipe, losses"

    @property
    def is_module(self) -> bool:
        return isinstance(self.function, type)

    @property
    def teacher_paths(self) -> tuple[str, ...]:
        """What it taps in the teacher, which must then run."""
        return tuple(path for path in listed(self.teacher) if not path.startswith("student:"))

    @property
    def student_paths(self) -> tuple[str, ...]:
        """What it taps in the student, whether to be taught or to teach."""
        own = (path.removeprefix("student:") for path in listed(self.teacher) if path.startswith("student:"))
        return tuple(path for path in (*listed(self.student), *own) if path)

    def active(self, phase: str) -> bool:
        """Whether it counts in the phase of this name; every phase that is not "qat" is float."""
        return bool(self.weight) and self.phase in ("both", "qat" if phase == "qat" else "float")


@dataclass(frozen=True)
class Batch:
    """``x`` float [n, C, H, W] is the student's input; ``teacher`` has the stored logits float32 [n, classes] of each task, None where it
    has no teacher; ``labels`` int64 [n] of each task, −1 where unknown; ``indices`` int64 [n] say which training samples these are;
    ``pixels`` uint8 [n, h, w, C] are the same views at the data's own resolution, as a teacher that runs along sees them.
    ``part``: which of the n samples ``x`` and ``pixels`` are, where other processes have the others; None: all.
    """

    x: torch.Tensor
    teacher: tuple[torch.Tensor | None, ...]
    labels: tuple[torch.Tensor, ...]
    indices: torch.Tensor
    pixels: np.ndarray
    part: slice | None = None


@dataclass(frozen=True)
class Feed:
    """Training samples with soft targets; ``size`` is the height and width that the student is fed.

    ``targets`` are one array [views, N, classes] a task, which may be memory-mapped, None for one without a teacher; ``heads`` the data's
    tasks (left out: one, of all the student's outputs). ``chosen`` int64 [n] are the samples that are shown, None standing for all;
    ``weights`` [n] say how often each is drawn in proportion, with replacement; None: each once a pass. ``seen`` uint8 [N, h, w, C] is what
    a teacher that runs along sees of each sample, where that is not what the student is fed.
    """

    split: Split
    views: Views
    targets: tuple[Targets | None, ...]
    batch: int
    size: tuple[int, int]
    heads: tuple[Task, ...] = field(default=())
    chosen: np.ndarray | None = None
    weights: np.ndarray | None = None
    seen: np.ndarray | None = None

    @property
    def columns(self) -> tuple[slice, ...]:
        """Which of the student's outputs belong to each task."""
        return columns(self.heads)

    @property
    def shown(self) -> int:
        """Samples in one pass."""
        return len(self.split) if self.chosen is None else len(self.chosen)

    @property
    def steps(self) -> int:
        """Batches in one pass over the data."""
        return max(1, self.shown // self.batch)

    def batches(self, generator: torch.Generator, part: Callable[[int], slice | None] = lambda _: None) -> Iterator[Batch]:
        """One pass in random order, a random view of each sample; ``part`` says which samples of a batch are this process's."""
        order = self._order(generator)
        which = torch.randint(0, self.views.count, (len(order),), generator=generator).numpy()
        size = min(self.batch, len(order))
        for at in range(0, self.steps * size, size):
            yield self.taken(order[at : at + size], which[at : at + size], part(size))

    def taken(self, chosen: np.ndarray, view: np.ndarray, part: slice | None = None) -> Batch:
        """View ``view[i]`` of training sample ``chosen[i]``."""
        own, seen = (chosen, view) if part is None else (chosen[part], view[part])
        pixels = self.views.apply(self.split.x[own], own, seen)
        teacher = (None if t is None else torch.from_numpy(t[view, chosen].astype(np.float32)) for t in self.targets)
        labels = (torch.from_numpy(np.ascontiguousarray(self.split.classes(task)[chosen])) for task in range(self.split.tasks))
        x = student_input(resize(pixels, *self.size))
        if self.seen is not None:
            pixels = self.views.apply(self.seen[own], own, seen)
        return Batch(x, tuple(teacher), tuple(labels), torch.from_numpy(chosen), pixels, part)

    def example(self) -> Batch:
        """Two samples as they are, for whoever wants to know shapes."""
        return self.taken(np.arange(2) % len(self.split), np.zeros(2, np.int64))

    def _order(self, generator: torch.Generator) -> np.ndarray:
        if self.weights is None:
            order = torch.randperm(self.shown, generator=generator).numpy()
        else:
            order = torch.multinomial(torch.from_numpy(self.weights).double(), self.shown, replacement=True, generator=generator).numpy()
        return order if self.chosen is None else self.chosen[order]


def columns(heads: tuple[Task, ...]) -> tuple[slice, ...]:
    """Which of a student's outputs belong to each task; all to the only one."""
    if len(heads) < 2:
        return (slice(None),)
    ends = np.cumsum([len(task.labels) for task in heads]).tolist()
    return tuple(slice(end - len(task.labels), end) for end, task in zip(ends, heads, strict=True))


def student_input(pixels: np.ndarray) -> torch.Tensor:
    """x = (p − 128)/128 of 8-bit pixels [n, H, W, C], as float [n, C, H, W]."""
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32, order="C")).sub_(128).div_(128)
