"""Large files of the cache with their sha256 beside them: one that is damaged, or was written half, is as good as none."""

from __future__ import annotations

import os
from pathlib import Path

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
