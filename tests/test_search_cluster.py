"""A search whose trials are tasks of a Ray cluster of this machine finds what one process finds."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from edgekd.jobs import Request
from tests.small_builds import edgekd, recipe
from tests.test_searching import FEW, TARGETS


@pytest.mark.slow
def test_trials_are_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While this process only waits, a task does the whole search; the command then finds all of it, and by itself the same."""
    pytest.importorskip("ray", reason="ray is not installed")
    from edgekd.cluster import along

    where = recipe(tmp_path / "recipe", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    request = asdict(Request(str(where), (TARGETS[1], TARGETS[3]), overrides={"max_macs": 150000.0}, threads=1))
    asked = {"request": request, "root": str(tmp_path / "runs"), "trials": 120, "first": 4, "passes": [0.5], "supernet": 0.0}
    with along(json.dumps(asked), 1, 1, ""):
        until = time.monotonic() + 300
        while not (files := list(tmp_path.glob("runs/*/search.json"))) and time.monotonic() < until:
            time.sleep(0.2)
    (file,) = files
    before = json.loads(file.read_text())
    trained = {path.name: path.stat().st_mtime_ns for path in file.parent.glob("taught-*/*.json")}
    words = ("plan", where, *TARGETS, "--search", *FEW, "--passes", "0.5", "--runs", tmp_path / "runs", "--json")
    code, out, err = edgekd(*words)
    assert code == 0, err
    found = json.loads(out)
    assert found["found"] == before["found"] and found["trained"] == before["trained"] > 3
    assert trained == {path.name: path.stat().st_mtime_ns for path in file.parent.glob("taught-*/*.json")}


@pytest.mark.slow
def test_a_task_that_takes_no_part_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A machine that does not share the recipe's folder, for example: the search is right without it, but slower than was hoped."""
    pytest.importorskip("ray", reason="ray is not installed")
    from edgekd.cluster import along

    request = asdict(Request(str(tmp_path / "nowhere"), TARGETS[1::2], threads=1))
    asked = {"request": request, "root": str(tmp_path / "runs"), "trials": 2, "first": 1, "passes": [0.5], "supernet": 0.0}
    with along(json.dumps(asked), 1, 1, ""):
        until = time.monotonic() + 120
        while not caplog.messages and time.monotonic() < until:
            time.sleep(0.2)
    (said,) = caplog.messages
    assert said.startswith(f"a task of the cluster takes no part: {os.uname().nodename}: ") and "nowhere" in said


def test_refused(tmp_path: Path) -> None:
    where = recipe(tmp_path / "recipe", {})
    for words in (("--engine", "slurm"), ("--ray-address", "10.0.0.7:6379")):
        code, _, err = edgekd("plan", where, *TARGETS, "--search", *words)
        assert code == 2 and "expected: local, or ray" in err
    code, _, err = edgekd("plan", where, *TARGETS, "--engine", "ray")
    assert code == 2 and "expected: --search with it" in err
