"""Deep mutual learning (Zhang, Xiang, Hospedales, Lu 2018): several students learn together, each also from what the others answer.

Given   n untrained students of one spec, differently seeded
Result  one module and one criterion, trained as one student is, on one pass over the data; the best of them goes on alone
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from edgekd.train.criterion import Criterion, Lessons, Taught
from edgekd.train.distill import Batch, Term


class Peers(nn.Module):
    """Students side by side: x float [N, C, H, W] → logits [peers, N, classes]."""

    def __init__(self, students: Sequence[nn.Module]) -> None:
        super().__init__()
        self.students = nn.ModuleList(students)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([student(x) for student in self.students])

    def criterion(self, terms: Sequence[Term], lessons: Lessons) -> PeersCriterion:
        """What it is trained by."""
        return PeersCriterion(self, terms, lessons)


class PeersCriterion(nn.Module):
    """The recipe's losses of each peer, and ``mutual``: its divergence from the mean of what the others answer.

    KL(mean of the others' softmax ‖ own softmax), mean over samples, the others detached, at temperature 1 as in the paper, weight 1. The
    paper updates peers in turn; here they step together. Values are means over the peers.
    """

    def __init__(self, model: Peers, terms: Sequence[Term], lessons: Lessons) -> None:
        super().__init__()
        self.lessons = lessons
        self.each = nn.ModuleList(Criterion(student, terms, lessons) for student in model.students)

    @property
    def criteria(self) -> list[Criterion]:
        return [one for one in self.each if isinstance(one, Criterion)]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.criteria[0].names, "mutual")

    @property
    def needs_example(self) -> bool:
        return self.criteria[0].needs_example

    def prepare(self, outputs: torch.Tensor, batch: Batch, taught: Taught) -> None:
        for criterion, own in zip(self.criteria, outputs, strict=True):
            criterion.prepare(own, batch, taught)

    def forward(self, outputs: torch.Tensor, batch: Batch, taught: Taught) -> tuple[torch.Tensor, torch.Tensor]:
        said = [criterion(own, batch, taught) for criterion, own in zip(self.criteria, outputs, strict=True)]
        apart = torch.stack([mutual(outputs[..., some]) for some in self.lessons.columns]).sum(0)
        total = torch.stack([one for one, _ in said]).sum() + apart.sum()
        return total, torch.cat([torch.stack([values for _, values in said]).mean(0), apart.detach().mean()[None]])

    def close(self) -> None:
        for criterion in self.criteria:
            criterion.close()


def mutual(logits: torch.Tensor) -> torch.Tensor:
    """Each peer's divergence [peers] from the mean of the others; ``logits`` [peers, N, classes]."""
    log = functional.log_softmax(logits, -1)
    p = log.detach().exp()
    others = (p.sum(0) - p) / (len(p) - 1)
    return torch.stack([functional.kl_div(own, target, reduction="batchmean") for own, target in zip(log, others, strict=True)])
