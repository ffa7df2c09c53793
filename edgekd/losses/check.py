"""What losses ask of their options and of logits."""

from __future__ import annotations

import math

import torch

from edgekd.errors import InputError
from edgekd.losses.adapters import Tapped


def require(
    loss: str, option: str, value: object, *, above: float = -math.inf, least: float = -math.inf, most: float = math.inf, usual: str = ""
) -> None:
    """Raises InputError unless ``value`` is a finite number over ``above``, of at least ``least`` and at most ``most``."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > above and least <= value <= most:
        return
    if most < math.inf:
        span = f"{least:g} to {most:g}" if least > -math.inf else f"above {above:g}, at most {most:g}"
    else:
        span = f"at least {least:g}" if least > -math.inf else f"above {above:g}"
    raise InputError(f"{option} = {value!r}", where=f"loss {loss}", expected=f"{span}, usually {usual}" if usual else span)


def require_switch(loss: str, option: str, value: object) -> None:
    """Raises InputError unless ``value`` is true or false."""
    if not isinstance(value, bool):
        raise InputError(f"{option} = {value!r}", where=f"loss {loss}", expected="true or false")


def require_logits(loss: str, student: Tapped, teacher: Tapped) -> None:
    """Raises InputError unless both are logits of the same shape [N, C]."""
    shapes = [tuple(x.shape) if isinstance(x, torch.Tensor) else f"a list of {len(x)} tensors" for x in (student, teacher)]
    if isinstance(student, torch.Tensor) and student.ndim == 2 and shapes[0] == shapes[1]:
        return
    raise InputError(
        f"student {shapes[0]}, teacher {shapes[1]}",
        where=f"loss {loss}",
        expected="logits of the same classes, [N, C] each",
        mend="no student and no teacher in this [[losses]]: both are logits then; hint and similarity compare what modules answer",
    )
