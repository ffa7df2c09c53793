"""The bench of pruning at a length that shows that it runs: the accuracy says nothing, the counts do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd import host


@pytest.mark.slow
def test_a_comparison(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = [sys.executable, str(repository / "tools/bench_prune.py"), str(repository / "models/fashion_mnist"), "--width", "0.35"]
    command += ["--seeds", "1", "--float-epochs", "1", "--compress-epochs", "1", "--qat-epochs", "0.5", "--train", "64", "--test", "32"]
    command += ["--batch", "16", "--threads", "1", "--runs", str(tmp_path / "runs"), "--json"]
    done = subprocess.run([*command, "--most", "101"], capture_output=True, text=True, env=host.single_threaded(), check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 0.45 < found["macs_left"] <= 0.5 and found["lost_pp"]["n"] == 1
    whole, pruned = (found["rows"][name]["results"][0] for name in ("whole", "pruned"))
    assert pruned["parameters"] < 0.7 * whole["parameters"] and pruned["model_bytes"] < whole["model_bytes"]
    assert "uncompressed_validation_accuracy" in pruned["float"] and "uncompressed_validation_accuracy" not in whole["float"]
    again = subprocess.run([*command, "--most", "-101"], capture_output=True, text=True, env=host.single_threaded(), check=False)
    assert again.returncode == 1, again.stderr
    assert json.loads(again.stdout)["lost_pp"] == found["lost_pp"]
