"""DIST (Huang, You, Wang, Qian, Xu 2022: Knowledge Distillation from A Stronger Teacher)."""

from __future__ import annotations

import torch
from torch.nn import functional

from edgekd.losses.check import require, require_logits


def dist(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, *, beta: float = 2.0, gamma: float = 2.0, temperature: float = 1.0
) -> torch.Tensor:
    """``beta`` · (1 − ρ between classes) + ``gamma`` · (1 − ρ within classes), times T²; ρ is Pearson's correlation, 1 for equal rankings.

    Between classes: of a sample's probabilities, mean over the N samples. Within: of one class's probabilities over the batch, mean over
    the C classes (0 for a batch of one). Probabilities are softened by ``temperature``. A student need not match the teacher's
    probabilities, only go up and down with them: it helps where the teacher is much stronger than the student,
    or trained so long that its probabilities are out of the student's reach.

    ``student`` and ``teacher`` logits [N, C]; ``labels`` are not looked at. Usual weight 1 beside cross_entropy of weight 1; the authors
    use temperature 4 on small images, 1 on ImageNet. Batches of 64 or more: the second term correlates over them.
    """
    del labels
    require("dist", "beta", beta, least=0, usual="1 or 2")
    require("dist", "gamma", gamma, least=0, usual="1 or 2")
    require("dist", "temperature", temperature, above=0, usual="1 to 4")
    require_logits("dist", student, teacher)
    p, q = functional.softmax(student / temperature, 1), functional.softmax(teacher / temperature, 1)
    loss = beta * _apart(p, q, 1)
    if len(student) > 1:
        loss = loss + gamma * _apart(p, q, 0)
    # As with soft targets: gradients of softened logits shrink with 1/T².
    return loss * temperature**2


def _apart(p: torch.Tensor, q: torch.Tensor, axis: int) -> torch.Tensor:
    """1 − mean correlation along ``axis``; what does not vary correlates with nothing (0)."""
    p, q = p - p.mean(axis, keepdim=True), q - q.mean(axis, keepdim=True)
    return 1 - functional.cosine_similarity(p, q, axis, eps=1e-8).mean()
