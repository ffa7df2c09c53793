"""tools/bench_ptq.py on students that are trained in seconds: what it trains, keeps, counts and demands."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.small_builds import recipe

# NNCF alone takes seconds to import.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors.*:UserWarning")]


@pytest.fixture(scope="module")
def bench(repository: Path) -> ModuleType:
    sys.path.insert(0, str(repository / "tools"))
    import bench_ptq

    return bench_ptq


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "cache"


def run(bench: ModuleType, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = bench.main([*map(str, arguments), "--threads", "1"])
    out, err = capsys.readouterr()
    return code, out, err


def times(cache: Path) -> dict[str, int]:
    return {str(p.relative_to(cache)): p.stat().st_mtime_ns for p in cache.rglob("*.json")}


def test_students_are_paired_and_kept(bench: ModuleType, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]):
    asked = (recipe(tmp_path / "tiny"), "--target", "nucleo-l4r5zi", "--seeds", "2", "--cache", cache, "--json")
    code, out, _ = run(bench, capsys, *asked)
    first = json.loads(out)
    demands = {d["demand"]: d["ok"] for d in first["demands"]}
    assert code == 1 and not demands.pop("seeds >= 3")
    assert demands["float_tflite top-1 as float >= 0.999"] and demands["float_openvino top-1 as float >= 0.999"]
    assert first["test"]["n"] == 96 and [len(s) for s in first["seeds"]] == [len(bench.VARIANTS)] * 2
    assert first["config"]["nncf_preset"] == "mixed" and first["stale_answers"] == 0
    aeq, nncf = first["seeds"][0]["aeq"]["notes"], first["seeds"][0]["nncf"]["notes"]
    assert aeq["float_operators"] == 0 < aeq["operators"] and aeq["calibration_samples"] == nncf["calibration_samples"] == 192
    assert set(nncf["matrix_kernels"]) <= {"i8", "u8"}
    for seed in first["seeds"]:
        assert {name: r["accuracy"]["n"] for name, r in seed.items()} == dict.fromkeys(bench.VARIANTS, 96)
    assert first["seeds"][0]["qat"]["accuracy"]["where"].endswith("XNNPACK, 1 thread")

    made = times(cache)
    assert json.loads(run(bench, capsys, *asked)[1])["seeds"] == first["seeds"]
    assert times(cache) == made

    record = next(cache.rglob("qat-*.json"))
    record.write_text(json.dumps({**json.loads(record.read_text()), "code": "older"}))
    _, out, err = run(bench, capsys, *asked)
    assert json.loads(out)["stale_answers"] == 1
    said = f"1 of 14 answers in {cache} were made by another version of the code"
    assert "".join(said.split()) in "".join(err.split())  # the console breaks lines

    # Another float student: the others of the seed are found.
    again = json.loads(run(bench, capsys, *asked, "--float-student", "single")[1])
    found = [
        [(seed[name]["accuracy"], seed[name]["seconds"]) for seed in r["seeds"] for name in ("warm_up", "qat")] for r in (first, again)
    ]
    assert found[0] == found[1]
    assert again["seeds"][0]["float"]["notes"]["form"].startswith("from the start under one cosine over float_epochs + qat_epochs")
    assert len(times(cache)) == len(made) + 2 * 5


def test_a_symmetric_target_with_folded_norms_and_own_epochs(
    bench: ModuleType, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
):
    asked = (recipe(tmp_path / "tiny"), "--target", "orin-nano", "--seeds", "2", "--cache", cache, "--float-student", "folded")
    code, out, _ = run(bench, capsys, *asked, "--float-epochs", "1", "--qat-epochs", "0.5")
    assert code == 1
    assert "1 epochs in float, 0.5 more; float student: warm_up trained on by the phase of qat" in out
    assert "batch norms folded as qat has them" in out
    assert "FAILS  seeds >= 3: 2" in out and "preset performance" in out
    assert "holds  float_tflite top-1 as float >= 0.999: 1.0" in out


def test_a_target_without_integers_is_refused(bench: ModuleType, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]):
    code, _, err = run(bench, capsys, recipe(tmp_path / "tiny"), "--target", "nano", "--cache", cache)
    assert code == 2
    assert err == "--target: nano wants float16\n  expected: a target of an integer scheme\n  to mend:  edgekd targets list\n"


def test_spread_is_students(bench: ModuleType):
    found = bench.spread([1.0, 2.0, 3.0])
    assert (found["n"], found["mean"], found["sd"]) == (3, 2.0, 1.0)
    # t(0.975, 2) = 4.3027, over the square root of 3.
    assert found["high"] == pytest.approx(2 + 2.4841, abs=1e-4) and found["low"] == pytest.approx(2 - 2.4841, abs=1e-4)


@pytest.mark.parametrize(("qat", "ok"), [(90, [True, True]), (89, [True, False]), (86, [False, False])])
def test_demands(bench: ModuleType, qat: int, ok: list[bool]):
    y = np.ones(1000, np.int64)

    def top1(right: int) -> np.ndarray:
        return (np.arange(1000) < right).astype(np.int64)

    rights = {"warm_up": 850, "float": 890, "float_tflite": 890, "float_openvino": 889, "nncf": 880, "aeq": 900, "qat": qat * 10}
    answers = [{name: top1(right) for name, right in rights.items()} for _ in range(3)]
    judged = bench.judge(answers, y)
    assert [d["ok"] for d in judged["demands"]] == [*ok, True, True, True]
    assert judged["ok"] == all(ok)
    assert judged["differences_pp"]["qat − max(nncf, aeq)"]["mean"] == pytest.approx(qat - 90)
