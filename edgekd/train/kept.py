"""Trainings that the cache keeps: done once, whoever asks for them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgekd import runs, team

LOG = logging.getLogger(__name__)
History = tuple[dict[str, Any], ...]


def once(name: str, shared: Path, run: Path, train: Callable[[Path], History]) -> History:
    """Train into ``shared`` / ``name`` unless that was done before, by this target or by another that asks for the same."""
    shared.mkdir(parents=True, exist_ok=True)
    weights, here = shared / name, team.here()
    with _held(shared):
        if (history := agreed(weights)) is None:
            history = train(weights)
            keep(weights, history)
        here.told(lambda: runs.atomic_write(run / name, weights.read_bytes()))
    return history


def agreed(weights: Path) -> History | None:
    """The history of what lies in ``weights``, if it lies there as it was written."""
    found = team.here().told(lambda: stored(weights, _note(weights)))
    return None if found is None else tuple(found)


def keep(weights: Path, history: History) -> None:
    """Say of ``weights`` that they are what ``history`` led to."""
    note = {"sha256": "", "history": history}
    team.here().told(lambda: runs.atomic_write(_note(weights), json.dumps({**note, "sha256": runs.sha256_file(weights)}).encode()))


def stored(weights: Path, note: Path) -> History | None:
    """The history of what lies in ``weights``, if it lies there as it was written."""
    try:
        found = json.loads(note.read_text())
        if found["sha256"] == runs.sha256_file(weights):
            return tuple(found["history"])
        LOG.warning("%s is not what was trained (its sha256 is another): it is trained again", weights)
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _note(weights: Path) -> Path:
    return weights.with_suffix(".json")


@contextmanager
def _held(shared: Path) -> Generator[None]:
    """While it lasts, no other build trains there. Of several processes the first sees to that for all."""
    if not team.here().leads:
        yield
        return
    with runs.lock(shared, wait=lambda who: LOG.warning("%s trains the same student: waiting", who)):
        runs.sweep(shared)
        yield
