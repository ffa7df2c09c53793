"""Deeper layers teach shallower ones (Zhang, Song, Gao, Chen, Bao, Ma 2019: Be Your Own Teacher)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from edgekd.errors import InputError
from edgekd.losses.adapters import Tapped, adapter, layers, one_vector, same_size
from edgekd.losses.check import require


class Exits(nn.Module):
    """Sum over the tapped modules of (1 − ``alpha``) · cross-entropy + ``alpha`` · T² · divergence from the student's own final logits.

    Each tapped module gets an exit of its own (mean over positions, then a linear layer), trained with the student and thrown away: shallow
    layers are pulled toward what tells the classes apart. With ``hint`` above 0, ``hint`` · the mean squared error between a tap,
    brought to shape by pooling and an adapter, and the student's last feature map is added. It helps students of several
    stages without any teacher; little in very small ones, whose early layers have no capacity to spare.

    ``student``: a tap, or a list of them, of the shallower parts, [N, C, H, W], [N, T, D] or [N, D]. ``teacher``: the student's final
    logits [N, classes], detached (recipe: teacher = "student:"); for the hint a list of them and of the last feature map (teacher =
    ["student:", "student:PATH"]). ``labels`` int64 [N]: samples without one (−1) are left out. Usual weight 1 beside cross_entropy of
    weight 1, which trains the final logits themselves; 0.3 where the exits hurt. The authors' hint is a sum of squares weighted 1e-6;
    here it is a mean, which is the same for every size: 0.01 to 0.1.
    """

    def __init__(
        self, student: Tapped, teacher: Tapped, samples: int, *, alpha: float = 0.1, temperature: float = 3.0, hint: float = 0.0
    ) -> None:
        super().__init__()
        del samples
        require("exits", "alpha", alpha, least=0, most=1, usual="0.1 to 0.5")
        require("exits", "temperature", temperature, above=0, usual="3")
        require("exits", "hint", hint, least=0, usual="0.01 to 0.1")
        taps, logits, deepest = _apart(student, teacher)
        if (hint > 0) != (deepest is not None):
            found = "no feature map to take it from" if deepest is None else "a feature map of the student, which only the hint looks at"
            raise InputError(
                f"hint = {hint} and {found}",
                where="loss exits",
                expected='hint above 0 with teacher = ["student:", "student:PATH"], or 0 with teacher = "student:"',
            )
        self.alpha, self.temperature, self.hint = alpha, temperature, hint
        self.classifiers = nn.ModuleList(
            nn.Linear(one_vector(tap).shape[1], logits.shape[1], device=tap.device, dtype=tap.dtype) for tap in taps
        )
        self.adapters = nn.ModuleList() if deepest is None else nn.ModuleList(adapter(t, deepest, loss="exits", always=True) for t in taps)

    def forward(self, student: Tapped, teacher: Tapped, labels: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        del indices
        taps, logits, deepest = _apart(student, teacher)
        known = labels >= 0
        if not known.any():
            return torch.stack([tap.sum() for tap in taps]).sum() * 0
        soft, t = functional.log_softmax(logits[known] / self.temperature, 1), self.temperature
        losses = []
        for classifier, tap in zip(self.classifiers, taps, strict=True):
            answer = classifier(one_vector(tap[known]))
            hard = functional.cross_entropy(answer, labels[known])
            apart = functional.kl_div(functional.log_softmax(answer / t, 1), soft, reduction="batchmean", log_target=True)
            # As with soft targets: gradients of softened logits shrink with 1/T².
            losses.append((1 - self.alpha) * hard + self.alpha * t**2 * apart)
        if deepest is not None:
            for bring, tap in zip(self.adapters, taps, strict=True):
                ours, deep = same_size(tap[known], deepest[known])
                losses.append(self.hint * functional.mse_loss(bring(ours), deep))
        return torch.stack(losses).sum()


def _apart(student: Tapped, teacher: Tapped) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor | None]:
    """The taps, the final logits, and the last feature map where there is one."""
    taps, deep = layers(student), layers(teacher)
    if not taps or any(tap.ndim not in (2, 3, 4) for tap in taps) or len(deep) not in (1, 2) or deep[0].ndim != 2:
        raise InputError(
            f"student {[tuple(x.shape) for x in taps]}, teacher {[tuple(x.shape) for x in deep]}",
            where="loss exits",
            expected='student = paths of shallower modules; teacher = "student:", or ["student:", "student:PATH"] for the hint',
        )
    return taps, deep[0], deep[1] if len(deep) == 2 else None
