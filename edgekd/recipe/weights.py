"""Files of weights that a recipe names: each lies beside it, and is safetensors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from edgekd.errors import InputError
from edgekd.profile.strict import Problem, shown


def named(key: str, name: str, usual: str) -> Iterator[Problem]:
    """What is wrong with the ``name`` of such a file under ``key``; ``usual`` is a name that is right."""
    path, last = PurePosixPath(name), key.rpartition(".")[2]
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
        yield Problem(key, f"{shown(name)} leaves the recipe's folder", "a file beside the recipe", f'{last} = "{usual}"')
    elif path.suffix != ".safetensors":
        stem = path.stem or usual.removesuffix(".safetensors")
        yield Problem(key, shown(name), "a .safetensors file", f'{last} = "{stem}.safetensors"')


def beside(folder: Path, name: str, key: str, mend: str) -> Path:
    """The file. Raises InputError if it is not there, or a link out of ``folder``."""
    file = folder / name
    if not file.is_file():
        raise InputError(f"{key}: {file} is no file", where="recipe", expected="weights of the student, a safetensors file", mend=mend)
    if not file.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{key}: {file} is a link out of its folder", where="recipe", expected="the file itself", mend="copy it there")
    return file
