"""What a teacher's outputs mean: which column is which class, and whether they are logits or probabilities."""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from edgekd.errors import InputError

MAX_LABELS_BYTES = 4 << 20
#: The smallest probability that has a logarithm in float32: a softmax that answers 0 means "less than can be said".
SMALLEST = float(np.finfo(np.float32).tiny)


def beside(path: Path) -> tuple[str, ...] | None:
    """The names in ``labels.txt``, in the folder that ``path`` is or beside it, one a line; None if there is no such file."""
    for folder in (path, path.parent):
        file = folder / "labels.txt"
        if file.is_file():
            try:
                if file.stat().st_size > MAX_LABELS_BYTES:
                    raise InputError("is too large", where=str(file), expected="one name a line")
                names = tuple(line.strip() for line in file.read_text(encoding="utf-8-sig").strip().splitlines())
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"cannot be read ({error})", where=str(file), expected="UTF-8 text, one name a line") from error
            if not names or not all(names):
                raise InputError("has empty lines" if names else "is empty", where=str(file), expected="one name a line")
            return names
    return None


def named(text: str, where: str) -> tuple[str, ...]:
    """The names in a metadata entry: a JSON list, a JSON object of index → name, or one name a line (or between commas)."""
    if text.lstrip()[:1] in ("[", "{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"the entry is no JSON ({error})", where=where, expected='["cat", "dog"]') from error
        return indexed(found, where) if isinstance(found, dict) else tuple(str(name) for name in found)
    lines = text.strip().splitlines()
    return tuple(name.strip() for name in (lines if len(lines) > 1 else text.split(",")))


def indexed(names: dict[object, object], where: str) -> tuple[str, ...]:
    """The names of ``{"0": "cat", "1": "dog"}``, in the order of their indices. Raises InputError if these are not 0 to n − 1."""
    by_index = {str(index): str(name) for index, name in names.items()}
    if set(by_index) != {str(i) for i in range(len(by_index))}:
        raise InputError(f"the indices of its labels are {', '.join(list(by_index)[:5])}, …", where=where, expected="0, 1, 2, …")
    return tuple(by_index[str(i)] for i in range(len(by_index)))


def columns(names: Sequence[str] | None, outputs: int, wanted: Sequence[str], where: str) -> tuple[int, ...] | None:
    """Which of the teacher's ``outputs`` answers each of the ``wanted`` classes of the data; None where they are these, in order.

    ``names`` are the teacher's classes in the order of its outputs; a teacher of more classes than the data has is asked for those of the
    data. Upper and lower case are the same where that leaves no doubt. Without names the order is taken to be the data's.
    Raises InputError if a class is missing or there twice, or the number of outputs is another.
    """
    if names is None:
        if outputs != len(wanted):
            raise InputError(
                f"the teacher has {outputs} outputs and does not name them",
                where=where,
                expected=f"{len(wanted)} outputs, one a class of the data, or the name of each",
                mend='labels = ["…"] under [teacher], in the order of its outputs, or a labels.txt beside the model',
            )
        return None
    if len(names) != outputs:
        raise InputError(f"{len(names)} labels for {outputs} outputs", where=where, expected="one name an output, in their order")
    found = tuple(_column(name, names, where) for name in wanted)
    if len(set(found)) != len(found):
        raise InputError("two classes of the data have the same name, but for upper and lower case", where=where, expected="others")
    return None if found == tuple(range(outputs)) else found


def _column(name: str, names: Sequence[str], where: str) -> int:
    at = [i for i, known in enumerate(names) if known == name] or [
        i for i, known in enumerate(names) if known.casefold() == name.casefold()
    ]
    if len(at) == 1:
        return at[0]
    if at:
        raise InputError(f"{len(at)} outputs of the teacher are called {name!r}", where=where, expected="one")
    near = get_close_matches(name, names, 1) or get_close_matches(name.casefold(), [known.casefold() for known in names], 1)
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    raise InputError(
        f"the teacher has no label {name!r}",
        where=where,
        expected=f"perhaps {near[0]!r}; the teacher knows {shown}" if near else f"one of {shown}",
        mend="labels = […] under [teacher]: the data's names, in the order of the teacher's outputs",
    )


def check_finite(answers: np.ndarray, where: str) -> None:
    """Raise InputError if ``answers`` are no numbers that can be stored; to be asked of a few, before all are computed."""
    if not (np.abs(answers) <= np.finfo(np.float16).max).all():
        mend = "check mean, std and scale, and the checkpoint"
        raise InputError("the teacher's outputs are not finite in float16", where=where, expected="logits within ±65504", mend=mend)


def check_kind(answers: np.ndarray, output: str | None, where: str) -> None:
    """Raise InputError if ``answers`` [n, classes] are not finite, or not what the recipe's ``output`` says, or tell that it should say."""
    if not np.isfinite(answers).all():
        raise InputError("the teacher's outputs are not finite", where=where, expected="numbers", mend="check mean, std and scale")
    rows = answers.astype(np.float64).reshape(-1, answers.shape[-1])
    probable = bool((rows >= -1e-3).all() and (abs(rows.sum(1) - 1) < 1e-2).all())
    if output is None and probable and rows.shape[1] > 1:
        raise InputError(
            "the teacher answers probabilities: they are positive, and their sum is 1",
            where=where,
            expected="that the recipe says so",
            mend='output = "probabilities" under [teacher] (or output = "logits", if that is chance)',
        )
    if output == "probabilities" and not ((rows >= -1e-3) & (rows <= 1.001)).all():
        low, high = rows.min(), rows.max()
        raise InputError(
            f"outputs from {low:.3g} to {high:.3g} are no probabilities", where=where, expected="0 to 1", mend='output = "logits"'
        )
