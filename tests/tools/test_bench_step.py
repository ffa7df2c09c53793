"""tools/bench_step.py: what it makes of times that are given, and one run; how fast anything is, is the machine's to say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import bench_step  # pyright: ignore[reportMissingImports]
from bench_statistics import median_interval  # pyright: ignore[reportMissingImports]


def found(edgekd: list[float]) -> dict[str, dict[str, list[float]]]:
    """Six rounds: the machine is twice as slow in the last."""
    return {
        "float": {"clock": [10, 10, 10, 10, 10, 20], "cpu": [20, 20, 20, 20, 20, 40]},
        "edgekd": {"clock": edgekd, "cpu": [22, 22, 22, 22, 22, 44]},
        "pt2e": {"clock": [19, 19, 19, 19, 19, 38], "cpu": [38, 38, 38, 38, 38, 76]},
    }


def test_a_ratio_is_of_one_round() -> None:
    result = bench_step.judged(found([11, 11, 11, 11, 11, 22]), 1.25)
    assert result["ratio_to_float"] == pytest.approx({"edgekd": 1.1, "pt2e": 1.9})
    assert result["ratio_to_float_cpu"] == pytest.approx({"edgekd": 1.1, "pt2e": 1.9})
    assert result["steps"]["edgekd"]["clock"]["ratio"]["high"] == pytest.approx(1.1)
    assert result["demand"]["ok"]


def test_the_interval_counts() -> None:
    result = bench_step.judged(found([11, 11, 11, 11, 11, 26]), 1.25)
    assert result["ratio_to_float"]["edgekd"] == pytest.approx(1.1)
    assert result["demand"] == {"demand": "edgekd at most 1.25 times the float step, interval included", "found": 1.3, "ok": False}


def test_every_contestant_has_its_turn_first() -> None:
    order: list[str] = []
    steps = {name: lambda name=name: order.append(name) for name in "abc"}
    times = bench_step.measure(steps, 3, 1)
    assert "".join(order) == "aaabbbccc" + "abc" + "bca" + "cab"
    assert all(len(by[unit]) == 3 for by in times.values() for unit in ("clock", "cpu"))


@pytest.mark.parametrize(("n", "low", "high"), [(6, 0, 5), (10, 1, 8), (40, 13, 26)])
def test_order_statistics_hold_the_median(n: int, low: int, high: int) -> None:
    """Ranks as tables of the sign test have them."""
    answer = median_interval(np.random.default_rng(n).permutation(n).tolist())
    assert (answer["n"], answer["low"], answer["high"], answer["median"]) == (n, low, high, (n - 1) / 2)


def test_too_few_have_no_interval() -> None:
    with pytest.raises(ValueError, match="5 values: six are the fewest"):
        median_interval([1.0] * 5)


@pytest.mark.slow
def test_one_run(repository: Path, tmp_path: Path) -> None:
    left = tmp_path / "edgekd" / "torch_extensions" / "nncf" / "quantized_functions_cpu" / version("torch") / "lock"
    left.parent.mkdir(parents=True)
    left.touch()  # of a compilation that was killed
    command = [sys.executable, "tools/bench_step.py", "--rounds", "6", "--steps", "1", "--batch", "4", "--threads", "1", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(repository), "PYTHONWARNINGS": "ignore", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([*command, "--most", "1000"], cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not left.exists(), done.stderr
    result = json.loads(done.stdout)
    assert set(result["ratio_to_float"]) == {"edgekd", "pt2e", "nncf"} and all(r > 0 for r in result["ratio_to_float"].values())
    assert result["how"]["threads"] == 1 and result["how"]["student"].startswith("inverted_residual")
    assert set(result["versions"]) == {"torch", "torchao", "nncf"}
    wrong = subprocess.run(
        [*command, "--only", "float,nobody"], cwd=repository, env=environment, capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2 and "--only" in wrong.stderr
