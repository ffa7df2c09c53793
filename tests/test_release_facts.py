"""What a release says of a real, tiny run; and what is no run to release."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd import pipeline, runs
from edgekd.errors import InputError, NotReleasable
from edgekd.jobs import Request
from edgekd.quant import reference
from edgekd.release.facts import Facts
from edgekd.release_facts import gather
from edgekd.releasing import Order, release
from tests.gate_runs import figure, planted
from tests.released import facts
from tests.small_builds import LABELS, recipe


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("released")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        where = recipe(folder / "recipe", {"[data]": '[about]\nlicense = "MIT"\n\n[data]'})
        request = Request(str(where), ("nucleo-l4r5zi",), threads=1)
        return pipeline.build(request, folder / "runs", lambda *_: None, resume=False, announce=lambda _: None)[0]


@pytest.fixture
def run(built: Path, tmp_path: Path) -> Path:
    """A copy, to be spoiled."""
    return Path(shutil.copytree(built, tmp_path / built.name))


def released(run: Path, formats: Sequence[str] = ("android",)) -> Facts:
    return gather(run, version="1.4.0", group="com.example.models", formats=formats, progress=lambda *_: None)


def test_a_good_run(built: Path) -> None:
    found = released(built, ("android", "mcu"))
    assert (found.name, found.target, found.own, found.run) == ("tiny", "nucleo-l4r5zi", "tflite", built.name)
    assert set(found.models) == {"tflite", "c"} and found.licenses == {"license": "MIT"}
    assert found.notes == runs.read(built, "measure").body[0].notes and found.notes[-1].endswith("of this host, which is no nucleo-l4r5zi")
    assert found.created == runs.read(built, "measure").environment["created"]
    own, c = found.models["tflite"], found.models["c"]
    assert own.path == built / "export" / "model.tflite" and own.heads[0].labels == LABELS
    assert c.files[0] == "tiny_nucleo_l4r5zi.c" and [v.runtime for v in c.verdicts] == ["c_host"] and c.verdicts[0].ok
    assert not any("cpu_s" in name for model in found.models.values() for v in model.verdicts for name in v.figures)
    assert {"accuracy", "worst_class_accuracy", "latency_ms", "model_bytes", "bit_equal", "macs"} <= set(found.figures)
    assert found.examination is not None and found.examination.tasks[0].labels == LABELS
    assert {"model_bytes", "peak_ram_bytes"} <= {budget.name for budget in found.budgets} and all(b.fits for b in found.budgets)
    answers = reference.run(found.graph, found.vectors.x, "tflm")[found.graph.outputs[0]]
    mcu = found.vectors_for("mcu")
    assert mcu.exact and np.array_equal(mcu.outputs[0], answers) and len(mcu.x) == 8
    folder = c.folder
    assert c.path.is_file()
    del found, own, c
    assert not folder.exists()  # nothing is left of what was made for it


def test_without_the_data_inputs_are_random_and_it_is_said(run: Path, tmp_path: Path) -> None:
    def elsewhere(documents: dict[str, Any]) -> None:
        documents["plan"]["config"]["recipe_folder"] = "/nowhere"

    run = planted(run, tmp_path / "moved", elsewhere)
    found = released(run)
    assert len(found.vectors.x) == 8 and "random inputs" in found.notes[0] and "not at hand" in found.notes[0]
    assert found.licenses == {"license": "MIT"}  # as it stood at the build


def test_an_unfinished_run(run: Path) -> None:
    (run / "records" / "measure.json").unlink()
    with pytest.raises(InputError, match="not finished: measure is not done"):
        released(run)


def test_a_run_without_examination_is_released(run: Path) -> None:
    (run / "records" / "examine.json").unlink()
    assert released(run).examination is None


def test_a_file_that_changed(run: Path) -> None:
    file = run / "export" / "model.tflite"
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    with pytest.raises(NotReleasable, match=r"model\.tflite is not what the build made") as raised:
        released(run)
    assert raised.value.exit_code == 1


def test_a_record_that_was_edited(run: Path, tmp_path: Path) -> None:
    edited = planted(run, tmp_path / "edited", figure("measure", "latency_ms", times=0.1), chained=False)
    with pytest.raises(NotReleasable, match=r"record that records/examine\.json was made from has changed since the build"):
        released(edited)


def test_a_run_that_did_not_pass(run: Path) -> None:
    record = runs.read(run, "verify")
    verdicts = [replace(record.body[0], ok=False, reason="3 outputs differ"), *record.body[1:]]
    runs.write(run, replace(record, body=verdicts))
    with pytest.raises(NotReleasable, match="did not pass.*\n.*3 outputs differ"):
        released(run)


def test_a_run_that_no_runtime_judged(run: Path, tmp_path: Path) -> None:
    unjudged = planted(run, tmp_path / "unjudged", lambda documents: documents["verify"]["body"].update(value=[]))
    with pytest.raises(NotReleasable, match="was verified in no runtime and is not released"):
        released(unjudged)


def test_a_budget_says_how_it_is_known_and_what_nobody_knows_is_a_note(run: Path, tmp_path: Path) -> None:
    kinds = {"model_bytes": "counted", "peak_ram_bytes": "emulated", "latency_ms": "predicted", "accuracy_drop_pp": "emulated"}
    found = released(run)
    assert {b.name: b.kind for b in found.budgets} == kinds and found.figures["latency_ms"].kind == "measured"  # of this host

    def unforetold(documents: dict[str, Any]) -> None:
        plan = documents["plan"]["body"]["value"]
        plan["budgets"] = [one for one in plan["budgets"] if one["name"] != "latency_ms"]

    found = released(planted(run, tmp_path / "unforetold", unforetold))
    assert {b.name for b in found.budgets} == {*kinds} - {"latency_ms"}
    assert found.notes[-1:] == ("budget latency_ms ≤ 500 ms (profile nucleo-l4r5zi): not judged, nobody knows what is used",)


def test_a_file_that_changes_while_it_is_released(run: Path, tmp_path: Path) -> None:
    def spoil(what: str, done: int, total: int) -> None:
        if what == "release 1.4.0" and done + 1 == total:  # all but the papers is packed
            (run / "graph" / "graph.json").write_text("{}")

    with pytest.raises(NotReleasable, match=r"graph\.json is not what the build made"):
        release(run, Order("1.4.0", "com.example.models", ("android",), tmp_path / "out"), spoil)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(("formats", "said"), [((), "no format"), (("android", "apk"), "format 'apk'")])
def test_formats_that_there_are_not(built: Path, formats: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        released(built, formats)


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        released(tmp_path)


@pytest.mark.parametrize("kind", ["int8", "float", "two_tasks", "sound"])
def test_made_up_facts_are_as_real_ones(tmp_path: Path, kind: str) -> None:
    found = facts(tmp_path, kind)
    assert all(verdict.ok for model in found.models.values() for verdict in model.verdicts)
    assert all(
        (model.folder / file).is_file() and tmp_path in model.path.parents for model in found.models.values() for file in model.files
    )
    assert len(found.vectors.outputs) == len(found.models["tflite"].heads) == (2 if kind == "two_tasks" else 1)
    assert found.vectors_for("android").exact is (kind != "float") and bool(found.front_end) is (kind == "sound")
