"""What a benchmark leaves: rows of the store, and times for the latency model, of processors only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgekd import host
from edgekd.measure.device import Bench, Layer, Row
from edgekd.plan.latency_store import measured, path
from edgekd.profile.load import load as load_profile
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph
from edgekd.records import Figure, Measurement
from edgekd.store import PREDICTED, Result
from edgekd.stored import learn, results_of

GOLDEN = Path(__file__).resolve().parent / "golden"


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def graph(name: str = "inverted_residual") -> QuantGraph:
    return io.load(GOLDEN / name)


def bench(device: str, provider: str = "XNNPACK", kind: str = "measured", failed: str = "", artifact: str = "m.tflite") -> Bench:
    latency = Figure(2.0, "ms", kind, f"{device}, ai-edge-litert 2.3.0, {provider}, 1 thread", 40, 1.9, 2.1)  # type: ignore[arg-type]
    row = Row("student", Measurement(artifact, device, {"latency_ms": latency}, ("a note",)), (Layer("conv", 3.0),), "µs", failed=failed)
    return Bench(device, (row,), notes=("warm",))


def test_rows_of_the_store() -> None:
    about = Result("", "kws", "f0", "raspberry-pi-4", "ssh:pi@a", "key", label="kitchen")
    (one,) = results_of(bench("ssh", failed="rejected: it throttled"), about)
    assert (one.model, one.label, one.row, one.failed) == ("kws", "kitchen", "litert_xnnpack", "rejected: it throttled")
    assert one.created and one.figures["latency_ms"].value == 2.0
    assert one.document["notes"] == ["warm"] and one.document["row_notes"] == ["a note"]
    assert one.document["layers"] == [{"name": "conv", "value": 3.0, "note": "", "unit": "µs"}] and "python" in one.document["environment"]
    (one,) = results_of(bench("qemu", artifact="firmware.elf"), about)
    assert one.row == "student"


def test_times_of_this_host_and_of_a_board_are_remembered() -> None:
    profile = load_profile("raspberry-pi-4")
    learn(bench("host"), [graph()], profile, 2)
    learn(bench("ssh"), [graph()], profile)
    here, there = measured()
    assert here.cpu == host.host().removeprefix("host: ") and here.timed.threads == 2
    assert there.cpu == profile.device.board and there.runtime == "litert_xnnpack" and there.model == io.fingerprint(graph())


def test_a_second_model_is_foretold_by_the_first_and_none_by_itself() -> None:
    profile = load_profile("raspberry-pi-4")
    first = learn(bench("ssh"), [graph()], profile)
    again = learn(bench("ssh"), [graph()], profile)
    second = learn(bench("ssh"), [graph("branches_per_tensor")], profile)
    assert all(PREDICTED not in one.rows[0].measurement.figures for one in (first, again))
    said = second.rows[0].measurement.figures[PREDICTED]
    assert said.kind == "predicted" and said.low is not None and said.high is not None and said.low < said.value < said.high
    other = learn(bench("ssh"), [graph("branches_per_tensor")], load_profile("raspberry-pi-5"))
    assert PREDICTED not in other.rows[0].measurement.figures, "another board's times say nothing"


@pytest.mark.parametrize(
    "other",
    [
        bench("ssh", provider="CUDAExecutionProvider"),
        bench("ssh", failed="rejected: it throttled"),
        bench("arm64-emulated", kind="emulated"),
        bench("qemu", artifact="firmware.elf"),
        replace(bench("ssh"), rows=()),
    ],
)
def test_other_times_are_not(other: Bench) -> None:
    assert learn(other, [graph()], load_profile("raspberry-pi-4")) == other
    assert measured() == ()


def test_without_a_target_only_this_host_is_known() -> None:
    learn(bench("ssh"), [graph()], None)
    assert measured() == ()
    learn(bench("host"), [graph()], None)
    assert len(measured()) == 1


def test_why_nothing_is_learned_is_a_note(tmp_path: Path) -> None:
    noted = learn(bench("ssh"), [graph()], None)
    assert noted.notes == ("warm", "without --target, the board that it is, its times teach the latency model nothing")
    path().parent.mkdir(parents=True)
    path().write_text("half a li")
    (kept,) = (found := learn(bench("host"), [graph()], None)).rows
    assert kept.measurement.figures["latency_ms"].value == 2.0 and not kept.failed
    assert found.notes[1].startswith("its times teach the latency model nothing: ") and "line 1" in found.notes[1]


def test_a_phone_s_benchmark_model_teaches_too() -> None:
    learn(bench("adb", provider="benchmark_model"), [graph()], load_profile("pixel-8"))
    assert [one.cpu for one in measured()] == [load_profile("pixel-8").device.board]


def test_tensorrt_s_own_tool_teaches_nothing() -> None:
    other = bench("ssh", provider="trtexec, int8 of 3 layers", artifact="m.onnx")
    assert learn(other, [graph()], load_profile("raspberry-pi-4")) == other and measured() == ()
