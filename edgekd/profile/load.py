"""Target profiles by name or path, validated."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from edgekd.errors import InputError
from edgekd.profile.packaged import named, packaged, target_files
from edgekd.profile.rules import contradictions
from edgekd.profile.schema import Profile
from edgekd.profile.strict import Problem, check_file, refusal


def find(name_or_path: str | Path) -> Path:
    """The file of a profile: a path as given, or a name looked up in ``./targets/**`` and then among the packaged ones.

    Raises InputError with the nearest names if no profile has that name.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text or "\\" in text:
        return Path(text)
    return named(text, target_files(), what="target", mend="write your own: targets/<class>/<name>.toml, see `edgekd targets schema`")


def load(name_or_path: str | Path) -> Profile:
    """The validated profile. Raises InputError that lists every problem of the file, each with its cure."""
    path = find(name_or_path)
    profile, problems = check(path)
    if profile is None:
        raise refusal(path, problems)
    return profile


def check(path: Path) -> tuple[Profile | None, list[Problem]]:
    """The profile in ``path``, or None and all its problems."""
    profile, problems = check_file(path, Profile, contradictions)
    if profile is None or (problems := _placed(path, profile)):
        return None, problems
    return _with_its_files(path, profile), []


def all_profiles(kind: str | None = None) -> list[Profile]:
    """Every profile (of class ``kind``), by name. Raises InputError for the first that is wrong, and for a kind that does not exist."""
    kinds = get_args(Profile.model_fields["kind"].annotation)
    if kind is not None and kind not in kinds:
        near = get_close_matches(kind, kinds, 1)
        raise InputError(f"no kind is called {kind!r}", where="--kind", expected=", ".join(kinds), mend=f"--kind {(near or kinds)[0]}")
    return [profile for path in target_files().values() if kind in (None, (profile := load(path)).kind)]


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a profile, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Profile.model_json_schema()}


def _with_its_files(path: Path, profile: Profile) -> Profile:
    """Vela's configuration lies relative to the profile, whatever folder edgekd is called from; else it is one that Vela brings."""
    npu = profile.npu
    if npu is None or npu.config is None or not (beside := path.parent / npu.config).is_file():
        return profile
    return profile.model_copy(update={"npu": npu.model_copy(update={"config": str(beside.resolve())})})


def _placed(path: Path, profile: Profile) -> list[Problem]:
    """A profile is found by its file's name, so the two must agree; a packaged one stands in the folder of its class."""
    out = []
    if path.stem != profile.name:
        out.append(Problem("name", f"{profile.name!r} in a file called {path.name}", repr(path.stem), f'name = "{path.stem}"'))
    shipped = packaged("targets").resolve()
    if path.resolve().is_relative_to(shipped) and path.resolve().parent.name != profile.kind:
        folder = path.resolve().parent.name
        out.append(
            Problem("kind", f"{profile.kind!r} in the folder {folder}", f"the folder {profile.kind}", f"mv {path} targets/{profile.kind}/")
        )
    return out
