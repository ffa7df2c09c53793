"""tools/bench_latency.py: its goals hold, and it says what does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_goals_hold() -> None:
    command = [sys.executable, str(ROOT / "tools" / "bench_latency.py"), "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["missed"] == [] and document["not_foretold"] == 0 and document["held"] >= 0.85
    assert set(document["networks"]) == {"ad", "ic", "kws", "vww"} and sum(s["rows"] for s in document["networks"].values()) == 188
    for found in document["networks"].values():
        assert found["median_error"] <= 0.25 and found["energy_median_error"] <= 0.25 and found["widest"] < 2.5
        assert found["held"] >= 0.85
    assert document["networks"]["ic"]["naive_median_error"] > 0.4
