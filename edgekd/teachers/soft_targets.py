"""The teacher's outputs over the training set and its fixed views: computed once, stored, shared by every student."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from edgekd import runs
from edgekd.errors import InputError
from edgekd.teachers.reading import Reader
from edgekd.teachers.sealed import part_of, seal, stored_logits
from edgekd.teachers.teacher import Teacher, amx, logits

LOG = logging.getLogger(__name__)


class Run(Protocol):
    """How a teacher is run on many samples: logits float32 [N, classes] of ``x``."""

    def __call__(
        self, teacher: Teacher | Reader, x: np.ndarray, /, *, batch: int, bf16: bool, progress: Callable[[int], None]
    ) -> np.ndarray: ...


def key(*hashes: str) -> str:
    """Under which name outputs are stored: another teacher, another pixel or another view is another name."""
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:32]


def soft_targets(
    teacher: Teacher | Reader,
    views: Sequence[Callable[[], np.ndarray]],
    file: Path,
    progress: Callable[[int, int], None],
    run: Run = logits,
) -> np.ndarray:
    """Logits float16 [views, N, classes], memory-mapped from ``file`` (.npy), made if not there.

    Each of ``views`` gives uint8 [N, H, W, C], the same N (or what else ``run`` feeds the teacher); they are made one at a time. A file
    that is damaged is computed again. Where another process computes the same, wait for it and read what it stored.
    """
    if (stored := stored_logits(file)) is not None and len(stored) == len(views):
        return stored
    file.parent.mkdir(parents=True, exist_ok=True)
    with runs.lock(file.parent, f".{file.stem}.lock", wait=lambda who: LOG.warning("%s computes the teacher's outputs: waiting", who)):
        if (stored := stored_logits(file)) is not None and len(stored) == len(views):
            return stored
        return _store(_compute(teacher, views, file, progress, run), file)


def _compute(
    teacher: Teacher | Reader, views: Sequence[Callable[[], np.ndarray]], file: Path, progress: Callable[[int, int], None], run: Run
) -> np.ndarray:
    parts = []
    for n, view in enumerate(views):
        pixels = view()
        each = _whole(progress, n, len(views), len(pixels))
        found = run(teacher, pixels, batch=teacher.batch, bf16=amx(), progress=each)
        with np.errstate(over="ignore"):  # looked for below
            parts.append(found.astype(np.float16))
    outputs = np.stack(parts)
    if not np.isfinite(outputs).all():
        raise InputError("the teacher's outputs are not finite in float16", where=str(file), expected="logits within ±65504")
    return outputs


def _store(outputs: np.ndarray, file: Path) -> np.ndarray:
    part = part_of(file)
    with part.open("wb") as stream:
        np.save(stream, outputs)
    seal(part, file)
    return outputs


def _whole(progress: Callable[[int, int], None], view: int, views: int, each: int) -> Callable[[int], None]:
    """Progress within one view as progress over all."""
    return lambda done: progress(view * each + done, views * each)
