"""The records of a run as evidence in a release: everything that they say, but where on which machine it lay."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from edgekd.errors import InputError
from edgekd.release.facts import Facts
from edgekd.runs import atomic_write

#: A path of two parts or more that begins at a root, at ~ or at a drive; not the rest of a URL, of a unit or of a quotient.
_PATH = re.compile(r"(?<![\w.)\]/\\])(?:file://)?(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\:;,'\"()<>|*]+){2,}[/\\]?")


def clean(value: Any) -> Any:
    """JSON with every path of a machine cut down to its last part."""
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, Mapping):
        return {_clean_text(str(key)): clean(item) for key, item in value.items()}
    return [clean(item) for item in value] if isinstance(value, list | tuple) else value


def cleaned(facts: Facts) -> Facts:
    """The same facts, with nothing in them that says where on this machine something lay: so no bundle can say it."""
    return replace(
        facts,
        figures={name: replace(figure, where=clean(figure.where)) for name, figure in facts.figures.items()},
        budgets=tuple(replace(budget, source=clean(budget.source)) for budget in facts.budgets),
        recipe=clean(facts.recipe),
        profile=clean(facts.profile),
        environment=clean(facts.environment),
        notes=tuple(clean(note) for note in facts.notes),
    )


def _clean_text(text: str) -> str:
    if "\n" not in text and (PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()):
        return _last(text)
    return _PATH.sub(lambda found: _last(found.group()), text)


def _last(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def write(facts: Facts, folder: Path) -> dict[str, Path]:
    """Write <stage>.json of every record into ``folder``, and recipe.json and profile.json. Returns what each was made from, by its name.

    Raises InputError for a record that cannot be read.
    """
    made: dict[str, Path] = {}
    for stage, path in sorted(facts.records.items()):
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise InputError(f"cannot be read ({error})", where=str(path), expected="a record as edgekd writes it") from error
        atomic_write(folder / f"{stage}.json", _text(clean(document)))
        made[f"{stage}.json"] = path
    for name, document in (("recipe", facts.recipe), ("profile", facts.profile)):
        atomic_write(folder / f"{name}.json", _text(clean(document)))
    return made


def said(facts: Facts, stage: str) -> dict[str, Any]:
    """The record of ``stage`` as JSON has it, cleaned; empty where there is none, or it is no table."""
    path = facts.records.get(stage)
    document = json.loads(path.read_bytes()) if path is not None and path.is_file() else {}
    return clean(document) if isinstance(document, dict) else {}


def _text(document: Any) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
