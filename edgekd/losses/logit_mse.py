"""Squared error of logits (Ba and Caruana 2014: Do Deep Nets Really Need to be Deep?)."""

from __future__ import annotations

import torch
from torch.nn import functional

from edgekd.losses.check import require_logits, require_switch


def logit_mse(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, *, centred: bool = False, standardized: bool = False
) -> torch.Tensor:
    """Mean over samples and classes of (student − teacher)²; 0 if and only if both are equal.

    ``centred``: each sample's mean is taken from its logits first: a common shift changes no probability, so the student need not learn it.
    ``standardized``: they are then divided by their standard deviation too, so that neither scale nor shift is to be matched, only
    the shape (Sun, Ren, Li, Wang, Cao 2024: Logit Standardization in Knowledge Distillation, who do so before the softmax).
    The loss is then 2 · (1 − Pearson's correlation of the two), mean over samples.

    It needs no labels and no temperature: half of it, centred, is what soft targets become at a high temperature (Hinton et al.
    2015, section 2.1). It helps where all there is are the teacher's outputs, as on unlabeled data, and with teachers that are very sure.
    ``student`` and ``teacher`` logits [N, C]; ``labels`` are not looked at. Usual weight 1 alone, 0.1 to 1 beside cross_entropy.
    """
    del labels
    require_switch("logit_mse", "centred", centred)
    require_switch("logit_mse", "standardized", standardized)
    require_logits("logit_mse", student, teacher)
    if centred or standardized:
        student, teacher = (x - x.mean(1, keepdim=True) for x in (student, teacher))
    if standardized:
        # Unit length times √C is unit standard deviation (of the population, not of the sample).
        student, teacher = (functional.normalize(x, dim=1, eps=1e-8) * x.shape[1] ** 0.5 for x in (student, teacher))
    return functional.mse_loss(student, teacher)
