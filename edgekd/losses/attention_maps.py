"""Attention of a transformer's heads (Jiao, Yin, Shang, Jiang, Chen, Li, Wang, Liu 2020: TinyBERT: Distilling BERT for NLU)."""

from __future__ import annotations

import torch
from torch.nn import functional

from edgekd.errors import InputError
from edgekd.losses.adapters import Tapped, check_tokens
from edgekd.losses.check import require_switch
from edgekd.losses.scaled_dot_product import Heads, check_options, projections, scores

NAME = "attention_maps"


def attention_maps(
    student: Tapped,
    teacher: Tapped,
    labels: torch.Tensor,
    *,
    heads: Heads,
    softmax: bool = False,
    packed: str = "none",
    prescaled: str = "none",
) -> torch.Tensor:
    """Mean squared error between the attention matrices q·kᵀ/√d of student and teacher.

    The mean is over samples, heads and pairs of tokens; layers are summed. Each side taps the query and the key projection [N, T, D] of one
    layer or more, [q, k] or [q, k, q, k, …]; widths may differ.

    ``heads``: of both, or [student's, teacher's]; where they differ, the mean over heads is compared (the paper has equally many).
    ``softmax``: compare the distributions; the paper's authors found that the matrices before the softmax teach faster and better.
    ``packed``: "student", "teacher" or "both" where each tapped layer answers queries, keys and values side by side, [N, T, 3 D].
    ``prescaled``: "student", "teacher" or "both" where the queries hold 1/√d already (this package's own ``vit``).
    Masks (padding, causality) are not looked at: all tokens count.
    """
    del labels
    require_switch(NAME, "softmax", softmax)
    ours, theirs = check_options(heads, packed, prescaled, loss=NAME)
    a, b = _layers(student, packed, "student"), _layers(teacher, packed, "teacher")
    if len(a) != len(b):
        raise InputError(
            f"queries and keys of {len(a)} of the student's layers, of {len(b)} of the teacher's",
            where=f"loss {NAME}",
            expected="as many layers on both sides, from shallow to deep",
            mend='student = ["blocks.1.query", "blocks.1.key"] with teacher = ["layer.3.query", "layer.3.key"]',
        )
    terms: list[torch.Tensor] = []
    for (q, k), (teacher_q, teacher_k) in zip(a, b, strict=True):
        check_tokens(q, teacher_q, loss=NAME)
        x = scores(q, k, ours, side="student", loss=NAME, prescaled=prescaled)
        y = scores(teacher_q, teacher_k, theirs, side="teacher", loss=NAME, prescaled=prescaled)
        if softmax:
            x, y = x.softmax(-1), y.softmax(-1)
        if ours != theirs:
            x, y = x.mean(1), y.mean(1)
        terms.append(functional.mse_loss(x, y))
    return torch.stack(terms).sum()


def _layers(tapped: Tapped, packed: str, side: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(queries, keys) of each of one side's layers."""
    found = projections(tapped, packed, side=side, loss=NAME)
    each = 3 if packed in (side, "both") else 2
    if not found or len(found) % each:
        raise InputError(
            f"the {side} taps {len(found)} tensor{'' if len(found) == 1 else 's'}",
            where=f"loss {NAME}",
            expected="the query and the key projection of each layer",
            mend=f'{side} = ["blocks.3.query", "blocks.3.key"], or packed = "{side}" where one layer answers queries, keys and values',
        )
    return [(found[i], found[i + 1]) for i in range(0, len(found), each)]
