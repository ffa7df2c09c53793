"""Scaled dot products of the heads of self-attention, for the losses that compare them between two transformers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch

from edgekd.errors import InputError
from edgekd.losses.adapters import Tapped, check_rank, layers

Heads: TypeAlias = int | Sequence[int]
"""Heads of both sides, or [student's, teacher's]."""

SIDES = ("none", "student", "teacher", "both")


def check_options(heads: Heads, packed: str, prescaled: str, *, loss: str) -> tuple[int, int]:
    """The heads of the student and of the teacher.

    InputError unless they are positive numbers, and ``packed`` and ``prescaled`` name the sides for which they hold.
    """
    for option, value in (("packed", packed), ("prescaled", prescaled)):
        if value not in SIDES:
            raise InputError(f"{option} = {value!r}", where=f"loss {loss}", expected=f"one of {', '.join(SIDES)}")
    both: list[object] = list(heads) if isinstance(heads, list | tuple) else [heads, heads]
    counts = [h for h in both if isinstance(h, int) and not isinstance(h, bool) and h > 0]
    if len(both) != 2 or len(counts) != 2:
        raise InputError(
            f"heads = {heads}",
            where=f"loss {loss}",
            expected="the number of attention heads, or [student's, teacher's]",
            mend="options = { heads = [3, 12] }",
        )
    return counts[0], counts[1]


def projections(tapped: Tapped, packed: str, *, side: str, loss: str) -> list[torch.Tensor]:
    """The projections [N, T, D] that one ``side`` taps; three of each tensor [N, T, 3 D] where ``packed`` names the side."""
    found = layers(tapped)
    for tensor in found:
        check_rank(tensor, 3, side=side, loss=loss)
    if packed not in (side, "both"):
        return found
    for tensor in found:
        if tensor.shape[-1] % 3:
            raise InputError(
                f"the {side}'s width {tensor.shape[-1]} is not a multiple of 3",
                where=f"loss {loss}",
                expected=f'with packed = "{packed}" the {side} taps a layer that answers queries, keys and values, [N, T, 3 D]',
                mend=f'{side} = "blocks.11.attn.qkv"',
            )
    return [part for tensor in found for part in tensor.chunk(3, dim=-1)]


def scores(queries: torch.Tensor, keys: torch.Tensor, heads: int, *, side: str, loss: str, prescaled: str = "none") -> torch.Tensor:
    """[N, heads, T, T]: every token's query with every token's key, over √(D / heads); queries and keys [N, T, D].

    Not divided where ``prescaled`` names the side.
    """
    width = queries.shape[-1]
    if queries.shape != keys.shape:
        raise InputError(
            f"the {side}'s tensors have shapes {list(queries.shape)} and {list(keys.shape)}",
            where=f"loss {loss}",
            expected="projections of one layer, in the order queries, keys, values",
            mend=f'{side} = ["blocks.3.query", "blocks.3.key"]',
        )
    if width % heads:
        divisors = [h for h in range(1, min(width, 64) + 1) if width % h == 0]
        raise InputError(
            f"heads = {heads} does not divide the {side}'s width {width}",
            where=f"loss {loss}",
            expected=f"one of {', '.join(map(str, divisors))}: what the {side} itself has",
            mend="options = { heads = [3, 12] }, the student's and the teacher's",
        )
    q, k = (x.unflatten(-1, (heads, width // heads)).transpose(1, 2) for x in (queries, keys))
    products = q @ k.transpose(-1, -2)
    return products if prescaled in (side, "both") else products / math.sqrt(width // heads)
