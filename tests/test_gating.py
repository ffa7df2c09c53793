"""The gate on real runs: each regression planted in the records of a copy, and again by a student that is really so."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edgekd import runs
from edgekd.quant import io
from tests import gate_runs
from tests.gate_runs import copied, figure, planted
from tests.small_builds import edgekd


def gate(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    code, out, err = edgekd("gate", *arguments, "--json")
    assert "edgekd: " not in err, err
    document = json.loads(out)
    assert document["exit_code"] == code
    return code, document


def statuses(document: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["status"] for check in document["checks"]}


def failed(document: dict[str, Any]) -> set[str]:
    return {name for name, status in statuses(document).items() if status == "fail"}


def sink(documents: dict[str, Any]) -> None:
    """One of 24 samples of a class is answered wrong; as many others of other classes right, if there are any."""
    (one,) = documents["examine"]["body"]["value"]["tasks"]
    rows = one["confusion"]
    rows[2][2] -= 1
    rows[2][0] += 1


def disagree(documents: dict[str, Any]) -> None:
    one = documents["verify"]["body"]["value"][0]
    one["ok"], one["reason"], one["first_layer"] = False, "7 of 96 samples differ", "conv_3"


def corrupt(run: Path) -> Path:
    """The run's exported file with a weights' scale off by 2 %, as a faulty exporter would have it."""
    graph, (artifact,) = io.load(run / "graph"), runs.read(run, "export").body
    weights = next(tensor for tensor in graph.tensors.values() if tensor.is_constant and tensor.dtype == "int8")
    assert weights.quantization is not None
    scale, content = weights.quantization.scale, (run / artifact.path).read_bytes()
    assert scale.tobytes() in content
    (run / artifact.path).write_bytes(content.replace(scale.tobytes(), (scale * scale.dtype.type(1.02)).tobytes()))
    return run / artifact.path


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whatever the machine does while the tests run, what is planted is larger than the spread of the latency."""
    return planted(gate_runs.run(), tmp_path_factory.mktemp("baseline"), gate_runs.calm)


# ---- planted in the records


PLANTED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "accuracy -0.5 pp": (figure("measure", "accuracy", plus=-0.005), "accuracy"),
    "worst class -3 pp": (sink, "worst_class"),
    "size +5 %": (figure("measure", "model_bytes", times=1.05), "model_bytes"),
    "latency +15 %": (figure("measure", "latency_ms", times=1.15), "latency_ms"),
    "RAM +5 %": (figure("measure", "peak_ram_bytes", times=1.05), "peak_ram_bytes"),
    "parity broken": (disagree, "parity.tflm"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_regression_fails(baseline: Path, tmp_path: Path, name: str) -> None:
    change, check = PLANTED[name]
    new = planted(baseline, tmp_path / "new", change)
    code, document = gate(new, "--baseline", baseline)
    assert code == 1 and failed(document) == {check}
    assert edgekd("gate", new, "--baseline", baseline)[1].startswith("FAIL  tiny for nucleo-l4r5zi, against ")


@pytest.mark.parametrize("name", PLANTED)
def test_a_record_that_was_edited_is_seen(baseline: Path, tmp_path: Path, name: str) -> None:
    """Nobody made those that follow from it anew."""
    change, check = PLANTED[name]
    code, document = gate(planted(baseline, tmp_path, change, chained=False), "--baseline", baseline)
    assert code == 1
    assert failed(document) == ({check} if name == "worst class -3 pp" else {check, "files"})  # nothing follows the examination


def test_an_expired_waiver_fails(baseline: Path, tmp_path: Path) -> None:
    new = planted(baseline, tmp_path / "new", figure("measure", "latency_ms", times=1.15))
    today = datetime.now(UTC).date()
    codes = []
    for expires in (today - timedelta(1), today + timedelta(1)):
        text = f'[[waiver]]\ncheck = "latency_ms"\ntarget = "*"\nowner = "ada"\nreason = "new stem"\nexpires = {expires}\n'
        (tmp_path / "waivers.toml").write_text(text)
        code, document = gate(new, "--baseline", baseline, "--waivers", tmp_path / "waivers.toml")
        codes.append((code, statuses(document)["latency_ms"]))
    assert codes == [(1, "fail"), (0, "waived")]
    shown = edgekd("gate", baseline, "--baseline", baseline, "--waivers", tmp_path / "waivers.toml")
    assert shown[0] == 0 and "unused waiver: latency_ms of ada" in shown[1]


# ---- by students that are really so


@pytest.mark.slow
def test_a_student_that_learned_nothing(baseline: Path) -> None:
    code, document = gate(gate_runs.untaught(), "--baseline", baseline)
    assert code == 1 and {"accuracy", "worst_class"} <= failed(document)
    assert statuses(document)["files"] == statuses(document)["model_bytes"] == "pass"


@pytest.mark.alone
@pytest.mark.slow
def test_a_student_that_is_larger_and_slower(baseline: Path) -> None:
    code, document = gate(gate_runs.large(), "--baseline", baseline)
    assert code == 1 and {"model_bytes", "latency_ms", "peak_ram_bytes"} <= failed(document)
    code, document = gate(baseline, "--baseline", gate_runs.large())
    assert not {"model_bytes", "latency_ms", "peak_ram_bytes"} & failed(document)


@pytest.mark.slow
def test_a_file_that_computes_something_else(baseline: Path, tmp_path: Path) -> None:
    """The exported file is spoiled after the export, as a faulty exporter would, and the build goes on to verify it."""
    new = copied(baseline, tmp_path)
    (artifact,) = runs.read(new, "export").body
    corrupt(new)

    def knows(documents: dict[str, Any]) -> None:
        (one,) = documents["export"]["body"]["value"]
        documents["export"]["files"][artifact.path] = one["sha256"] = runs.sha256_file(new / artifact.path)

    new = planted(new, tmp_path / "spoiled", knows)
    for stage in ("verify", "measure", "examine"):
        (new / "records" / f"{stage}.json").unlink()
    recipe = Path(runs.read(new, "plan").config["recipe_folder"])
    assert gate_runs.build(recipe, new.parent, resume=True) == new
    code, document = gate(new, "--baseline", baseline)
    assert code == 1 and {"parity.tflm", "parity.litert_ref", "parity.litert_xnnpack"} <= failed(document)
    assert statuses(document)["files"] == "pass"


# ---- what passes, and what cannot be judged


@pytest.mark.alone
def test_an_identical_rebuild_passes() -> None:
    code, document = gate(gate_runs.run(again=1), "--baseline", gate_runs.run())
    assert code == 0 and set(statuses(document).values()) == {"pass"}, document
    assert edgekd("gate", gate_runs.run(again=1), "--baseline", gate_runs.run())[1].startswith("PASS  ")


@pytest.mark.alone
@pytest.mark.slow
def test_an_identical_rebuild_passes_ten_times_of_ten() -> None:
    codes = [gate(gate_runs.run(again=at), "--baseline", gate_runs.run())[0] for at in range(1, 11)]
    assert codes == [0] * 10


@pytest.mark.alone
@pytest.mark.slow
def test_an_identical_rebuild_whose_ram_is_measured_never_fails() -> None:
    """10 µs an inference: on a machine that has other work for many seconds it may be not judged, and says so."""
    baseline = gate_runs.run(target="pixel-8")
    for at in range(1, 11):
        code, document = gate(gate_runs.run(target="pixel-8", again=at), "--baseline", baseline)
        assert code in (0, 2) and not failed(document)
        assert {name for name, status in statuses(document).items() if status == "unknown"} <= {"latency_ms"}


def test_it_cannot_judge_without_a_baseline(baseline: Path, tmp_path: Path) -> None:
    code, document = gate(baseline)
    assert code == 2 and {name for name, status in statuses(document).items() if status == "unknown"} == {
        "accuracy", "worst_class", "latency_ms", "model_bytes", "peak_ram_bytes",
    }  # fmt: skip
    broken = planted(baseline, tmp_path, disagree)
    assert gate(broken)[0] == 1  # a fail outranks
    assert edgekd("gate", baseline)[1].startswith("NOT JUDGED  tiny for nucleo-l4r5zi, without a baseline")


def test_other_data_another_target_and_older_runs(baseline: Path, tmp_path: Path) -> None:
    def other_data(documents: dict[str, Any]) -> None:
        documents["plan"]["inputs"]["data"] = "0" * 64

    def other_target(documents: dict[str, Any]) -> None:
        documents["plan"]["body"]["value"]["target"] = "pixel-8"

    def predicted(documents: dict[str, Any]) -> None:
        documents["measure"]["body"]["value"][0]["figures"]["latency_ms"]["kind"] = "predicted"

    for name, change, unknown in (
        ("data", other_data, {"accuracy", "worst_class"}),
        ("target", other_target, {"accuracy", "worst_class", "latency_ms", "model_bytes", "peak_ram_bytes"}),
        ("kind", predicted, {"latency_ms"}),
    ):
        code, document = gate(baseline, "--baseline", planted(baseline, tmp_path / name, change))
        assert code == 2 and {name for name, status in statuses(document).items() if status == "unknown"} == unknown
    old = copied(baseline, tmp_path / "old")
    (old / "records" / "examine.json").unlink()
    code, document = gate(old, "--baseline", baseline)
    (check,) = (one for one in document["checks"] if one["status"] == "unknown")
    assert code == 2 and check["name"] == "worst_class" and "edgekd build … --resume examines" in check["message"]


def test_a_tolerance_of_ones_own_is_shown(baseline: Path, tmp_path: Path) -> None:
    new = planted(baseline, tmp_path / "new", figure("measure", "latency_ms", times=1.15))
    code, out, _ = edgekd("gate", new, "--baseline", baseline, "--tolerance", "latency=0.2")
    assert code == 0 and "tolerance latency_ms = 0.2: set on the command line, the default is 0.1" in out
    code, out, err = edgekd("gate", new, "--baseline", baseline, "--tolerance", "speed=0.2")
    assert code == 2 and not out and "no tolerance is called 'speed'" in err


def test_junit_is_written_whatever_the_verdict(baseline: Path, tmp_path: Path) -> None:
    assert gate(baseline, "--junit", tmp_path / "reports" / "gate.xml")[0] == 2
    assert (tmp_path / "reports" / "gate.xml").read_text().count("<error ") == 5


def test_a_hostile_name_does_not_steer_the_terminal(baseline: Path, tmp_path: Path) -> None:
    def rename(documents: dict[str, Any]) -> None:
        (one,) = documents["examine"]["body"]["value"]["tasks"]
        one["labels"][2] = "[red]\x1b[2Jmiddle[/red]"
        sink(documents)

    new = planted(baseline, tmp_path, rename)
    out = edgekd("gate", new, "--baseline", new)[1]
    assert "\x1b" not in out and "[red] [2Jmiddle[/red]: +0.00 pp" in out


# ---- measured in turn


@pytest.mark.alone
@pytest.mark.slow
def test_measured_in_turn_on_this_host(baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where the host's lock lies, which others may hold
    code, document = gate(gate_runs.large(), "--baseline", baseline, "--device", "host", "--seconds", "0.5")
    (check,) = (one for one in document["checks"] if one["name"] == "latency_ms")
    if check["found"] is None:  # the host was so busy that nothing of it counts
        assert code == 1 and check["status"] == "unknown" and check["message"].startswith("host: "), check
    else:
        assert code == 1 and "measured in turn" in check["message"] and check["found"]["value"] > 1, check


@pytest.mark.parametrize(
    ("device", "said"), [("qemu", "one that runs both files in turn: host, ssh"), ("nonsense", "two models on nonsense")]
)
def test_a_device_that_cannot_compare(baseline: Path, device: str, said: str) -> None:
    code, out, err = edgekd("gate", baseline, "--baseline", baseline, "--device", device)
    assert code == 2 and not out and said in err
    assert "--device without --baseline" in edgekd("gate", baseline, "--device", "host")[2]
