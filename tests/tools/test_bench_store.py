"""tools/bench_store.py: what its children find, and what it says; how fast anything is, is the machine's to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import bench_store

TOOL = Path(__file__).resolve().parents[2] / "tools" / "bench_store.py"


def child(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, str(TOOL), "--child", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_a_store_and_a_second_student(tmp_path: Path) -> None:
    made = child("made", tmp_path, 5000, 40, 4)
    assert made["samples"] == 5000 and made["timed_on"] == 10_000
    assert 20 <= made["bytes_a_sample_and_view"] < 20.1, "4 logits, 4 classes, one float; and hashes"
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}
    assert set(child("started", tmp_path, 5000, 40, 4)) == {
        "imports", "open", "first_batch", "ms_a_batch", "own_mib_grown", "mapped_mib_grown", "peak_mib"
    }  # fmt: skip
    assert before == {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}, "found, not made again"


def test_a_whole_lesson(tmp_path: Path) -> None:
    child("lesson", tmp_path / "r", 2000)
    found = child("lesson", tmp_path / "r", 2000)
    assert {"imports", "read", "hash", "open", "first_batch", "peak_mib"} == set(found)
    assert len(list((tmp_path / "r" / "cache" / "soft_targets").glob("*.npy"))) == 2


def test_what_it_says() -> None:
    store = {"bytes_a_sample_and_view": 20.03, "seconds_a_million": 0.2, "timed_on": 80_000}
    start = {"process": 2.0, "imports": 1.0, "open": 0.1, "first_batch": 0.1, "ms_a_batch": 0.2, "own_mib_grown": 0.0,
             "mapped_mib_grown": 31.0, "peak_mib": 300.0}  # fmt: skip
    found: dict[str, Any] = {
        "stores": {"10 classes": store},
        "teacher": {"teacher": "residual_cnn", "seconds_a_million": 433.0, "timed_on": 1024, "threads": 1},
        "flat": {"peak_mib": {50_000: 240.0, 200_000: 270.0}, "grown_mib": 30.0, "at_most": 8.0, "ok": False},
        "starts": {"10 classes": bench_store._start([start, {**start, "process": 6.0}, start], 1_000_000)},
    }
    text = "\n".join(bench_store.said(found))
    assert "0.2 (extrapolated from 80,000)" in text and "grows by 30.0 MiB, at most 8.0: NOT as asked" in text
    assert "2.00 s of a process, at most 6.00 (n = 3): NOT as asked" in text
    assert bench_store._start([start], 10)["ok"] and found["starts"]["10 classes"]["process"] == pytest.approx(2)
