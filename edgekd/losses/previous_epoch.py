"""PS-KD: the student's previous pass as teacher (Kim, Ji, Yoon, Hwang 2021: Self-Knowledge Distillation with Progressive Refinement …)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from edgekd.losses.adapters import Tapped
from edgekd.losses.check import require, require_logits


class PreviousEpoch(nn.Module):
    """Cross-entropy against (1 − a) · label + a · what the student itself answered when it last met the sample; mean over samples.

    a = ``alpha`` · min(1, p / ``passes``) in a sample's p-th pass, and 0 in its first: what a young student says deserves little trust.
    ``passes`` is best set to the preset's passes over the data. ``temperature`` softens the remembered answer only, as Yang, Xie, Su and
    Yuille do (2019: Snapshot Distillation); 1 is the method of 2021. It helps where labels are noisy or the student overconfident,
    without any teacher, and costs no time; little where training is a few passes long.

    ``student`` logits [N, C]; ``teacher`` is not looked at. ``labels`` int64 [N]: samples without one (−1) are left out and not remembered.
    ``indices`` int64 [N], below ``samples``, say which sample each row is. It holds the labels' cross-entropy already: weight 1 and no
    cross_entropy beside it. Buffers: ``memory`` float16 [samples, C], probabilities; ``seen`` int16 [samples], passes so far.
    In evaluation mode nothing is remembered.
    """

    memory: torch.Tensor
    seen: torch.Tensor

    def __init__(
        self, student: Tapped, teacher: Tapped, samples: int, *, alpha: float = 0.8, passes: int = 10, temperature: float = 1.0
    ) -> None:
        super().__init__()
        del teacher
        require("previous_epoch", "alpha", alpha, least=0, most=1, usual="0.8")
        require("previous_epoch", "passes", passes, least=1, usual="the preset's passes over the data")
        require("previous_epoch", "temperature", temperature, above=0, usual="1 to 2")
        require_logits("previous_epoch", student, student)
        assert isinstance(student, torch.Tensor)
        self.alpha, self.passes, self.temperature = alpha, passes, temperature
        self.register_buffer("memory", torch.zeros(samples, student.shape[1], dtype=torch.float16))
        self.register_buffer("seen", torch.zeros(samples, dtype=torch.int16))

    def forward(self, student: torch.Tensor, teacher: Tapped, labels: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        del teacher
        known = labels >= 0
        if not known.any():
            return student.sum() * 0
        logits, which = student[known], indices[known]
        seen = self.seen[which].to(logits.dtype)
        share = (self.alpha * ((seen + 1) / self.passes).clamp(max=1) * (seen > 0))[:, None]
        hard = functional.one_hot(labels[known], logits.shape[1]).to(logits.dtype)
        target = (1 - share) * hard + share * self.memory[which].to(logits.dtype)
        if self.training:
            with torch.no_grad():
                self.memory[which] = functional.softmax(logits / self.temperature, 1).to(self.memory.dtype)
                self.seen[which] += 1
        return functional.cross_entropy(logits, target)
