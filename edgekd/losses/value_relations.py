"""Relations of values, and attention (Wang, Wei, Dong, Bao, Yang, Zhou 2020: MiniLM: Deep Self-Attention Distillation)."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from edgekd.errors import InputError
from edgekd.losses.adapters import Tapped, check_tokens
from edgekd.losses.scaled_dot_product import Heads, check_options, projections, scores

NAME = "value_relations"


def value_relations(
    student: Tapped, teacher: Tapped, labels: torch.Tensor, *, heads: Heads, packed: str = "none", prescaled: str = "none"
) -> torch.Tensor:
    """Kullback-Leibler divergences of the student's value relations, and of its attention, from the teacher's.

    A value relation is softmax(v·vᵀ/√d) of one head, attention is softmax(q·kᵀ/√d): for each token a distribution over tokens. The
    divergence is the mean over samples, heads and tokens; both are added. Each side taps the projections of one layer, the last in the
    paper: [q, k, v] of tokens [N, T, D], or [v] (or v alone), which leaves the attention out. Widths may differ: relations are T x T.

    ``heads``: of both, or [student's, teacher's]; where they differ, the heads' distributions are averaged on each side before they are
    compared (the paper has equally many).
    ``packed``: "student", "teacher" or "both" where one tapped layer answers queries, keys and values side by side, [N, T, 3 D].
    ``prescaled``: "student", "teacher" or "both" where the queries hold 1/√d already (this package's own ``vit``).
    Masks (padding, causality) are not looked at: all tokens count.
    """
    del labels
    ours, theirs = check_options(heads, packed, prescaled, loss=NAME)
    a = projections(student, packed, side="student", loss=NAME)
    b = projections(teacher, packed, side="teacher", loss=NAME)
    for found, side in ((a, "student"), (b, "teacher")):
        if len(found) not in (1, 3):
            raise InputError(
                f"the {side} taps {len(found)} tensors",
                where=f"loss {NAME}",
                expected="the query, key and value projections of one layer, or its value projection alone",
                mend=f'{side} = ["blocks.11.query", "blocks.11.key", "blocks.11.value"] or {side} = "blocks.11.value"',
            )
    if len(a) != len(b):
        # Values alone on one side: there is no attention to compare.
        raise InputError(
            f"the student taps {len(a)} of queries, keys and values, the teacher {len(b)}",
            where=f"loss {NAME}",
            expected="the same on both sides",
            mend='student = "blocks.3.value" with teacher = "layer.11.value", or three paths on both sides',
        )
    check_tokens(a[-1], b[-1], loss=NAME)
    # Values with values carry no scale of their own; only queries may.
    between = [(-1, -1, "none")] if len(a) == 1 else [(0, 1, prescaled), (-1, -1, "none")]
    merge = ours != theirs
    terms = [
        _divergence(
            _distributions(scores(a[i], a[j], ours, side="student", loss=NAME, prescaled=done), merge=merge),
            _distributions(scores(b[i], b[j], theirs, side="teacher", loss=NAME, prescaled=done), merge=merge),
        )
        for i, j, done in between
    ]
    return torch.stack(terms).sum()


def _distributions(products: torch.Tensor, *, merge: bool) -> torch.Tensor:
    """Logarithms of the distributions [N, heads or 1, T, T] of scaled dot products [N, heads, T, T]."""
    logs = functional.log_softmax(products, -1)
    return torch.logsumexp(logs, 1, keepdim=True) - math.log(logs.shape[1]) if merge else logs


def _divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean over samples, heads and tokens."""
    return functional.kl_div(student, teacher, reduction="sum", log_target=True) / student[..., 0].numel()
