"""Large files of the cache with their sha256 beside them: one that is damaged, or was written half, is as good as none."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from edgekd import runs


def part_of(file: Path) -> Path:
    """Where this process writes what becomes ``file`` once it is whole; see ``seal``."""
    return file.with_name(f"{file.name}.{os.getpid()}.part")


def seal(part: Path, file: Path) -> None:
    """``part`` becomes ``file``, with its hash beside it."""
    digest = runs.sha256_file(part)
    os.replace(part, file)
    runs.atomic_write(file.with_suffix(".sha256"), digest.encode())


def whole(file: Path) -> bool:
    """Whether ``file`` is there as it was sealed."""
    try:
        return runs.sha256_file(file) == file.with_suffix(".sha256").read_text()
    except (OSError, ValueError):
        return False


def stored_logits(file: Path) -> np.ndarray | None:
    """Sealed logits float16 [views, N, classes], memory-mapped from ``file`` (.npy); None where there are none."""
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False) if whole(file) else None
    except (OSError, ValueError):
        return None
    return found if found is not None and found.ndim == 3 and found.dtype == np.float16 else None
