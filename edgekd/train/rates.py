"""Learning rate, weight decay and patience of a student's training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn


def weary(history: Sequence[Mapping[str, Any]], patience: int) -> bool:
    """Whether the last ``patience`` passes brought nothing better."""
    if not patience or len(history) <= patience:
        return False
    found = [h["validation"] for h in history]
    return max(found[-patience:]) <= max(found[:-patience])


def rate(done: float, warm_up: float) -> float:
    """Share of the peak learning rate after the share ``done`` of the phase."""
    if done < warm_up:
        return (done + 1e-3) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


def decayed_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices only: on biases, batch norms and steps it costs accuracy (Goyal et al. 2017)."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    decayed = [p for n, p in named if p.ndim > 1 and not n.startswith("weight_steps")]
    others = [p for n, p in named if p.ndim <= 1 or n.startswith("weight_steps")]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
