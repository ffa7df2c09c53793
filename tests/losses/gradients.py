"""What every loss with layers of its own owes a training: gradients that are right, and none of its layers left out."""

from __future__ import annotations

import torch
from torch import nn


def check(loss: nn.Module, student: torch.Tensor, teacher: torch.Tensor) -> None:
    """Fails unless the gradient at ``student``, float64, is that of differences, and all of ``loss``'s parameters have one."""
    labels, indices = torch.full((len(student),), -1), torch.arange(len(student))
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher, labels, indices), student)
    loss(student, teacher, labels, indices).backward()
    learned = dict(loss.named_parameters())
    assert learned, "nothing is learned"
    assert not [name for name, p in learned.items() if p.grad is None or not p.grad.any()]
