"""tools/bench_verify.py: what it makes of rounds that are given, and one run; how fast anything is, is the machine's to say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import bench_verify  # pyright: ignore[reportMissingImports]


def one(cpu_s: float) -> dict[str, Any]:
    """A round of two runtimes that take 10 and 1 CPU seconds alone, and a verification of both that takes ``cpu_s``."""
    inside = {"clock_s": cpu_s, "cpu_s": cpu_s, "runtimes": {"tflm": 11.0, "litert_xnnpack": 1.0}, "profiles": {"tflm": 1.0}}
    fast = {**inside, "cpu_s": 3.0, "runtimes": {"litert_xnnpack": 1.0}, "ok": {"litert_xnnpack": True}}
    ok = {"tflm": True, "litert_xnnpack": True}
    return {"alone": {"tflm": 10.0, "litert_xnnpack": 1.0}, "everything": {**inside, "ok": ok}, "fast": fast}


def test_a_ratio_is_to_what_the_runtimes_take_alone() -> None:
    found = bench_verify.judged([one(13.2), one(15.4)])
    assert found["everything"]["ratio_alone"]["mean"] == pytest.approx(1.3) and found["everything"]["ratio_alone"]["n"] == 2
    assert found["everything"]["ratio_in_it"]["each"] == pytest.approx([13.2 / 12, 15.4 / 12])
    assert found["fast"]["ratio_alone"]["mean"] == pytest.approx(3.0), "of the fast ones, not of all"
    assert found["everything"]["ok"]


def test_demands_are_judged_with_their_intervals() -> None:
    exports = {"all": {"first": {"cpu_s": {"median": 1.0, "low": 0.9, "high": 2.5}}}}
    profiles = {name: {"ratio": {"median": 0.2, "low": 0.1, "high": 0.3}} for name in bench_verify.PROFILES}
    verification = bench_verify.judged([one(13.2), one(13.2)])
    found = bench_verify.demands({"verification": verification, "exports": exports, "profiles": profiles})
    assert [row["ok"] for row in found] == [False, True, True, True, True]
    disagrees = one(13.2)
    disagrees["fast"]["ok"]["litert_xnnpack"] = False
    verification = bench_verify.judged([one(13.2), disagrees])
    found = bench_verify.demands({"verification": verification, "exports": exports, "profiles": profiles})
    assert [row["ok"] for row in found] == [False, True, True, True, False] and found[-1]["found"] == 1


@pytest.mark.slow
def test_one_run(tmp_path: Path, repository: Path) -> None:
    options = ["--images", "48", "--rounds", "2", "--starts", "1", "--sample", "4", "--profile-rounds", "6", "--workers", "1"]
    command = [sys.executable, "tools/bench_verify.py", *options, "--kept", str(tmp_path / "kept.json"), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    assert set(found["exports"]) == {"tflite", "onnx", "openvino", "c", "all"} and set(found["starts"]) == set(bench_verify.COMMANDS)
    assert set(found["profiles"]) == {"TFLM itself", *bench_verify.PROFILES, *bench_verify.OTHERS}
    assert found["verification"]["everything"]["ok"], "random weights or not, runtimes and reference agree"
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert kept == found["verification"]["rounds"] and len(kept) == 2
    assert all(seconds > 0 for seconds in kept[0]["alone"].values())
