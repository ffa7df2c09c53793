"""Targets by pattern: `edgekd build RECIPE --target 'targets/**'`."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from glob import glob
from pathlib import Path

from edgekd.errors import InputError
from edgekd.profile.load import find
from edgekd.profile.packaged import target_files

_WILD = frozenset("*?[")


def expand(wanted: Sequence[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """The targets that ``wanted`` names, each once and in order; and those of them that nobody named, but only a pattern found.

    A pattern (with \\*, ? or []; \\*\\* is any number of folders) is matched against names, ``KIND/NAME`` and ``targets/KIND/NAME`` of all
    targets that there are, with and without .toml, and against the paths of files. Raises InputError for one that finds nothing.
    """
    found: dict[Path, str] = {}
    named: set[str] = set()
    for text in wanted:
        patterned = not _WILD.isdisjoint(text) and not Path(text).is_file()
        for name in _matching(text) if patterned else [text]:
            # The same file under two names is one target.
            kept = found.setdefault(find(name).resolve(), name)
            if not patterned:
                named.add(kept)
    return tuple(found.values()), frozenset(found.values()) - named


def _matching(pattern: str) -> list[str]:
    """Names first, then files that have none."""
    files = target_files()
    parts = pattern.removeprefix("./").removesuffix(".toml").split("/")
    known = {file.resolve(): name for name, file in files.items()}
    paths = [path for path in sorted(glob(pattern, recursive=True)) if path.endswith(".toml")]
    names = [name for name, file in files.items() if any(_fits(place, parts) for place in _places(name, file))]
    names += [name for path in paths if (name := known.get(Path(path).resolve()))]
    others = [path for path in paths if Path(path).resolve() not in known]
    if not names and not others:
        raise InputError(
            f"no target matches {pattern!r}",
            where="--target",
            expected=f"names or files of targets: {', '.join(files)}",
            mend="quote a pattern, or the shell expands it: --target 'mcu/*'",
        )
    return names + others


def _places(name: str, file: Path) -> tuple[list[str], ...]:
    folder = file.parent.name
    return [name], [folder, name], ["targets", folder, name]


def _fits(place: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path's parts are what a pattern's say; ``**`` stands for any number of them."""
    if not pattern:
        return not place
    if pattern[0] == "**":
        return any(_fits(place[at:], pattern[1:]) for at in range(len(place) + 1))
    return bool(place) and fnmatchcase(place[0], pattern[0]) and _fits(place[1:], pattern[1:])
