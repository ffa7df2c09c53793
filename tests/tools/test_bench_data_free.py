"""The bench of data-free distillation on the tiny data, with a teacher that has learned it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd import host
from tests.small_builds import RECIPE, edgekd, recipe

TEACHER = RECIPE[RECIPE.index("[teacher]") : RECIPE.index("[student]")]
WITH_SCHEDULE = TEACHER.rstrip() + '\ncheckpoint = "teacher.safetensors"\nschedule = { epochs = 6, batch = 16, learning_rate = 0.05 }\n\n'


@pytest.mark.slow
def test_a_comparison(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    changes = {"float_epochs = 3.5": "float_epochs = 6", "width = [0.5, 1.0]": "width = [1.0]", TEACHER: WITH_SCHEDULE}
    where = recipe(tmp_path / "recipe", changes)
    assert edgekd("teach", where, "--threads", "1")[0] == 0
    command = [sys.executable, str(repository / "tools/bench_data_free.py"), str(where), "--method", "inversion", "--samples", "96"]
    command += ["--steps", "60", "--seeds", "1", "--target", "orin-nano", "--threads", "1", "--runs", str(tmp_path / "runs")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, env=host.single_threaded(), check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert set(rows) == {"with data", "inversion"} and rows["with data"]["of_with_data"] == 1
    assert rows["inversion"]["mean"] > 0.8 * rows["with data"]["mean"]
    again = subprocess.run([*command, "--least", "1.5"], capture_output=True, text=True, env=host.single_threaded(), check=False)
    assert again.returncode == 1 and "% of with data" in again.stdout, again.stderr
