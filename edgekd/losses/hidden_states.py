"""Hidden states of a transformer (Jiao, Yin, Shang, Jiang, Chen, Li, Wang, Liu 2020: TinyBERT: Distilling BERT for NLU)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from edgekd.losses.adapters import Tapped, adapter, check_rank, pairs


class HiddenStates(nn.Module):
    """Mean squared error between the teacher's hidden states and a learned linear projection of the student's.

    ``mean (H_student · W + b − H_teacher)²`` over samples, tokens and features, for tokens [N, T, D] or vectors [N, D]; summed over the
    pairs of layers, of which the embedding may be one. Each pair has its own projection, none where both are equally wide. (For maps
    [N, C, H, W] there is ``hint``.) With ``attention_maps`` of the same layers it is TinyBERT's Transformer-layer distillation, both of
    weight 1.
    """

    def __init__(self, student: Tapped, teacher: Tapped, samples: int) -> None:
        super().__init__()
        del samples
        both = pairs(student, teacher, loss="hidden_states")
        for ours, theirs in both:
            check_rank(ours, 2, 3, side="student", loss="hidden_states")
            check_rank(theirs, 2, 3, side="teacher", loss="hidden_states")
        self.projections = nn.ModuleList([adapter(s, t, loss="hidden_states") for s, t in both])

    def forward(self, student: Tapped, teacher: Tapped, labels: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Layers of the student and the teacher in, one number out; ``labels`` and ``indices`` are not looked at."""
        del labels, indices
        both = zip(self.projections, pairs(student, teacher, loss="hidden_states"), strict=True)
        return torch.stack([functional.mse_loss(project(ours), theirs) for project, (ours, theirs) in both]).sum()
