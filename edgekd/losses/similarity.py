"""Similarity-preserving distillation (Tung and Mori 2019: Similarity-Preserving Knowledge Distillation)."""

from __future__ import annotations

import torch

from edgekd.losses.adapters import Tapped, pairs


def similarity(student: Tapped, teacher: Tapped, labels: torch.Tensor) -> torch.Tensor:
    """‖Gₜ − Gₛ‖² / N², where G [N, N] holds the products of the batch's samples with one another, each row divided by its length.

    Samples that excite the teacher alike shall excite the student alike; which channels do so is the student's own affair, so widths and
    sizes may differ and no adapter is wanted. It helps with last feature maps of unlike architectures, and needs batches of 64 or more.

    ``student`` and ``teacher`` one tensor each, or lists of as many, whose losses are added: feature maps [N, C, H, W], tokens, or vectors,
    flattened. ``labels`` are not looked at. Usual weight 3000 beside cross_entropy of weight 1 (the authors' γ; the entries of a row of
    length 1 are small, and N² of them small indeed). A row of zeros stays zeros. Memory N² floats.
    """
    del labels
    taps = pairs(student, teacher, loss="similarity")
    return torch.stack([(_rows(s) - _rows(t)).square().sum() / len(s) ** 2 for s, t in taps]).sum()


def _rows(x: torch.Tensor) -> torch.Tensor:
    x = x.flatten(1)
    gram = x @ x.T
    length = gram.norm(dim=1, keepdim=True)
    return gram / torch.where(length > 0, length, 1)
