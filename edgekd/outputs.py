"""Files that a command writes where the user says: what it wrote before is replaced, what it did not write is left alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from edgekd.errors import InputError

#: Of a file, in which the mark of its writer must stand.
_HEAD = 4096


def check(path: Path, option: str, mark: bytes, *, not_in: Iterable[Path] = ()) -> None:
    """Raises InputError where ``path`` is something else than a new file, or one with ``mark`` near its begin; and inside ``not_in``."""
    where = f"{option} {path}"
    for folder in not_in:
        if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
            raise InputError(f"lies inside {folder}, which it would change", where=where, expected="a file elsewhere")
    if not os.path.lexists(path):
        return
    if path.is_dir():
        raise InputError("is a folder", where=where, expected="a file, or none yet")
    if not path.is_file():
        raise InputError("is no regular file", where=where, expected="a file, or none yet")
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if head.strip() and mark not in head:
        raise InputError("is there already, and edgekd did not write it", where=where, expected="a new file, or an older one of the same")
