"""Knowledge review (Chen, Liu, Zhao, Jia 2021: Distilling Knowledge via Knowledge Review)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from edgekd.errors import InputError
from edgekd.losses.adapters import Tapped, check_rank, pairs, same_size

NAME = "review"
#: Channels of the fusion: a 3x3 convolution of so many to as many is 9 · WIDEST² numbers.
WIDEST = 1 << 12
LEVELS = (4, 2, 1)


class Review(nn.Module):
    """The teacher's maps of every depth taught to what the student knows at that depth and deeper.

    Both sides list maps [N, C, H, W] from shallow to deep (the last may be the pooled vector [N, C]). Going from the deepest to the
    shallowest, the student's map is brought to ``width`` channels (1x1 convolution), what came from deeper layers is enlarged to its size,
    and the two are added, each times a map of weights in 0…1 that a 1x1 convolution finds in both (attention-based fusion). A 3x3
    convolution takes the fused map to the teacher's channels, where the hierarchical context loss compares them: mean squared error at full
    size, and of averages over 4x4, 2x2 and 1x1 cells with weights ½, ¼, ⅛, divided by the sum of the weights used. Depths are summed.
    All convolutions are followed by batch normalization and are learned with the student. Unequal heights and widths are averaged to the
    smaller before they are compared (the authors enlarge the student's instead).

    ``width``: channels of the fusion; 0 takes those of the student's deepest map, at most 512, as the authors do.
    A batch needs two samples where the deepest map has a single position (batch normalization of one number is refused by torch).
    """

    def __init__(self, student: Tapped, teacher: Tapped, samples: int, *, width: int = 0) -> None:
        super().__init__()
        del samples
        if isinstance(width, bool) or not isinstance(width, int) or not 0 <= width <= WIDEST:
            raise InputError(f"width = {width}", where=f"loss {NAME}", expected="channels of the fusion, 0 for those of the deepest map")
        both = _maps(student, teacher)
        width = width or min(512, both[-1][0].shape[1])
        last = len(both) - 1
        self.fusions = nn.ModuleList([_Fusion(s, t, width, deeper=i < last) for i, (s, t) in enumerate(both)])

    def forward(self, student: Tapped, teacher: Tapped, labels: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Layers of the student and the teacher in, one number out; ``labels`` and ``indices`` are not looked at."""
        del labels, indices
        terms: list[torch.Tensor] = []
        deeper = None
        for fusion, (ours, theirs) in reversed(list(zip(self.fusions, _maps(student, teacher), strict=True))):
            answer, deeper = fusion(ours, deeper)
            terms.append(context_loss(answer, theirs))
        return torch.stack(terms).sum()


def context_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The hierarchical context loss of two maps [N, C, H, W] of equal C."""
    student, teacher = same_size(student, teacher)
    height, width = student.shape[2:]
    weight = total = 1.0
    loss = functional.mse_loss(student, teacher)
    for level in LEVELS:
        cells = (min(level, height), min(level, width))
        if cells == (height, width):
            continue
        weight /= 2
        total += weight
        loss = loss + weight * functional.mse_loss(
            functional.adaptive_avg_pool2d(student, cells), functional.adaptive_avg_pool2d(teacher, cells)
        )
    return loss / total


class _Fusion(nn.Module):
    """One depth: the student's map and what comes from deeper, to the teacher's channels and to the next shallower depth."""

    def __init__(self, student: torch.Tensor, teacher: torch.Tensor, width: int, *, deeper: bool) -> None:
        super().__init__()
        # Statistics of the batch always: the module never answers alone, so it keeps no averages.
        self.narrow = nn.Sequential(nn.Conv2d(student.shape[1], width, 1, bias=False), nn.BatchNorm2d(width, track_running_stats=False))
        self.answer = nn.Sequential(
            nn.Conv2d(width, teacher.shape[1], 3, padding=1, bias=False), nn.BatchNorm2d(teacher.shape[1], track_running_stats=False)
        )
        self.weigh = nn.Conv2d(2 * width, 2, 1) if deeper else None
        self.to(student)

    def forward(self, student: torch.Tensor, deeper: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        fused = self.narrow(student)
        if self.weigh is not None and deeper is not None:
            deeper = functional.interpolate(deeper, size=fused.shape[2:], mode="nearest")
            weights = torch.sigmoid(self.weigh(torch.cat([fused, deeper], 1)))
            fused = fused * weights[:, :1] + deeper * weights[:, 1:]
        return self.answer(fused), fused


def _maps(student: Tapped, teacher: Tapped) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The pairs, vectors as maps of one position."""
    both = pairs(student, teacher, loss=NAME)
    for ours, theirs in both:
        check_rank(ours, 2, 4, side="student", loss=NAME)
        check_rank(theirs, 2, 4, side="teacher", loss=NAME)
    return [(_map(ours), _map(theirs)) for ours, theirs in both]


def _map(x: torch.Tensor) -> torch.Tensor:
    return x if x.ndim == 4 else x[:, :, None, None]
