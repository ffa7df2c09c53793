"""Where target profiles and recipes stand: a user's own folder first, then those that come with edgekd."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from edgekd.errors import InputError


def packaged(folder: str) -> Path:
    """The folder ``targets`` or ``models`` that comes with edgekd: inside the installed package, or at the top of a checkout.

    Raises InputError if there is none (a damaged installation).
    """
    here = Path(__file__).resolve().parent.parent
    # The package's own folder goes first: beside an installed package, `targets` may be somebody else's.
    for place in (here / "_data" / folder, here.parent / folder):
        if place.is_dir():
            return place
    raise InputError(
        f"the folder {folder!r} that comes with edgekd is missing",
        expected="a complete installation",
        mend="pip install --force-reinstall edgekd",
    )


def target_files() -> dict[str, Path]:
    """Name → file of every target profile; a user's ``./targets/**/NAME.toml`` goes before the packaged one of that name.

    Raises InputError if two files of the same folder claim one name.
    """
    out: dict[str, Path] = {}
    for root in _roots("targets"):
        mine: dict[str, Path] = {}
        for file in sorted(root.rglob("*.toml")):
            if file.stem in mine:
                raise InputError(
                    f"two profiles are called {file.stem!r}: {mine[file.stem]} and {file}", expected="one file a name", mend="rename one"
                )
            mine[file.stem] = file
        out = mine | out
    return dict(sorted(out.items()))


def recipe_files() -> dict[str, Path]:
    """Name → ``recipe.toml`` of every recipe, ``./models/NAME/recipe.toml`` before the packaged ones."""
    out: dict[str, Path] = {}
    for root in _roots("models"):
        out = {file.parent.name: file for file in sorted(root.glob("*/recipe.toml"))} | out
    return dict(sorted(out.items()))


def named(name: str, files: dict[str, Path], *, what: str, mend: str) -> Path:
    """``files[name]``. Raises InputError that gives the nearest names, or all."""
    if name in files:
        return files[name]
    near = get_close_matches(name, files, 3, cutoff=0.5)
    raise InputError(
        f"no {what} is called {name!r}", expected=", ".join(files), mend=f"perhaps {' or '.join(near)}; or {mend}" if near else mend
    )


def _roots(folder: str) -> list[Path]:
    own, shipped = Path(folder), packaged(folder)
    return [own, shipped] if own.is_dir() and own.resolve() != shipped else [shipped]
