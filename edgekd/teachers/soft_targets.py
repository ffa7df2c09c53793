"""The teacher's outputs over the training set and its fixed views: computed once, stored, shared by every student."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from edgekd.errors import InputError
from edgekd.teachers import pieces
from edgekd.teachers.reading import Reader
from edgekd.teachers.shards import Layout, Make, kept, missing, rows_of, share
from edgekd.teachers.teacher import Teacher, amx, logits
from edgekd.teachers.top_k import largest, row_type

#: Samples ``start`` to ``stop`` of one view, as a teacher is fed them: [stop − start, …].
View = Callable[[int, int], np.ndarray]


class Run(Protocol):
    """How a teacher is run on many samples: logits float32 [N, classes] of ``x``."""

    def __call__(
        self, teacher: Teacher | Reader, x: np.ndarray, /, *, batch: int, bf16: bool, progress: Callable[[int], None]
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class Shown:
    """What a teacher is asked about: ``samples`` in each of ``views``, which of ``classes`` they are; ``top``: how many logits of each
    are stored, 0 for all."""

    views: tuple[View, ...]
    samples: int
    classes: int
    top: int = 0


def key(*hashes: str) -> str:
    """Under which name outputs are stored: another teacher, another pixel or another view is another name."""
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:32]


def soft_targets(
    teacher: Teacher | Reader, shown: Shown, file: Path, progress: Callable[[int, int], None], run: Run = logits
) -> np.ndarray:
    """Logits float16 [views, N, classes], memory-mapped from ``file`` (.npy), made if not there; with ``shown.top`` rows [views, N] as
    top_k.py has them.

    Samples are asked for a batch at a time, and no more than a shard of outputs is in memory. What was interrupted goes on; a shard that is
    damaged is computed again. Where another process computes the same, wait for it and read what it stored.
    """
    return kept(file, _layout(teacher, shown), _maker(teacher, shown, file, run), "computes the teacher's outputs", progress)


def shared_targets(
    teacher: Teacher | Reader, shown: Shown, file: Path, part: tuple[int, int], progress: Callable[[int, int], None], run: Run = logits
) -> None:
    """A ``part`` (number, of how many) of what ``soft_targets`` would compute, which finds it."""
    share(file, _layout(teacher, shown), _maker(teacher, shown, file, run), part, progress)


def forget_shared(teacher: Teacher | Reader, shown: Shown, file: Path) -> None:
    """Remove what ``shared_targets`` have left for ``file``, by whomever."""
    pieces.sweep(file, _layout(teacher, shown).title)


def missing_targets(teacher: Teacher | Reader, shown: Shown, file: Path) -> int:
    """Shards that ``soft_targets`` would have to compute."""
    return missing(file, _layout(teacher, shown))


def _maker(teacher: Teacher | Reader, shown: Shown, file: Path, run: Run) -> Make:
    def make(view: int, start: int, stop: int, told: Callable[[int], None]) -> np.ndarray:
        parts = []
        for at in range(start, stop, teacher.batch):
            end = min(at + teacher.batch, stop)
            x = shown.views[view](at, end)
            found = run(teacher, x, batch=teacher.batch, bf16=amx(), progress=lambda _: None)
            parts.append(_as_stored(found, shown, file))
            told(end - start)
        return np.concatenate(parts)

    return make


def _layout(teacher: Teacher | Reader, shown: Shown) -> Layout:
    dtype = row_type(shown.top, shown.classes) if shown.top else np.dtype("<f2")
    shape = (len(shown.views), shown.samples) if shown.top else (len(shown.views), shown.samples, shown.classes)
    row_bytes = dtype.itemsize * (1 if shown.top else shown.classes)
    return Layout(shape, dtype, rows_of(teacher.batch, row_bytes))


def _as_stored(found: np.ndarray, shown: Shown, file: Path) -> np.ndarray:
    """Of a batch. Rounding to float16 moves a logit z by |z| / 2048 at most, or 2**-25 where it is that small."""
    if found.shape[1:] != (shown.classes,):
        raise InputError(f"the teacher answers {list(found.shape[1:])} a sample", where=str(file), expected=f"[{shown.classes}]")
    with np.errstate(over="ignore"):  # looked for here
        half = found.astype(np.float16)
    if not np.isfinite(half).all():
        raise InputError("the teacher's outputs are not finite in float16", where=str(file), expected="logits within ±65504")
    return largest(found, shown.top) if shown.top else half
