"""Attention transfer (Zagoruyko, Komodakis 2017: Paying More Attention to Attention)."""

from __future__ import annotations

import torch
from torch.nn import functional

from edgekd.losses.adapters import Tapped, check_rank, pairs, same_size
from edgekd.losses.check import require


def attention_transfer(student: Tapped, teacher: Tapped, labels: torch.Tensor, *, power: float = 2.0) -> torch.Tensor:
    """Mean squared distance of where the two networks look: their maps [N, C, H, W] summed over channels as |A|^power.

    Each sum is divided by its Euclidean norm over the positions, so neither the number of channels nor their scale matters and nothing has
    to be learned; unequal heights and widths are averaged to the smaller before. The mean is over positions and samples, as in the authors'
    code, where the weight is 1000 (the paper's β/2 · squared norm, its β being 10³ over positions and batch). Pairs of layers are summed.
    """
    del labels
    require("attention_transfer", "power", power, least=1, usual="2")
    terms: list[torch.Tensor] = []
    for ours, theirs in pairs(student, teacher, loss="attention_transfer"):
        check_rank(ours, 4, side="student", loss="attention_transfer")
        check_rank(theirs, 4, side="teacher", loss="attention_transfer")
        ours, theirs = same_size(ours, theirs)
        terms.append((_attention(ours, power) - _attention(theirs, power)).square().mean())
    return torch.stack(terms).sum()


def _attention(maps: torch.Tensor, power: float) -> torch.Tensor:
    # The norm takes any scale away again; dividing by the largest value before keeps high powers of large activations finite.
    largest = maps.detach().abs().amax((1, 2, 3), keepdim=True)
    scaled = (maps / torch.where(largest > 0, largest, 1.0)).abs()
    return functional.normalize(scaled.pow(power).sum(1).flatten(1), dim=1)
