"""What losses of hidden layers share: pairs of layers, and how a student's layer meets a wider or larger one of the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import nn
from torch.nn import functional

from edgekd.errors import InputError

Tapped: TypeAlias = torch.Tensor | Sequence[torch.Tensor]
"""One path of the recipe gives a tensor, a list of paths a list of them."""

KINDS = {2: "vectors [N, D]", 3: "tokens [N, T, D]", 4: "feature maps [N, C, H, W]"}


def layers(tapped: Tapped) -> list[torch.Tensor]:
    """What one side taps, always as a list."""
    return [tapped] if isinstance(tapped, torch.Tensor) else list(tapped)


def pairs(student: Tapped, teacher: Tapped, *, loss: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The student's layers, each with the teacher's that teaches it. InputError where the lists differ in length or are empty."""
    ours, theirs = layers(student), layers(teacher)
    if not ours or len(ours) != len(theirs):
        raise InputError(
            f"the student taps {len(ours)} layer{'' if len(ours) == 1 else 's'}, the teacher {len(theirs)}",
            where=f"loss {loss}",
            expected="as many paths in teacher as in student, from shallow to deep",
            mend='student = ["stages.0", "stages.1"] with teacher = ["layer1", "layer2"]',
        )
    return list(zip(ours, theirs, strict=True))


def check_rank(tensor: torch.Tensor, *ranks: int, side: str, loss: str) -> None:
    """InputError unless ``tensor``, tapped at ``side`` ("student" or "teacher"), has one of the ``ranks``."""
    if tensor.ndim in ranks:
        return
    found = KINDS.get(tensor.ndim, "neither maps, nor tokens, nor vectors")
    wanted = {
        2: f'{side} = "…" the module that answers one vector a sample (pooling, or the layer before the classifier)',
        3: f'{side} = "blocks.3" or another module of a transformer that answers tokens',
        4: f'{side} = "stages.1" or another module before the pooling, such as a convolution or a stage',
    }
    raise InputError(
        f"the {side}'s tensor has shape {list(tensor.shape)}: {found}",
        where=f"loss {loss}",
        expected=" or ".join(KINDS[r] for r in ranks),
        mend=wanted[ranks[-1]],
    )


def adapter(student_example: torch.Tensor, teacher_example: torch.Tensor, *, loss: str = "adapter", always: bool = False) -> nn.Module:
    """The learned layer from the student's channels or features to the teacher's.

    A 1x1 convolution for maps [N, C, H, W], a linear layer for tokens [N, T, D] and vectors [N, D], of the student's dtype and device.
    Identity where they are equal already, unless ``always``. Spatial sizes are left to :func:`same_size`.
    InputError where the two cannot meet: maps against tokens or vectors, unequal numbers of tokens.
    """
    check_rank(student_example, 2, 3, 4, side="student", loss=loss)
    if student_example.ndim != teacher_example.ndim:
        check_rank(teacher_example, student_example.ndim, side="teacher", loss=loss)
    axis = 1 if student_example.ndim == 4 else -1
    _check_tokens(student_example, teacher_example, loss=loss)
    ours, theirs = student_example.shape[axis], teacher_example.shape[axis]
    if ours == theirs and not always:
        return nn.Identity()
    learned = nn.Conv2d(ours, theirs, 1) if axis == 1 else nn.Linear(ours, theirs)
    return learned.to(student_example)


def same_size(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both maps [N, C, H, W], averaged to the smaller height and the smaller width; other tensors as they are."""
    if a.ndim != 4 or b.ndim != 4 or a.shape[2:] == b.shape[2:]:
        return a, b
    size = (min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3]))
    return functional.adaptive_avg_pool2d(a, size), functional.adaptive_avg_pool2d(b, size)


def one_vector(tensor: torch.Tensor) -> torch.Tensor:
    """[N, D] of vectors, or of maps averaged over positions, or of tokens averaged."""
    if tensor.ndim == 2:
        return tensor
    return tensor.mean((2, 3)) if tensor.ndim == 4 else tensor.mean(1)


def _check_tokens(student: torch.Tensor, teacher: torch.Tensor, *, loss: str) -> None:
    if student.ndim != 3 or student.shape[1] == teacher.shape[1]:
        return
    raise InputError(
        f"{student.shape[1]} tokens of the student, {teacher.shape[1]} of the teacher",
        where=f"loss {loss}",
        expected="as many tokens on both sides: the same patches of the same picture",
        mend="a student with the teacher's grid of patches, or pooled vectors [N, D] on both sides",
    )


def check_tokens(student: torch.Tensor, teacher: torch.Tensor, *, loss: str) -> None:
    """InputError unless both are tokens [N, T, D] with the same T."""
    check_rank(student, 3, side="student", loss=loss)
    check_rank(teacher, 3, side="teacher", loss=loss)
    _check_tokens(student, teacher, loss=loss)
