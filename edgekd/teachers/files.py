"""A teacher's files: found, and hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from edgekd.errors import InputError


def located(root: Path, name: object, option: str, expected: str, *, folder: bool = False) -> Path:
    """The file (or ``folder``) that the recipe's teacher.options.``option`` names, relative to ``root``. Raises InputError if it is not."""
    where = f"recipe, teacher.options.{option}"
    if not isinstance(name, str) or not name or "\0" in name:
        raise InputError(f"found {name!r}", where=where, expected=f"the path of {expected}", mend=f'{option} = "…"')
    path = root / Path(name).expanduser()
    if path.is_dir() if folder else path.is_file():
        return path
    found = "is a folder" if path.is_dir() else "is a file" if path.is_file() else "does not exist"
    raise InputError(f"{path} {found}", where=where, expected=expected)


def sha256_of(paths: Iterable[Path], base: Path, *settings: object) -> str:
    """Hash of ``paths``, in sorted order: of their names relative to ``base`` and their content; and of the ``settings`` they run under."""
    digest = hashlib.sha256(repr(settings).encode())
    for name, path in sorted((path.relative_to(base).as_posix(), path) for path in set(paths)):
        digest.update(f"{len(name)} {name} {path.stat().st_size} ".encode())
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def all_files(folder: Path) -> list[Path]:
    """Every file under ``folder``; hidden ones (a clone's ``.git``, a file manager's notes) are no part of a model."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
