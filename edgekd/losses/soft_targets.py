"""Soft targets (Hinton, Vinyals, Dean 2015: Distilling the Knowledge in a Neural Network)."""

from __future__ import annotations

import torch
from torch.nn import functional

from edgekd.losses.check import require


def soft_targets(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, *, temperature: float = 4.0) -> torch.Tensor:
    """Mean Kullback-Leibler divergence of the softened ``student`` from the softened ``teacher``, both logits [N, C]."""
    del labels
    require("soft_targets", "temperature", temperature, above=0, most=1e6, usual="1 to 10")
    divergence = functional.kl_div(
        functional.log_softmax(student / temperature, 1),
        functional.log_softmax(teacher / temperature, 1),
        reduction="batchmean",
        log_target=True,
    )
    # The gradient of softened logits shrinks with 1/T²; T² keeps this term's share when the temperature changes.
    return divergence * temperature**2
