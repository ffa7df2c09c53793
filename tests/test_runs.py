from __future__ import annotations

import errno
import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd import runs
from edgekd.errors import InputError
from edgekd.records import Artifact, BudgetUse, Checkpoint, Figure, Measurement, Plan, Record, Verdict

FIGURE = Figure(0.925, "share", "measured", "host: x, tflm", n=10000, low=0.919, high=0.93)
PLAN = Plan("nucleo", "family", {"width": 8, "rows": [[1, 2]]}, {"macs": FIGURE}, (BudgetUse("model_bytes", 1.0, 2.0, "B", "recipe"),), 7)
VERDICT = Verdict("m.tflite", "tflm", "tflm", False, "no", {"-1": 3}, {"bit_equal": FIGURE}, "conv1")
REQUEST = {"recipe": "abc", "preset": "demo", "seed": 0}


def record(stage: str, body: object, **more: object) -> Record:
    return Record(stage, {"graph": "1f"}, {"seed": 0}, {"python": "3.11"}, body, seconds=1.5, **more)  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return runs.create(tmp_path, "fashion", "nucleo", REQUEST)


def artifact(run: Path) -> Artifact:
    (run / "export").mkdir(exist_ok=True)
    (run / "export/m.xml").write_bytes(b"xml")
    (run / "export/m.bin").write_bytes(b"bin")
    return Artifact("openvino", "export/m.xml", runs.sha256_file(run / "export/m.xml"), {"model_bytes": FIGURE}, files=("export/m.bin",))


def test_the_same_request_finds_the_same_folder(tmp_path: Path) -> None:
    first = runs.create(tmp_path, "fashion", "nucleo", REQUEST)
    assert first == runs.create(tmp_path, "fashion", "nucleo", dict(reversed(REQUEST.items())))
    assert first != runs.create(tmp_path, "fashion", "nucleo", {**REQUEST, "seed": 1})
    assert first.name.startswith("fashion-nucleo-")
    assert runs.request(first) == REQUEST


@pytest.mark.parametrize(
    "body", [PLAN, [VERDICT, VERDICT], [Measurement("a", "d", {"latency_ms": FIGURE}, ("x",))], FIGURE, None, {"any": [1, "x"]}]
)
def test_bodies_come_back_as_their_nouns(run: Path, body: object) -> None:
    written = record("stage", body, figures={"accuracy": FIGURE})
    runs.write(run, written)
    assert runs.read(run, "stage") == written
    assert runs.stages(run) == ("stage",)


def test_a_request_is_written_again_only_where_it_is_damaged(tmp_path: Path) -> None:
    """Whoever asks for the same in another order gets the folder as it was begun: the order of an option's tables may count."""
    one, other = {"options": {"a": 1, "b": 2}, "seed": 0}, {"seed": 0, "options": {"b": 2, "a": 1}}
    file = runs.create(tmp_path, "r", "t", one) / "request.json"
    begun = file.read_bytes()
    assert runs.create(tmp_path, "r", "t", other) == file.parent and file.read_bytes() == begun
    for damaged in (begun.replace(b"1", b"3"), begun[:-9], b""):
        file.write_bytes(damaged)
        runs.create(tmp_path, "r", "t", one)
        assert file.read_bytes() == begun


def test_done_follows_inputs_and_files(run: Path) -> None:
    assert not runs.done(run, "export", {"graph": "1f"})
    runs.write(run, record("export", [artifact(run)]))
    assert runs.done(run, "export", {"graph": "1f"})
    assert not runs.done(run, "export", {"graph": "20"})
    (run / "export/m.bin").write_bytes(b"cut")
    assert not runs.done(run, "export", {"graph": "1f"})
    artifact(run)
    (run / "export/m.xml").unlink()
    assert not runs.done(run, "export", {"graph": "1f"})


def test_further_files_count(run: Path) -> None:
    (run / "graph.json").write_bytes(b"{}")
    runs.write(run, record("freeze", None), files=("graph.json",))
    assert runs.done(run, "freeze", {"graph": "1f"})
    (run / "graph.json").write_bytes(b"{ }")
    assert not runs.done(run, "freeze", {"graph": "1f"})


def test_a_record_does_not_claim_what_is_not_so(run: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.safetensors is not there"):
        runs.write(run, record("train", Checkpoint("gone.safetensors", "00", ({"loss": 1.0},), {})))
    with pytest.raises(InputError, match="another sha256 than its record says"):
        runs.write(run, record("export", [replace(artifact(run), sha256="00")]))
    with pytest.raises(InputError, match="leaves the run folder"):
        runs.write(run, record("train", Checkpoint("../../secret", "00", (), {})))
    with pytest.raises(InputError, match="finite"):
        runs.write(run, record("plan", Figure(float("nan"), "ms", "measured", "host")))
    assert runs.stages(run) == ()


def damage(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "schema_version 2"),
        ({"stage": "other"}, "this is the record of 'other'"),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"inputs": []}, "record.inputs"),
        ({"seconds": "long"}, "record.seconds"),
        ({"body": {"noun": "Exploit", "value": {}}}, "noun 'Exploit'"),
        ({"body": {"noun": "Plan", "value": {"target": "x"}}}, "missing"),
        ({"body": {"noun": "Figure", "value": {"value": 1, "unit": "ms", "kind": "guessed", "where": "x"}}}, "'guessed'"),
        ({"body": {"noun": "Figure", "value": 3}}, "holds a int"),
        ({"body": []}, "holds a list"),
        ({"files": {"a": 1}}, "files.a"),
    ],
)
def test_damaged_records_name_the_file_and_the_cure(run: Path, changes: dict[str, object], message: str) -> None:
    path = runs.write(run, record("plan", PLAN))
    damage(path, **changes)
    with pytest.raises(InputError) as caught:
        runs.read(run, "plan")
    assert message in str(caught.value)
    assert f"delete {path}" in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"seconds": NaN}', b"3"])
def test_what_is_not_json_is_refused(run: Path, text: bytes) -> None:
    (run / "records/plan.json").write_bytes(text)
    with pytest.raises(InputError, match=r"records/plan\.json"):
        runs.done(run, "plan", {})


def test_a_hostile_file_list_cannot_reach_outside(run: Path) -> None:
    path = runs.write(run, record("plan", PLAN))
    damage(path, files={"../../../etc/passwd": "00"})
    with pytest.raises(InputError, match="leaves the run folder"):
        runs.done(run, "plan", {"graph": "1f"})


def test_two_builds_do_not_write_one_run(run: Path) -> None:
    held = "import sys; from pathlib import Path; from edgekd import runs\n"
    held += "with runs.lock(Path(sys.argv[1])): print('held', flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", held, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout and other.stdout.readline() == "held\n"
    with pytest.raises(InputError, match=rf"another build \(process {other.pid}\) is writing this run"), runs.lock(run):
        pass
    told: list[str] = []
    answer = threading.Timer(0.2, other.communicate, ["\n"])
    answer.start()
    with runs.lock(run, wait=told.append):
        assert other.wait() == 0 and told == [f"another build (process {other.pid})"]
    answer.join()
    with runs.lock(run), runs.lock(run, ".another"):
        pass


def test_atomic_write_leaves_the_old_file_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "folder/file"
    runs.atomic_write(path, b"old")
    with pytest.raises(TypeError):
        runs.atomic_write(path, "no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_environment_names_versions_without_loading_them() -> None:
    code = "import sys; from edgekd import runs; e = runs.environment(); print('torch' in e, 'torch' in sys.modules, e['cores'].isdigit())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True False True\n"


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert runs.cache_folder() == tmp_path / "edgekd"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert runs.cache_folder() == Path.home() / ".cache/edgekd"


def test_of_a_full_disk_the_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edgekd.runs.os.fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        runs.atomic_write(tmp_path / "record.json", b"{}")
    assert caught.value.filename == str(tmp_path / "record.json") and not list(tmp_path.iterdir())
