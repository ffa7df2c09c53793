"""A store that was tampered with, and what no history can hold: one message, nothing written elsewhere."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekd.errors import InputError
from edgekd.registry import folder, history
from edgekd.registry.folder import FolderStore
from edgekd.registry.history import Who
from tests.registry.made import ADA, NAME, release
from tests.small_builds import edgekd


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = FolderStore(tmp_path / "store")
    made.add(release(tmp_path / "releases"), ADA)
    return made


def _history(store: FolderStore) -> Path:
    return store.root / NAME / folder.HISTORY


def _event(**changes: Any) -> dict[str, Any]:
    return {"kind": "add", "version": "1.0.0", "at": "now", "by": "ada", "manifest": "0" * 64, **changes}


def test_a_model_that_is_a_link_is_not_written_through(tmp_path: Path, store: FolderStore) -> None:
    other = tmp_path / "precious"
    (other / "2.0.0").mkdir(parents=True)
    (other / "2.0.0" / "thesis.txt").write_text("years of work")
    (store.root / "other-model").symlink_to(other)
    with pytest.raises(InputError, match=r"(?s)other-model: is a symbolic link.*a folder of the store"):
        store.add(release(tmp_path / "more", "2.0.0", artifact="other-model"), Who("ada"))
    assert [path.name for path in other.rglob("*")] == ["2.0.0", "thesis.txt"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to("nothing")])
def test_a_history_that_is_no_file_is_not_begun_anew(store: FolderStore, make: Callable[[Path], object], tmp_path: Path) -> None:
    _history(store).unlink()
    make(_history(store))
    for ask in (lambda: store.model(NAME), lambda: store.add(release(tmp_path / "more", "1.1.0"), Who("ada"))):
        with pytest.raises(InputError, match=r"(?s)history\.json: is no file.*put it back from a backup"):
            ask()


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (_event(version=f"1.{'9' * 5000}.0"), "expected: a version, added once, first"),
        (_event(version=f"1.0.0-{'9' * 5000}"), "expected: a version, added once, first"),
        (_event(by="\ud800"), "expected: text"),
    ],
)
def test_a_history_that_nobody_wrote(store: FolderStore, event: dict[str, Any], said: str) -> None:
    document = json.loads(_history(store).read_bytes())
    _history(store).chmod(0o644)
    _history(store).write_text(json.dumps({**document, "events": [event]}))
    for command in (["list"], ["show", NAME], ["promote", NAME, "1.0.0", "--to", "staging"]):
        code, _, err = edgekd("models", *command, "--store", store.root)
        assert code == 2 and f"{folder.HISTORY}, event 1: " in err and said in err


@pytest.mark.parametrize(
    ("who", "said"),
    [
        (Who("x" * 201), r"--by: 201 characters.*\n.*at most 200"),
        (Who("ada", "x" * 2001), r"--reason: 2001 characters.*\n.*at most 2000"),
        (Who("\udcff"), r"--by: '\\udcff' is no text"),
    ],
)
def test_what_no_history_should_hold(store: FolderStore, who: Who, said: str) -> None:
    before = _history(store).read_bytes()
    with pytest.raises(InputError, match=said):
        store.promote(NAME, "1.0.0", "staging", who)
    assert _history(store).read_bytes() == before


def test_a_history_never_grows_beyond_what_can_be_read(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_LARGEST", _history(store).stat().st_size + 100)
    with pytest.raises(InputError, match=r"history\.json: \d+ bytes"):
        store.promote(NAME, "1.0.0", "staging", Who("ada"))
    assert "staging" not in store.model(NAME).stages


def test_a_history_does_not_steer_a_terminal(store: FolderStore) -> None:
    document = json.loads(_history(store).read_bytes())
    document["events"][0].update(at="\x1b[2J", by="\x1b]0;owned\x07")
    _history(store).chmod(0o644)
    _history(store).write_text(json.dumps(document))
    assert history.decoded(document["events"][0], "x").at == "\x1b[2J"
    code, out, _ = edgekd("models", "show", NAME, "--store", store.root)
    assert code == 0 and "\x1b" not in out and "\x07" not in out


def test_of_a_full_disk_the_place_that_is_full_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(source))

    made = release(tmp_path / "releases")
    monkeypatch.setattr(folder.shutil, "copyfile", full)
    code, _, err = edgekd("models", "add", made, "--store", tmp_path / "store")
    assert code == 2 and "No space left on device" in err and f"{tmp_path / 'store' / NAME}" in err and str(made) not in err
    assert not list((tmp_path / "store" / NAME).iterdir())
