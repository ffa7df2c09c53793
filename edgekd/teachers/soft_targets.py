"""The teacher's outputs over the training set and its fixed views: computed once, stored, shared by every student."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import nn

from edgekd.data.views import Views
from edgekd.errors import InputError
from edgekd.teachers.teacher import amx, logits


def key(teacher_sha256: str, data_sha256: str, views: Views) -> str:
    """Under which name outputs are stored: another teacher, another pixel or another view is another name."""
    return hashlib.sha256(f"{teacher_sha256} {data_sha256} {views.sha256}".encode()).hexdigest()[:32]


def soft_targets(
    teacher: nn.Module, x: np.ndarray, views: Views, file: Path, progress: Callable[[int, int], None] = lambda *_: None
) -> np.ndarray:
    """Logits float16 [views, N, classes] of every view of ``x`` uint8 [N, H, W, C], memory-mapped from ``file`` (.npy), made if not there.

    A file that is damaged or of another shape is computed again.
    """
    if (stored := _open(file, views.count, len(x))) is not None:
        return stored
    chosen, parts, total = np.arange(len(x)), [], views.count * len(x)
    for view in range(views.count):
        pixels = views.apply(x, chosen, np.full(len(x), view))
        done = view * len(x)
        parts.append(logits(teacher, pixels, bf16=amx(), progress=lambda n, done=done: progress(done + n, total)).astype(np.float16))
    outputs = np.stack(parts)
    if not np.isfinite(outputs).all():
        raise InputError("the teacher's outputs are not finite in float16", where=str(file), expected="logits within ±65504")
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    with part.open("wb") as stream:
        np.save(stream, outputs)
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    file.with_suffix(".sha256").write_text(digest)
    os.replace(part, file)
    return outputs


def _open(file: Path, views: int, samples: int) -> np.ndarray | None:
    try:
        if hashlib.sha256(file.read_bytes()).hexdigest() != file.with_suffix(".sha256").read_text():
            return None
        stored = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return stored if stored.ndim == 3 and stored.shape[:2] == (views, samples) and stored.dtype == np.float16 else None
