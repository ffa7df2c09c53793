"""What a student is trained on: batches of views with the teacher's stored outputs, and the weighted sum of the recipe's losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from edgekd.data.dataset import Split
from edgekd.data.resize import resize
from edgekd.data.views import Views


class LossFunction(Protocol):
    def __call__(self, student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, /, **options: Any) -> torch.Tensor: ...


@dataclass(frozen=True)
class Term:
    """One loss of the recipe."""

    function: LossFunction
    weight: float
    options: dict[str, Any]


def total(terms: Sequence[Term], student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Weighted sum of ``terms``."""
    return torch.stack([t.weight * t.function(student, teacher, labels, **t.options) for t in terms if t.weight]).sum()


@dataclass(frozen=True)
class Feed:
    """Training samples with soft targets float16 [views, N, classes]; ``size`` is the height and width that the student is fed."""

    split: Split
    views: Views
    targets: np.ndarray
    batch: int
    size: tuple[int, int]

    @property
    def steps(self) -> int:
        """Batches in one pass over the data."""
        return max(1, len(self.split) // self.batch)

    def batches(self, generator: torch.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """One pass in random order, a random view of each sample: x float [n, C, H, W], teacher's logits [n, classes], labels [n]."""
        order = torch.randperm(len(self.split), generator=generator).numpy()
        which = torch.randint(0, self.views.count, (len(order),), generator=generator).numpy()
        size = min(self.batch, len(order))
        for at in range(0, self.steps * size, size):
            chosen, view = order[at : at + size], which[at : at + size]
            pixels = resize(self.views.apply(self.split.x[chosen], chosen, view), *self.size)
            teacher = torch.from_numpy(self.targets[view, chosen].astype(np.float32))
            yield student_input(pixels), teacher, torch.from_numpy(self.split.y[chosen])


def student_input(pixels: np.ndarray) -> torch.Tensor:
    """x = (p − 128)/128 of 8-bit pixels [n, H, W, C], as float [n, C, H, W]."""
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32, order="C")).sub_(128).div_(128)
