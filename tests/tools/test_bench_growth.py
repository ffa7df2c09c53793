"""tools/bench_growth.py: what it makes of builds that are given, and two of them; how fast anything is, is the machine's to say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import bench_growth  # pyright: ignore[reportMissingImports]


def grown(targets: int, cpu_s: float, **more: int) -> dict[str, Any]:
    shared = {"soft_targets": bench_growth.OUTPUTS, "float": 1, "qat": 1, "students": 1, **more}
    return {"targets": targets, "workers": 1, "clock_s": cpu_s, "cpu_s": cpu_s, "own_mib": 300.0, "load": [0.0, 0.0], **shared}


def trained(samples: int, own_mib: float) -> dict[str, Any]:
    return {"samples": samples, "own_mib": own_mib, "cpu_s": 9.0, "clock_s": 9.0, "images_mib": bench_growth.held(samples)}


def test_what_is_done_once_and_what_a_target_costs() -> None:
    found = bench_growth.judged([grown(n, 5.0 + 3.0 * n) for n in (1, 2, 4)], [])
    assert found["lines"]["1"] == pytest.approx({"once_cpu_s": 5.0, "a_target_cpu_s": 3.0, "off_most": 0.0, "n": 3}, abs=1e-9)
    assert found["shared_once"] and "1 workers: 5.0 + 3.0 CPU s a target" in "\n".join(bench_growth.said(found))


@pytest.mark.parametrize("twice", [{"float": 2}, {"soft_targets": 2 * bench_growth.OUTPUTS}])
def test_shared_work_done_twice_is_said(twice: dict[str, int]) -> None:
    found = bench_growth.judged([grown(2, 9.0, **twice)], [])
    assert not found["shared_once"] and "one float training a student: NO" in "\n".join(bench_growth.said(found))


def test_memory_is_flat_beside_the_images() -> None:
    images = bench_growth.held(240_000) + 230_000 * bench_growth.BESIDE / 2**20
    flat = bench_growth.judged([], [trained(10_000, 400.0), trained(240_000, 400.0 + images)])["flat"]
    assert flat["ok"] and flat["grown_mib"] < 8
    assert not bench_growth.judged([], [trained(10_000, 400.0), trained(240_000, 500.0 + images)])["flat"]["ok"]
    assert bench_growth.held(1_500_000) == 0, "mapped"


@pytest.mark.slow
def test_one_run(tmp_path: Path, repository: Path) -> None:
    pytest.importorskip("tflite_micro")
    options = ["--targets", "--samples", "500", "900", "--steps", "2"]
    command = [sys.executable, "tools/bench_growth.py", *options, "--folder", str(tmp_path), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    memory = json.loads(done.stdout)["memory"]
    assert [one["samples"] for one in memory] == [500, 900] and all(one["own_mib"] > 50 and one["students"] == 1 for one in memory)
    again = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["memory"] == memory and not again.stderr, "measured already"
