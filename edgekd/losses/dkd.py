"""Decoupled soft targets (Zhao, Cui, Song, Qiu, Liang 2022: Decoupled Knowledge Distillation)."""

from __future__ import annotations

import torch
from torch.nn import functional

from edgekd.errors import InputError
from edgekd.losses.check import require, require_logits


def dkd(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, *, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0
) -> torch.Tensor:
    """``alpha`` · divergence about the label's class + ``beta`` · divergence among the other classes, times T²; mean over samples.

    The first compares "label or not" (two probabilities), the second the probabilities of the other classes given that it is not the label,
    both softened by ``temperature``. Soft targets are the same sum with alpha = 1 and beta = the teacher's probability of "not the label":
    a sure teacher thereby says next to nothing about the other classes. It helps where the teacher is confident and right, as it is
    on its own training data; not with two classes, whose second term is 0.

    ``student`` and ``teacher`` logits [N, C], C ≥ 2; ``labels`` int64 [N]: samples without one (−1) are left out.
    Usual weight 1, beside cross_entropy of weight 1; beta 2 to 8, the more the surer the teacher. The authors let this term grow
    linearly over the first tenth of the training: with a large beta lower the weight if the first passes are unsteady.
    """
    require("dkd", "alpha", alpha, least=0, usual="1")
    require("dkd", "beta", beta, least=0, usual="2 to 8")
    require("dkd", "temperature", temperature, above=0, usual="1 to 10")
    require_logits("dkd", student, teacher)
    if student.shape[1] < 2:
        raise InputError("one class", where="loss dkd", expected="two classes or more")
    known = labels >= 0
    if not known.any():
        return student.sum() * 0
    truth = labels[known]
    sure_s, others_s = _apart(student[known] / temperature, truth)
    sure_t, others_t = _apart(teacher[known] / temperature, truth)
    # σ(x) and σ(−x) are the probabilities of the label and of the rest: in log-odds nothing is subtracted from 1.
    target = _divergence(_both(sure_s), _both(sure_t))
    rest = _divergence(functional.log_softmax(others_s, 1), functional.log_softmax(others_t, 1))
    # As with soft targets: gradients of softened logits shrink with 1/T².
    return (alpha * target + beta * rest) * temperature**2


def _apart(logits: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-odds [N] of the label's class against all others together, and the others' logits [N, C − 1]."""
    mask = functional.one_hot(truth, logits.shape[1]).bool()
    others = logits[~mask].view(len(logits), -1)
    return logits[mask] - others.logsumexp(1), others


def _both(odds: torch.Tensor) -> torch.Tensor:
    """Log-probabilities [N, 2] of yes and no."""
    return functional.logsigmoid(torch.stack([odds, -odds], 1))


def _divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
