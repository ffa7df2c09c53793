"""What matters while a student is trained: losses by name, agreement with the teacher, images a second."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from edgekd.errors import EdgekdError
from edgekd.train.distill import Batch

LOG = logging.getLogger(__name__)


class Sums:
    """What one pass adds up. Nothing is read off before it is told: reading waits for the computation."""

    def __init__(self, names: Sequence[str], columns: Sequence[slice]) -> None:
        self.names, self.columns = tuple(names), tuple(columns)
        self.count, self.images = 0, 0
        self._loss, self._each = torch.zeros(()), torch.zeros(len(self.names))
        self._agree, self._asked = torch.zeros((), dtype=torch.float64), 0
        self._lately: list[tuple[torch.Tensor, torch.Tensor]] = []  # since it was last looked at: which step was the first that went wrong

    def add(self, loss: torch.Tensor, each: torch.Tensor, outputs: torch.Tensor, batch: Batch) -> None:
        """After a step: its ``loss``, the value of ``each`` term, the student's ``outputs`` [N, classes], or [peers, N, classes]."""
        self._loss += loss.detach()
        self._each += each
        self._lately.append((loss.detach(), each))
        self.count += 1
        self.images += len(batch.indices)
        for some, teacher in zip(self.columns, batch.teacher, strict=True):
            if teacher is not None:
                same = outputs.detach()[..., some].argmax(-1) == teacher.argmax(-1)
                self._agree += same.sum()
                self._asked += same.numel()

    @property
    def loss(self) -> float:
        return float(self._loss)

    def odd(self) -> tuple[int, tuple[str, ...]] | None:
        """The first step of this pass, from 1, whose loss was not finite, and which losses were not; None where all were. Asked for often,
        for what it did not look at yet is kept."""
        lately, first = self._lately, self.count - len(self._lately) + 1
        self._lately = []
        if math.isfinite(self.loss):
            return None
        for at, (loss, each) in enumerate(lately):
            names = tuple(name for name, value in zip(self.names, each.tolist(), strict=True) if not math.isfinite(value))
            if names or not math.isfinite(float(loss)):
                return first + at, names
        return self.count, ()  # a sum of finite losses that is not

    def told(self, seconds: float) -> dict[str, Any]:
        """Means over the pass so far, which took ``seconds``. Losses by name are not weighted."""
        count = max(self.count, 1)
        losses = {name: float(value) / count for name, value in zip(self.names, self._each, strict=True)}
        agreement = {"agreement": float(self._agree) / self._asked} if self._asked else {}
        return {"loss": self.loss / count, "losses": losses, **agreement, "images_per_s": round(self.images / max(seconds, 1e-9), 1)}


def check(sums: Sums, what: str, done: int, steps: int, kept: str) -> None:
    """Raise EdgekdError if a loss of this pass, which began after ``done`` of ``steps`` steps of the phase ``what``, was not finite."""
    if (odd := sums.odd()) is None:
        return
    step, names = odd
    which = f" ({', '.join(names)})" if names else ""
    raise EdgekdError(f"phase {what}: the loss is not finite at step {done + step} of {steps}{which}{kept}\n{_lower(what)}")


def odd_weights(model: nn.Module) -> list[str]:
    """Names of what is not finite in ``model``: before a training a mask of attention, for one, which is meant to be so."""
    numbers = ((name, value) for name, value in model.state_dict().items() if isinstance(value, torch.Tensor) and value.is_floating_point())
    return [name for name, value in numbers if not bool(torch.isfinite(value).all())]


def check_weights(model: nn.Module, besides: Collection[str], what: str, step: str, kept: str) -> None:
    """Raise EdgekdError if the ``step`` before, whose loss was finite, made a weight that is not: such a state is never kept. ``besides``
    are the ``odd_weights`` of the beginning."""
    if name := next((name for name in odd_weights(model) if name not in besides), ""):
        raise EdgekdError(f"phase {what}: {name} is not finite after step {step}{kept}\n{_lower(what)}")


def _lower(what: str) -> str:
    return f"  to mend:  lower {'qat_learning_rate' if what == 'qat' else 'learning_rate'} in the recipe's preset"


def tell(phase: str, values: Mapping[str, Any]) -> None:
    """To whoever shows progress: one line of what ``values`` says."""
    LOG.info("%s", phase, extra={"detail": (phase, line(values))})


def line(values: Mapping[str, Any]) -> str:
    """``loss 0.412 (soft_targets 1.203, cross_entropy 0.31), agrees 91.2 %, validation 89.10 %, 5300 images/s``"""
    losses = ", ".join(f"{name} {value:.3g}" for name, value in values["losses"].items())
    parts = [f"loss {values['loss']:.3g}" + (f" ({losses})" if len(values["losses"]) > 1 else "")]
    if "agreement" in values:
        parts.append(f"agrees {values['agreement']:.1%}")
    if "validation" in values:
        parts.append(f"validation {values['validation']:.2%}")
    return ", ".join([*parts, f"{values['images_per_s']:,.0f} images/s"])
