"""The students that a search counted and trained for the same recipe, where its folder lies beside the run's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd import runs

#: Files larger than this are no journal of ours.
_LARGEST = 64 * 2**20
#: Where the journal of a study keeps a candidate (see plan/search.py).
_CANDIDATE = "candidate"


@dataclass(frozen=True)
class Trial:
    """A candidate: its name, bytes of its file for the search's first target, MACs; ``accuracy`` on the validation split in float after
    ``passes`` over the data, None where it was counted only."""

    name: str
    model_bytes: int
    macs: int
    accuracy: float | None = None
    passes: float = 0.0


def beside(run: Path, recipe: str) -> tuple[Trial, ...]:
    """Trials of searches for the recipe in the same runs folder, those that were trained first. What is damaged is left out."""
    found: dict[str, Trial] = {}
    for folder in sorted(run.parent.glob(f"{recipe}-search-*")):
        trained = _trained(folder)
        counted = _counted(folder / "study.journal") | _chosen(folder / "search.json")
        for name, candidate in counted.items():
            passes, accuracy = trained.get(name, (0.0, None))
            try:
                found[name] = Trial(name, int(candidate["model_bytes"]), int(candidate["macs"]), accuracy, passes)
            except (KeyError, TypeError, ValueError, OverflowError):
                continue
    return tuple(sorted(found.values(), key=lambda t: (t.accuracy is None, t.model_bytes, t.name)))


def _counted(journal: Path) -> dict[str, dict[str, Any]]:
    """Name → candidate, as the lines of the journal have them."""
    if not journal.is_file() or journal.stat().st_size > _LARGEST:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for line in journal.read_text(encoding="utf-8", errors="replace").splitlines():
        if f'"{_CANDIDATE}"' not in line:
            continue
        try:
            candidate = json.loads(json.loads(line)["user_attr"][_CANDIDATE])
            found[_name(candidate)] = candidate
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            continue
    return found


def _chosen(result: Path) -> dict[str, dict[str, Any]]:
    """Name → candidate: those that the plan takes without a search, which no journal has, and those that won."""
    found: dict[str, dict[str, Any]] = {}
    try:
        for one in json.loads(result.read_text(encoding="utf-8"))["found"]:
            for trained in (one["own"], one["best"]):
                if trained is not None:
                    found[_name(trained["candidate"])] = trained["candidate"]
    except (KeyError, TypeError, ValueError, AttributeError, OSError, RecursionError):
        pass  # an unfinished search has none
    return found


def _name(candidate: dict[str, Any]) -> str:
    """As plan/search.py names it."""
    fed = {"front_end": candidate["front_end"]} if candidate.get("front_end") else {}
    return runs.digest({"family": candidate["family"], "spec": candidate["spec"], **fed})[:8]


def _trained(folder: Path) -> dict[str, tuple[float, float]]:
    """Name → passes and accuracy of its longest training, from files ``<name>-<passes>.json``."""
    found: dict[str, tuple[float, float]] = {}
    for file in sorted(folder.glob("*/*-*.json")):
        name, _, passes = file.stem.partition("-")
        try:
            one = float(passes), float(json.loads(file.read_text(encoding="utf-8"))["accuracy"])
        except (KeyError, TypeError, ValueError, OSError, OverflowError, RecursionError):
            continue
        found[name] = max(found.get(name, one), one)
    return found
