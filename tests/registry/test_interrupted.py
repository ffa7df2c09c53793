"""Several processes at once in the folder of the registry, and interruptions at each of its steps."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekd.errors import InputError
from edgekd.registry import folder
from edgekd.registry.folder import FolderStore
from edgekd.registry.history import Who
from tests.registry.made import ADA, NAME, release


def _promote_many(root: str, version: str, times: int) -> None:
    store = FolderStore(Path(root))
    for at in range(times):
        store.promote(NAME, version, "production", Who(version, str(at)))
        store.promote(NAME, version, "staging", Who(version, str(at)))


def test_two_processes_at_once_lose_nothing(store: FolderStore) -> None:
    others = [multiprocessing.get_context("fork").Process(target=_promote_many, args=(str(store.root), v, 10)) for v in ("1.0.0", "1.1.0")]
    for one in others:
        one.start()
    for one in others:
        one.join(60)
    assert [one.exitcode for one in others] == [0, 0]
    model = store.model(NAME)  # replayed: every event follows from the one before
    assert set(model.stages) == {"staging", "production"} and len(model.events) >= 3 + 4


def _add_many(root: str, releases: list[str]) -> None:
    for one in releases:
        FolderStore(Path(root)).add(Path(one), ADA)


def test_two_processes_add_the_same(tmp_path: Path) -> None:
    made = [str(release(tmp_path / "releases", f"1.{at}.0")) for at in range(5)]
    others = [
        multiprocessing.get_context("fork").Process(target=_add_many, args=(str(tmp_path / "store"), each)) for each in (made, made[::-1])
    ]
    for one in others:
        one.start()
    for one in others:
        one.join(60)
    assert [one.exitcode for one in others] == [0, 0]
    assert list(FolderStore(tmp_path / "store").model(NAME).versions) == [f"1.{at}.0" for at in range(5)]


@pytest.mark.parametrize("where", ["shutil.copyfile", "pathlib.Path.rename", "edgekd.runs.atomic_write", "os.replace"])
def test_killed_while_adding(tmp_path: Path, where: str) -> None:
    """At each step that writes: the history is as it was, and the same command again does it."""
    store = FolderStore(tmp_path / "store")
    store.add(release(tmp_path / "releases", "1.0.0"), ADA)
    before = (store.root / NAME / "history.json").read_bytes()
    new = release(tmp_path / "releases", "1.1.0")
    module, _, attribute = where.rpartition(".")
    module, owner = ("pathlib", "pathlib.Path") if module == "pathlib.Path" else (module, module)
    script = f"""
import importlib, os, signal, sys
from pathlib import Path
import {module}
from edgekd.registry.folder import FolderStore
from edgekd.registry.history import Who
{owner}.{attribute} = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
FolderStore(Path({str(store.root)!r})).add(Path({str(new)!r}), Who("ada"))
"""
    ran = subprocess.run([sys.executable, "-c", script], check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert ran.returncode == -signal.SIGKILL
    assert (store.root / NAME / "history.json").read_bytes() == before and list(store.model(NAME).versions) == ["1.0.0"]
    with pytest.raises(InputError, match="no version"):
        store.path(NAME, "1.1.0")
    assert store.add(new, ADA)[1] and store.path(NAME, "1.1.0").is_dir()
    left = {path.name for path in (store.root / NAME).iterdir()}
    assert left == {"1.0.0", "1.1.0", "history.json"}


def test_killed_while_promoting(store: FolderStore) -> None:
    """At any moment: readers see one whole history or the next."""
    store.promote(NAME, "1.0.0", "production", ADA)
    others = multiprocessing.get_context("fork")
    for _ in range(5):
        one = others.Process(target=_promote_many, args=(str(store.root), "1.1.0", 1000))
        one.start()
        time.sleep(0.03)
        one.kill()
        one.join(30)
        model = store.model(NAME)
        assert model.stages["production"] in ("1.0.0", "1.1.0")
        store.promote(NAME, "1.0.0", "production", ADA)


def test_an_interrupted_copy_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    store, made = FolderStore(tmp_path / "store"), release(tmp_path)
    monkeypatch.setattr(folder, "_copy_file", full)
    with pytest.raises(OSError, match="No space"):
        store.add(made, ADA)
    assert list((store.root / NAME).iterdir()) == []
