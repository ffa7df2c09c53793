"""Relations between samples (Park, Kim, Lu, Cho 2019: Relational Knowledge Distillation)."""

from __future__ import annotations

import torch
from torch.nn import functional

from edgekd.losses.adapters import Tapped, pairs


def rkd_distance(student: Tapped, teacher: Tapped, labels: torch.Tensor) -> torch.Tensor:
    """Huber loss between the student's and the teacher's distances of each pair of samples, each divided by its own mean over the batch.

    Mean over the N(N − 1)/2 pairs of different samples (a sample's distance from itself would be right for nothing); 0 for less than
    three samples, as one pair's distance over its mean is 1. The student may place the samples anywhere and at any scale, in as many
    dimensions as it has: no adapter is wanted. It helps where embeddings matter (the layer before the classifier), and where the
    teacher's features are far wider than the student's.

    ``student`` and ``teacher`` one tensor each, or lists of as many, whose losses are added: vectors [N, D], or feature maps, flattened;
    D may differ. ``labels`` are not looked at. Usual weight 25 beside cross_entropy of weight 1 (the authors, for classification).
    Memory N² floats; time N²·D.
    """
    del labels
    losses = []
    for s, t in _flat(student, teacher, "rkd_distance"):
        if len(s) < 3:
            losses.append(s.sum() * 0)
            continue
        losses.append(functional.smooth_l1_loss(_distances(s), _distances(t)))
    return torch.stack(losses).sum()


def rkd_angle(student: Tapped, teacher: Tapped, labels: torch.Tensor) -> torch.Tensor:
    """Huber loss between the student's and the teacher's cosines of the angle at sample j between samples i and k.

    Mean over the N(N − 1)(N − 2) triplets of different samples; 0 for less than three samples. Where two samples coincide there is no
    angle; its cosine counts as 0. As rkd_distance, but indifferent to distances: the stronger of the two in the paper; both together
    are better yet.

    ``student`` and ``teacher`` as for rkd_distance. ``labels`` are not looked at. Usual weight 50 beside cross_entropy of weight 1.
    Memory about 11·N³ floats (90 MiB at N = 128, 5.5 GiB at 512), whatever D is; time N³ + N²·D.
    """
    del labels
    losses = []
    for s, t in _flat(student, teacher, "rkd_angle"):
        n = len(s)
        if n < 3:
            losses.append(s.sum() * 0)
            continue
        ours, theirs = _cosines(s), _cosines(t)
        # Where i or k is j both are 0; where i is k there is no angle, and its share is taken out again.
        all_of_them = functional.smooth_l1_loss(ours, theirs, reduction="sum")
        no_angle = functional.smooth_l1_loss(ours.diagonal(0, 0, 2), theirs.diagonal(0, 0, 2), reduction="sum")
        losses.append((all_of_them - no_angle) / (n * (n - 1) * (n - 2)))
    return torch.stack(losses).sum()


def _flat(student: Tapped, teacher: Tapped, loss: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(s.flatten(1), t.flatten(1)) for s, t in pairs(student, teacher, loss=loss)]


def _distances(x: torch.Tensor) -> torch.Tensor:
    """Distances [N(N − 1)/2] of the rows of ``x`` [N, D], of mean 1 (all 0 where all rows are equal)."""
    distances = functional.pdist(x)
    return distances / distances.mean().clamp_min(torch.finfo(x.dtype).tiny)


def _cosines(x: torch.Tensor) -> torch.Tensor:
    """cos ∠ijk [N, N, N] of the rows of ``x`` [N, D], by products of rows: the differences themselves would take N²·D floats.

    (xᵢ − xⱼ)·(xₖ − xⱼ) = Gᵢₖ − Gᵢⱼ − Gₖⱼ + Gⱼⱼ. The batch's mean is taken off first, or a common offset would drown the differences.
    """
    x = x - x.mean(0)
    gram = x @ x.T
    square = gram.diagonal()
    near = square[:, None] + square[None, :]
    length2 = near - 2 * gram
    # Below this share of the rows' own lengths a difference is rounding, and so is every angle at it.
    apart = length2 > 8 * torch.finfo(x.dtype).eps * near
    inverse = torch.where(apart, length2, 1).rsqrt() * apart
    dot = gram[:, None, :] + (square - gram)[:, :, None] - gram.T
    return dot * inverse[:, :, None] * inverse
