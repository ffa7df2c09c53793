"""What the teachers of one task answer together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from edgekd.errors import InputError
from edgekd.teachers.ensemble import blend, name_of, recall
from edgekd.teachers.top_k import Targets, TopK
from edgekd.train.ask import Answers, Asked, Progress


def together(found: Sequence[Answers], how: str, asked: Asked, cache: Path, progress: Progress) -> tuple[Targets | None, np.ndarray | None]:
    """Logits float16 [views, N, classes] of a task for training, [N, classes] for the test set, of the answers ``found`` by its teachers.

    Those of several are blended as ``how`` says (see teachers/ensemble.py) and stored in ``cache``, each teacher's beside them, so that
    another ensemble of the same teachers computes but the blend. For the test set None, where one teacher has no answer. Both None where
    there is no teacher. Raises InputError if teachers are to be weighed by what one of them does not answer.
    """
    if not found:
        return None, None
    if len(found) == 1:
        return found[0].train, found[0].test
    weights = _reliability(found, asked) if how == "per_class" else None
    keys, folder = [one.sha256 for one in found], cache / "ensembles"
    asked_of = f"{asked.data.sha256} {asked.views.sha256}"
    blended = partial(blend, how=how, reliability=weights)
    train = blended(
        [_every_logit(one.train) for one in found],
        file=folder / f"{name_of(keys, how, weights, asked_of)}.npy",
        progress=lambda done, total: progress("ensemble", done, total),
    )
    tests = [one.test[None] for one in found if one.test is not None]
    if len(tests) < len(found):
        return train, None
    return train, blended(tests, file=folder / f"{name_of(keys, how, weights, f'{asked.data.sha256} test')}.npy")[0]


def _every_logit(found: Targets) -> np.ndarray:
    if isinstance(found, TopK):
        what = f"the largest {found.stored} of {found.classes} logits of a teacher that answers together with others"
        raise InputError(what, where="recipe, teachers", expected="every logit of each", mend="delete top_k")
    return found


def _reliability(found: Sequence[Answers], asked: Asked) -> np.ndarray:
    """Each teacher's recall of each class on the validation split, [T, classes]."""
    rows = []
    for one in found:
        if one.validation is None:
            raise InputError(
                f"a teacher is a {one.where}, which has no outputs for the validation split",
                where="recipe, ensemble.how",
                expected='"mean" or "confidence", for which none are needed',
                mend='how = "confidence"',
            )
        rows.append(recall(one.validation, asked.data.validation.classes(one.task), one.validation.shape[1]))
    return np.stack(rows)
