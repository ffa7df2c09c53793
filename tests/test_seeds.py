"""Several seeds of one command: a student each, as if each had been asked for by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekd import runs
from tests.small_builds import edgekd, exported, recipe


@pytest.mark.slow
def test_a_student_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = recipe(tmp_path / "recipe", {"float_epochs = 3.5": "float_epochs = 2"})
    words = ("build", where, "-t", "nucleo-l4r5zi", "--threads", "1", "--json")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code, out, err = edgekd(*words, "--runs", tmp_path / "both", "--seed", "1", "--seed", "2", "--seed", "1", "--jobs", "2")
    assert code in (0, 1) and len(json.loads(out)) == 2, err
    assert "nucleo-l4r5zi, seed 1: qat: done" in err and "nucleo-l4r5zi, seed 2: qat: done" in err
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other cache"))
    for seed in (1, 2):
        code, _, err = edgekd(*words, "--runs", tmp_path / "each", "--seed", str(seed))
        assert code in (0, 1), err
    both = {run.name: run for run in (tmp_path / "both").iterdir()}
    assert {runs.read(run, "plan").config["seed"] for run in both.values()} == {1, 2}
    for run in (tmp_path / "each").iterdir():
        assert exported(run) == exported(both[run.name])
