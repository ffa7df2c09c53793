"""Tiny runs for the gate, built once a session: a baseline, really different students, and regressions planted in a copy's records."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from edgekd import pipeline, runs
from edgekd.jobs import Request
from tests.small_builds import recipe

TARGET = "nucleo-l4r5zi"
#: Really different students of the same data: one that has learned nothing, one that is larger and slower.
UNTAUGHT = {
    "float_epochs = 3.5": "float_epochs = 0.1",
    "qat_epochs = 1.5": "qat_epochs = 0.1",
    "learning_rate = 0.02": "learning_rate = 1e-6",
}
LARGE = {"widths = [8, 12], blocks = [1, 2]": "widths = [32, 64], blocks = [2, 4]", "width = [0.5, 1.0]": "width = [1.0]"}


@cache
def folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="edgekd-test-gate-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@cache
def run(changes: tuple[tuple[str, str], ...] = (), target: str = TARGET, again: int = 0) -> Path:
    """A finished run. ``again`` builds the very same once more elsewhere: its trainings are found in the cache."""
    name = hashlib.sha256(repr(changes).encode()).hexdigest()[:8]
    where = folder() / f"recipe-{name}"
    if not where.exists():
        recipe(where, dict(changes))
    return build(where, folder() / f"runs-{name}-{again}", target)


def build(where: Path, root: Path, target: str = TARGET, *, resume: bool = False) -> Path:
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder() / "cache")
    try:
        request = Request(str(where), (target,), threads=1)
        return pipeline.build(request, root, lambda what, done, total: None, resume=resume, announce=lambda run: None)[0]
    finally:
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before


def untaught() -> Path:
    return run(tuple(UNTAUGHT.items()))


def large() -> Path:
    return run(tuple(LARGE.items()))


def copied(of: Path, into: Path) -> Path:
    """With the name of its root, so that it can be resumed there."""
    return Path(shutil.copytree(of, into / of.name))


def planted(of: Path, into: Path, change: Callable[[dict[str, Any]], object], *, chained: bool = True) -> Path:
    """A copy in which ``change`` was applied to the records, by stage. ``chained``: as if it had been built so; else it is seen."""
    made = copied(of, into)
    paths = {path.stem: path for path in (made / "records").glob("*.json")}
    documents = {stage: json.loads(path.read_bytes()) for stage, path in paths.items()}
    followed = {runs.sha256_file(path): stage for stage, path in paths.items()}
    before = {stage: followed[found] for stage, document in documents.items() if (found := document["inputs"].get("before"))}
    change(documents)
    stage = "plan"
    while stage:
        paths[stage].write_text(json.dumps(documents[stage], indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        following = next((one for one, what in before.items() if what == stage), "")
        if following and chained:
            documents[following]["inputs"]["before"] = runs.sha256_file(paths[stage])
        stage = following
    return made


def figure(stage: str, name: str, **changes: float) -> Callable[[dict[str, Any]], None]:
    """Of a record of several: each of them that has the figure. ``times``: by how much; ``plus``: how much more."""

    def change(documents: dict[str, Any]) -> None:
        value = documents[stage]["body"]["value"]
        for one in value if isinstance(value, list) else [value]:
            for key in ("value", "low", "high"):
                found = one["figures"].get(name)
                if found is not None and found[key] is not None:
                    found[key] = found[key] * changes.get("times", 1) + changes.get("plus", 0)

    return change


def calm(documents: dict[str, Any]) -> None:
    """The latency measured as on a machine that nobody disturbs: within a percent. Tests that run alone see how wide it is."""
    for one in documents["measure"]["body"]["value"]:
        latency = one["figures"]["latency_ms"]
        latency["low"], latency["high"] = 0.99 * latency["value"], 1.01 * latency["value"]
