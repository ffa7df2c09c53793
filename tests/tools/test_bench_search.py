"""The bench of the search, on data small enough to see it go through: what it says of accuracies means nothing here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd import host
from tests.small_builds import recipe

TARGETS = ("nucleo-l4r5zi", "pixel-8")
SPACE = """
[search.inverted_residual]
options = { stem_stride = 2, strides = [1, 2] }
space = { stem = [4, 8], "widths[]" = [4, 8, 12], "blocks[]" = [1, 2], expansion = [1, 2] }

[targets.nucleo-l4r5zi]
max_macs = 150_000

[targets.pixel-8]
max_macs = 100_000

[presets.demo]
"""


@pytest.mark.slow
def test_both_students_of_each_target_are_built_alike(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    where = recipe(tmp_path / "recipe", {"[presets.demo]\n": SPACE})
    command = [sys.executable, str(repository / "tools/bench_search.py"), str(where), "--target", ",".join(TARGETS), "--seeds", "2"]
    command += ["--trials", "60", "--trained", "3", "--passes", "0.5", "--float-epochs", "1", "--qat-epochs", "0.5", "--alone"]
    command += ["--threads", "1", "--runs", str(tmp_path / "runs"), "--json"]
    done = subprocess.run([*command, "--least-gain", "-101"], capture_output=True, text=True, env=host.single_threaded(), check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["rows"]) == set(TARGETS) and found["times"]["whole"] and found["times"]["alone_s"]["processor"] > 0
    for row in found["rows"].values():
        planned, best = (row[kind]["mean"] for kind in ("planned", "searched"))
        assert row["gain_pp"]["mean"] == pytest.approx(100 * (best - planned)) and row["gain_pp"]["n"] == 2
    again = subprocess.run([*command, "--least-gain", "101"], capture_output=True, text=True, env=host.single_threaded(), check=False)
    said = json.loads(again.stdout)
    holds = {name: row["gain_pp"]["mean"] >= 0 and row["macs"] <= 0.6 for name, row in said["rows"].items()}
    assert not said["times"]["whole"] and again.returncode == (0 if all(holds.values()) else 1), again.stderr
    assert {name: row["gain_pp"] for name, row in said["rows"].items()} == {name: row["gain_pp"] for name, row in found["rows"].items()}
