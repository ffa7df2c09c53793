"""Hints (Romero, Ballas, Kahou, Chassang, Gatta, Bengio 2015: FitNets: Hints for Thin Deep Nets)."""

from __future__ import annotations

import torch
from torch import nn

from edgekd.losses.adapters import Tapped, adapter, pairs, same_size
from edgekd.losses.check import require_switch


class Hint(nn.Module):
    """Half the squared distance of the teacher's hidden layer from a learned regression of the student's.

    ``½ · mean (r(student) − teacher)²`` over all elements (the paper's sum, divided by their number, so that the weight does not depend on
    the layer's size), summed over the pairs of layers. The regressor r is a 1x1 convolution for maps [N, C, H, W], after both were averaged
    to the smaller height and width, and a linear layer for tokens [N, T, D] and vectors [N, D]. It is trained with the student.

    ``regressor``: learn one even where the channels agree, as in the paper (two networks of one width do not number their channels alike);
    false compares equal channels directly (a student that began as a copy of its teacher).
    """

    def __init__(self, student: Tapped, teacher: Tapped, samples: int, *, regressor: bool = True) -> None:
        super().__init__()
        del samples
        require_switch("hint", "regressor", regressor)
        self.regressors = nn.ModuleList([adapter(s, t, loss="hint", always=regressor) for s, t in pairs(student, teacher, loss="hint")])

    def forward(self, student: Tapped, teacher: Tapped, labels: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Layers of the student and the teacher in, one number out; ``labels`` and ``indices`` are not looked at."""
        del labels, indices
        terms: list[torch.Tensor] = []
        for regressor, (ours, theirs) in zip(self.regressors, pairs(student, teacher, loss="hint"), strict=True):
            ours, theirs = same_size(ours, theirs)
            terms.append((regressor(ours) - theirs).square().mean() / 2)
        return torch.stack(terms).sum()
