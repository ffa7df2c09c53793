"""Directions of hidden states (Sanh, Debut, Chaumond, Wolf 2019: DistilBERT, a distilled version of BERT)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from edgekd.losses.adapters import Tapped, adapter, pairs, same_size


class Cosine(nn.Module):
    """One minus the cosine between the student's and the teacher's hidden state.

    The mean over samples and tokens of tokens [N, T, D], over samples of vectors [N, D], over samples and positions of maps [N, C, H, W]
    (along the channels, both averaged to the smaller height and width); summed over the pairs of layers. In the paper both are equally
    wide; where they are not, a linear layer (1x1 convolution) is learned from the student's width to the teacher's.
    DistilBERT's triple loss is this, ``soft_targets`` and the task's own loss in one recipe, weights 1, 5 and 2 in the authors' code.
    """

    def __init__(self, student: Tapped, teacher: Tapped, samples: int) -> None:
        super().__init__()
        del samples
        self.adapters = nn.ModuleList([adapter(s, t, loss="cosine") for s, t in pairs(student, teacher, loss="cosine")])

    def forward(self, student: Tapped, teacher: Tapped, labels: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Layers of the student and the teacher in, one number out; ``labels`` and ``indices`` are not looked at."""
        del labels, indices
        terms: list[torch.Tensor] = []
        for adapt, (ours, theirs) in zip(self.adapters, pairs(student, teacher, loss="cosine"), strict=True):
            ours, theirs = same_size(ours, theirs)
            axis = 1 if ours.ndim == 4 else -1
            terms.append(1 - functional.cosine_similarity(adapt(ours), theirs, dim=axis).mean())
        return torch.stack(terms).sum()
