"""Releases of damaged runs, and orders that no release can follow: one message, nothing published."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekd import runs
from edgekd.errors import InputError
from edgekd.release import publish
from edgekd.release.facts import check_names
from tests.gate_runs import planted, run
from tests.releases import made, tiny
from tests.small_builds import edgekd


def _task(documents: dict[str, Any]) -> dict[str, Any]:
    return documents["examine"]["body"]["value"]["tasks"][0]


@pytest.mark.parametrize(
    "change",
    [
        lambda all_: _task(all_).update(labels=["one"]),
        lambda all_: _task(all_).update(confusion=[[1]]),
        lambda all_: _task(all_)["confusion"][0].__setitem__(0, -1),
        lambda all_: _task(all_).update(teacher_confusion=[[], [], [], []]),
    ],
)
def test_an_examination_of_other_classes(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    spoiled = planted(run(), tmp_path / "spoiled", change)
    code, _, err = edgekd("release", spoiled, "--format", "mcu", "--version", "1.0.0", "--out", tmp_path / "out")
    assert code == 2 and "examine.json: " in err and "confusion matrix" in err and "edgekd build … --resume makes it again" in err
    assert not (tmp_path / "out").exists()


def _value(stage: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda all_: all_[stage].update(body={"noun": None, "value": value})


@pytest.mark.parametrize(
    ("stage", "change", "said"),
    [
        ("plan", _value("plan", {}), "does not hold what its stage writes"),
        ("export", _value("export", []), "does not hold what its stage writes"),
        ("export", _value("export", [None]), "does not hold what its stage writes"),
        ("measure", _value("measure", "fast"), "does not hold what its stage writes"),
        ("measure", lambda all_: all_["measure"]["environment"].pop("created"), "was made at ''"),
        ("measure", lambda all_: all_["measure"]["config"].pop("recipe_folder"), "does not say where the recipe was"),
        ("plan", lambda all_: all_["plan"]["environment"].update(cpu="\ud800"), "holds half a character"),
        ("export", lambda all_: all_["export"]["body"]["value"][0].update(files=["graph/graph.json"]), "which is not beside the model"),
        ("examine", lambda all_: _task(all_)["confusion"][0].__setitem__(0, 10**400), "is no figure of a run"),
        ("measure", lambda all_: all_["measure"]["body"]["value"][0]["figures"]["latency_ms"].update(value=1e308), "is no figure of a run"),
    ],
)
def test_a_record_that_no_stage_writes(tmp_path: Path, stage: str, change: Callable[[dict[str, Any]], object], said: str) -> None:
    spoiled = planted(run(), tmp_path / "spoiled", lambda all_: None)
    paths = {path.stem: path for path in (spoiled / "records").glob("*.json")}
    documents = {name: json.loads(path.read_bytes()) for name, path in paths.items()}
    change(documents)
    for name, document in documents.items():  # a build of an older edgekd says nothing of the record before
        document["inputs"].pop("before", None)
        paths[name].write_text(json.dumps(document))
    code, _, err = edgekd("release", spoiled, "--format", "mcu", "--version", "1.0.0", "--out", tmp_path / "out")
    assert code == 2 and f"{stage}.json: " in err and said in err and "edgekd build … --resume makes it again" in err
    assert not (tmp_path / "out").exists()


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    code, _, err = edgekd("release", run(), "--format", "mcu", "--version", "1.0.0", "--out", tmp_path / "loop")
    assert code == 2 and err.count("edgekd: ") == 1 and "loop: cannot be made" in err
    with pytest.raises(InputError, match="(?s)'loop' is no path.*a path below the run folder"):
        runs.inside(tmp_path, "loop")
    with pytest.raises(InputError, match="is no path.*null byte"):
        runs.inside(tmp_path, "a\0b")


def test_names_that_no_folder_can_have() -> None:
    with pytest.raises(InputError, match=r"(?s)--version: a version of 405 characters.*at most 100"):
        check_names(f"1.{'9' * 401}.0", "com.example")
    with pytest.raises(InputError, match=r"(?s)--group: a group of 404 characters.*at most 100"):
        check_names("1.0.0", f"com.{'a' * 400}")


def test_a_folder_whose_name_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny(monkeypatch)
    folder = made(tmp_path).released.folder
    odd = folder.rename(folder.parent / os.fsdecode(b"\xff-1.4.0"))
    command = [sys.executable, "-m", "edgekd", "release", "verify", str(odd)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    assert "Traceback" not in done.stderr and "\\udcff-1.4.0: 16 files are as they were released" in done.stdout


def test_in_its_place_are_folders_without_end(tmp_path: Path) -> None:
    (tmp_path / "staged" / "tiny-1.0.0").mkdir(parents=True)
    inner = final = tmp_path / "out" / "tiny-1.0.0"
    final.mkdir(parents=True)
    for _ in range(1100):
        inner /= "d"
        inner.mkdir()
    try:
        with pytest.raises(InputError, match=r"(?s)tiny-1\.0\.0: holds folders within folders.*under another --version"):
            publish.publish(tmp_path / "staged" / "tiny-1.0.0", tmp_path / "out")
    finally:  # deeper than what pytest removes
        while inner != final:
            inner.rmdir()
            inner = inner.parent


def test_of_a_full_disk_the_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device") as raised, publish.staging(tmp_path / "out", "tiny-1.0.0"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert raised.value.filename == str(tmp_path / "out") and not list((tmp_path / "out").iterdir())
