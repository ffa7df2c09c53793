"""Is a release what was released? Its files against the manifest, the manifest against its schema, and the signature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgekd.lazy import load as load_object
from edgekd.release.manifest import problems
from edgekd.released import SIGNATURE, Released, load, verify_files


@dataclass(frozen=True)
class Checked:
    """``signature``: good, bad; or not checked, because no key was given (there is one, or there is none)."""

    released: Released
    problems: tuple[str, ...]
    signature: Literal["good", "bad", "unchecked", "none"]

    @property
    def ok(self) -> bool:
        return not self.problems


def check(folder: Path, public_key: Path | None) -> Checked:
    """Everything that is wrong with the release in ``folder``. Raises InputError for what is none, or a key that cannot be used."""
    released = load(folder)
    changed = verify_files(released)
    found = [f"manifest.json: {problem}" for problem in problems(released.manifest)] + changed
    if public_key is None:
        return Checked(released, tuple(found), "unchecked" if released.signed else "none")
    if changed:  # hashing what is no file, or is larger than was said, may never end; and no signature is good over other files
        load_object("edgekd.release.sign:check_public_key")(public_key)
        wrong = "not looked at, for these are not the files of the manifest"
    else:
        wrong = load_object("edgekd.release.sign:why_not")(folder, public_key)
    if wrong:
        found.append(f"{SIGNATURE}: {wrong}")
    return Checked(released, tuple(found), "bad" if wrong else "good")
