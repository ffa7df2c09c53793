"""An Android phone: LiteRT's benchmark_model over the real adb client, on a device of loopback where a stand-in plays the tool."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.bench import judge, write
from edgekd.errors import DeviceError, InputError
from edgekd.measure import android, android_tool
from edgekd.measure.device import Asked, Bench, Subject
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph
from tests.transports.adb_device import Device, serving

pytestmark = pytest.mark.skipif(shutil.which("adb") is None, reason="adb is not installed")
COUNT = 3
TOOL = Path(__file__).resolve().parent.parent / "benchmark_model.py"


@pytest.fixture(scope="module")
def graph() -> QuantGraph:
    return io.load(Path(__file__).resolve().parent.parent / "golden" / "inverted_residual")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with serving(tmp_path_factory.mktemp("home")):
        yield


@pytest.fixture
def device(running: None, tmp_path: Path) -> Iterator[Device]:
    root = tmp_path / "device"
    root.mkdir()
    with Device(root, path=str(tmp_path / "bin")) as there:
        yield there


def _install(folder: Path, mode: str = "") -> Path:
    folder.mkdir()
    tool = folder / "benchmark_model"
    tool.write_text(f"#!{sys.executable}\n" + TOOL.read_text())
    tool.chmod(0o755)
    (folder / "stand_in").write_text(mode)
    return tool


def _subject(graph: QuantGraph, device: Device, **more: Any) -> Subject:
    x = np.random.default_rng(0).integers(-128, 128, (COUNT, *graph.tensor(graph.inputs[0]).shape[1:])).astype(np.int8)
    given = {"profile": None, "y": np.zeros(COUNT, np.int64), "inputs": "random", "write": write, "address": device.address, **more}
    return Subject(graph, x=x, judge=judge, asked=Asked(seconds=1.0), **given)


def _measure(subject: Subject) -> Bench:
    return android.measure(subject, lambda *_: None)


def test_blocks_are_processes_and_outputs_are_the_references(graph: QuantGraph, device: Device, tmp_path: Path) -> None:
    _install(tmp_path / "bin")
    found = _measure(_subject(graph, device))
    (row,) = found.rows
    figures = row.measurement.figures
    assert found.ok and found.device == "adb", row.failed
    latency = figures["latency_ms"]
    assert latency.value == pytest.approx(1.003, abs=0.004) and latency.n == 12 * 50 and "medians of 12 processes" in latency.where
    assert latency.low is not None and latency.high is not None and latency.low <= latency.value <= latency.high
    assert figures["cold_start_ms"].value == pytest.approx(22.19, abs=0.01) and figures["peak_ram_bytes"].value == 5.25 * 2**20
    assert figures["bit_equal"].value == 1 and figures["bit_equal"].n == figures["accuracy"].n == COUNT
    assert not list(device.root.iterdir()), "nothing is left on the device"


@pytest.mark.slow
def test_two_models_in_turn(graph: QuantGraph, device: Device, tmp_path: Path) -> None:
    _install(tmp_path / "bin")
    subject = _subject(graph, device)
    found = _measure(replace(subject, rival=replace(subject)))
    assert found.ok and found.different is False and found.figures["latency_ratio"].value == pytest.approx(1, abs=0.01)
    assert [row.name[:3] for row in found.rows] == ["A: ", "B: "]


def test_a_tool_given_by_its_path_here(graph: QuantGraph, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = _install(tmp_path / "given", "wrong")
    monkeypatch.setenv(android_tool.VARIABLE, str(tool))
    monkeypatch.setenv("STAND_IN", "wrong")
    device.environment = {"STAND_IN": "wrong"}
    found = _measure(_subject(graph, device))
    assert not found.ok and "computes something else than the reference: bit-equal for 0.0000% of 3 samples" in found.rows[0].failed
    monkeypatch.setenv(android_tool.VARIABLE, "/not/there")
    with pytest.raises(InputError, match=r"(?s)\$EDGEKD_BENCHMARK_MODEL: /not/there is no file here and no program on the device"):
        _measure(_subject(graph, device))


@pytest.mark.slow
def test_a_tool_that_writes_no_outputs(graph: QuantGraph, device: Device, tmp_path: Path) -> None:
    _install(tmp_path / "bin", "old")
    with pytest.raises(DeviceError, match="(?s)this benchmark_model writes no outputs, so that nobody knows.*adb push"):
        _measure(_subject(graph, device))


@pytest.mark.slow
def test_a_device_that_slows_down_is_rejected(graph: QuantGraph, device: Device, tmp_path: Path) -> None:
    _install(tmp_path / "bin", "slow")
    (row,) = _measure(_subject(graph, device)).rows
    assert "rejected: drift: every block of the last third was slower than all of the first, by 3" in row.failed


def test_a_tool_of_another_processor(graph: QuantGraph, device: Device, tmp_path: Path) -> None:
    tool = _install(tmp_path / "bin")
    tool.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(100))  # aarch64
    with pytest.raises(DeviceError, match="(?s)benchmark_model is of another processor: .*adb shell uname -m"):
        _measure(_subject(graph, device))


def test_a_device_with_neither(graph: QuantGraph, device: Device, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("sh", "mkdir", "cat", "rm", "find", "test", "printf", "setsid", "mv", "wc", "true", "date", "stat"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    device.only_path = True
    with pytest.raises(DeviceError, match="(?s)it has neither LiteRT's benchmark_model nor Python.*in Termux: pkg install openssh python"):
        _measure(_subject(graph, device))


@pytest.mark.slow
def test_a_device_with_python_runs_the_runner(graph: QuantGraph, device: Device) -> None:
    device.path = str(Path(sys.executable).parent)
    subject = replace(_subject(graph, device), asked=Asked(seconds=0.5, repeats=6, invocations=1, warmup_s=0.1))
    found = _measure(subject)
    figures = found.rows[0].measurement.figures
    assert found.device == "adb" and figures["bit_equal"].value == 1 and "adb 127.0.0.1" in figures["latency_ms"].where


def test_what_the_tool_prints() -> None:
    old = (
        "count=50 first=266601 curr=266931 min=265837 max=268116 avg=266473 std=419\n\n"
        "Inference timings in us: Init: 20283, First inference: 339304, Warmup (avg): 302814, Inference (avg): 266473\n"
    )
    found = android_tool.parse(old)
    assert (found.middle, found.p95, found.count, found.init, found.first, found.is_median) == (266473, None, 50, 20283, 339304, False)
    assert android_tool.parse(old.replace("266473", "1.5e+06")).middle == 1.5e6
    for wrong in ("", "count=50 first=1\n", old.partition("\n")[0]):
        with pytest.raises(ValueError, match="no timings"):
            android_tool.parse(wrong)


def test_of_two_models_each_is_the_first_in_turn() -> None:
    assert [list(android._turns(2, at)) for at in range(3)] == [[0, 1], [1, 0], [0, 1]]


@pytest.mark.parametrize(
    "said", ["count=5 median=1e999", "count=5 median=0", "count=0 median=5", "count=5 median=5 p95=1e999", "count=5 avg=1.2.3"]
)
def test_times_that_cannot_be_are_refused(said: str) -> None:
    with pytest.raises(ValueError, match="times that cannot be|could not convert"):
        android_tool.parse(f"Inference timings in us: Init: 1, First inference: 1\n{said}")
