"""What makes a result another's, and what of it teaches the latency model: of real models, with this host as the device."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd import convert
from edgekd.bench import Benched, Wanted
from edgekd.errors import InputError
from edgekd.fleet import bench as fleet_bench
from edgekd.fleet.file import Fleet, Member
from edgekd.fleet.run import Outcome
from edgekd.measure.device import Bench, Row
from edgekd.plan.latency_store import measured
from edgekd.profile.load import load as load_profile
from edgekd.records import Figure, Measurement

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
HOST = Fleet(schema_version=1, name="lab", devices=[Member(name="here", device="host")])


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def key(wanted: Wanted) -> str:
    return fleet_bench._model(wanted).order.key(HOST.devices[0])


def test_other_weights_beside_an_openvino_file_are_another_model(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    convert.convert(GOLDEN / "inverted_residual", ("openvino",), tmp_path)
    (xml,) = tmp_path.rglob("*.xml")
    wanted = Wanted(xml, "", reference=GOLDEN / "inverted_residual")
    before = key(wanted)
    weights = xml.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x55")
    assert key(wanted) != before


def test_the_same_model_under_another_name_is_the_same(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "inverted_residual", tmp_path / "copy")
    wanted = Wanted(GOLDEN / "inverted_residual", "")
    with pytest.raises(InputError, match="the same model twice"):
        fleet_bench.bench_fleet([wanted, replace(wanted, model=tmp_path / "copy")], HOST, str(tmp_path / "s.sqlite"), False, _quiet, print)


def test_a_target_that_there_is_not_is_told_before_anything_runs(tmp_path: Path) -> None:
    lab = HOST.model_copy(update={"devices": [Member(name="here", device="host", target="no-such-board")]})
    with pytest.raises(InputError, match="no-such-board"):
        fleet_bench.bench_fleet([Wanted(GOLDEN / "inverted_residual", "")], lab, str(tmp_path / "s.sqlite"), False, _quiet, print)


def _quiet(outcome: Outcome) -> None:
    raise AssertionError(outcome)


def test_a_run_s_own_target_is_not_the_board_that_it_was_measured_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    figure = Figure(2.0, "ms", "measured", "ssh pi, litert 2.3, XNNPACK, 1 thread", 40, 1.9, 2.1)
    row = Row("student", Measurement("m.tflite", "ssh", {"latency_ms": figure}))
    done = Benched("m", "nucleo-l4r5zi", "", Bench("ssh", (row,)))  # as of a run that was built for it
    monkeypatch.setattr(fleet_bench, "bench", lambda *_: done)
    wanted = Wanted(GOLDEN / "inverted_residual", "", device="ssh:pi")
    found, _ = fleet_bench.bench_stored(wanted, str(tmp_path / "s.sqlite"), lambda *_: None)
    assert measured() == () and "without --target" in found.bench.notes[0]
    fleet_bench.bench_stored(replace(wanted, target="raspberry-pi-4"), str(tmp_path / "s.sqlite"), lambda *_: None)
    assert [one.cpu for one in measured()] == [load_profile("raspberry-pi-4").device.board]
