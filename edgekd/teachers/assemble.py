"""From what a source gives and what the recipe says to a teacher that answers the data's classes."""

from __future__ import annotations

import numpy as np
from torch import nn

from edgekd import lazy
from edgekd.errors import InputError
from edgekd.recipe.schema import Teacher as Table
from edgekd.teachers.answers import check_finite, check_kind, columns
from edgekd.teachers.opened import About, Normalization, Opened
from edgekd.teachers.teacher import Teacher, logits


def assemble(body: nn.Module, table: Table, sample: np.ndarray, labels: tuple[str, ...]) -> Teacher:
    """``body`` with its normalization, image size, and the order of its outputs; tried once on ``sample`` uint8 [N, H, W, C].

    What the recipe's ``table`` says counts more than what the model's files say. Raises InputError if the two cannot both be true, or
    the answers are not one output a class of the data's ``labels``.
    """
    where, about = "recipe, teacher.source", body.about if isinstance(body, Opened) else None
    how = _normalization(table, about, sample.shape[3])
    size = _size(table, about, (sample.shape[1], sample.shape[2]))
    raw = Teacher(body, how.mean, how.std, scale=how.scale, size=size)
    answer = lazy.attempt(table.source, lambda: logits(raw, sample, bf16=False), where=where)
    named = tuple(table.labels) if table.labels is not None else about.labels if about else None
    if answer.ndim != 2 or (named is None and about is None and answer.shape[1] != len(labels)):
        raise InputError(
            f"{table.source} answers {list(answer.shape)} for {len(answer)} images",
            where=where,
            expected=f"[{len(answer)}, {len(labels)}], one output a class of the data",
        )
    order = columns(named, answer.shape[1], labels, "recipe, teacher")
    check_finite(answer, "recipe, teacher")
    if about is not None or table.output is not None:  # a module that `edgekd teach` has yet to train answers anything
        check_kind(answer, table.output, "recipe, teacher")
    return Teacher(body, how.mean, how.std, scale=how.scale, size=size, log=table.output == "probabilities", columns=order)


def _normalization(table: Table, about: About | None, channels: int) -> Normalization:
    stated = bool(table.model_fields_set & {"mean", "std", "scale"})
    how = Normalization(tuple(table.mean), tuple(table.std), table.scale)
    if about and not stated:
        if about.needs_normalization:
            raise InputError(
                "its normalization is not known: it has no preprocessor_config.json",
                where="recipe, teacher",
                expected="mean and std of the pixels that it was trained on, as shares of 255",
                mend="mean = [0.485, 0.456, 0.406] and std = [0.229, 0.224, 0.225], if it was trained on ImageNet as most were",
            )
        how = about.normalization or how
    if len(how.mean) not in (1, channels):
        raise InputError(
            f"the teacher is normalized by {len(how.mean)} values", where="recipe, teacher", expected=f"images of {channels} channels"
        )
    if about and about.integer and how != Normalization(scale=255.0):
        raise InputError(
            "the teacher takes integers 0 to 255",
            where="recipe, teacher",
            expected="neither mean nor std",
            mend="scale = 255 under [teacher]",
        )
    return how


def _size(table: Table, about: About | None, data: tuple[int, int]) -> tuple[int, int] | None:
    """Height and width that images are resized to; None where they are the data's own."""
    must, prefers = (about.size, about.prefers) if about else ((None, None), (None, None))
    stated = (table.size[0], table.size[1]) if table.size else (None, None)
    for asked, fixed in zip(stated, must, strict=True):
        if asked and fixed and asked != fixed:
            raise InputError(
                f"size = {list(stated)}", where="recipe, teacher", expected=f"{list(must)}, which the model is made for", mend="delete size"
            )
    height, width = (s or f or p or d for s, f, p, d in zip(stated, must, prefers, data, strict=True))
    return None if (height, width) == data else (height, width)
