"""`edgekd build` under torchrun: one run folder, one table, one message, whatever the number of processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekd import runs
from tests.small_builds import edgekd, recipe

TARGET = ("-t", "nucleo-l4r5zi")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def started(*words: object) -> subprocess.Popen[str]:
    """Two processes of a command."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "edgekd"]
    return subprocess.Popen([*torchrun, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(err: str) -> list[str]:
    """What edgekd itself has to say, not torchrun."""
    return [line for line in err.splitlines() if line.startswith("edgekd: ")]


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "more", "message"), [
    (9, (), "edgekd: recipe, batch of the preset: a batch of 9 samples cannot be dealt to 2 processes"),
    (8, ("--jobs", 2), "edgekd: command line: --jobs or --engine"),
    (8, ("--budget", "model_bytes=10"), None),
    (8, ("-t", "nowhere"), "edgekd: no target is called 'nowhere'"),
])  # fmt: skip
def test_what_cannot_be_is_said_once(tmp_path: Path, batch: int, more: tuple[object, ...], message: str | None) -> None:
    where = recipe(tmp_path / "recipe", {"batch = 8": f"batch = {batch}"})
    with started("build", where, *TARGET, "--runs", tmp_path / "runs", *more) as process:
        out, err = process.communicate()
    assert process.returncode and out == "" and len(said(err)) == 1, err
    assert message is None or said(err)[0] == message


@pytest.mark.slow
def test_interrupted_and_resumed_by_another_number(tmp_path: Path) -> None:
    """Ctrl-C prints one command; a process that is killed ends the other; one process goes on with what two have begun."""
    where, root = recipe(tmp_path / "recipe", {"qat_epochs = 1.5": "qat_epochs = 40"}), tmp_path / "runs"
    words = ("build", where, *TARGET, "--runs", root, "--threads", 1)
    for number in (signal.SIGINT, signal.SIGKILL):
        with started(*words, "--resume") as process:
            in_qat(process, tmp_path / "cache")
            if number == signal.SIGINT:
                process.send_signal(number)
            else:
                os.kill(second_of(process), number)
            out, err = process.communicate(timeout=120)
        assert process.returncode and out == "" and len(said(err)) == 1, err
        assert "--resume" in err and not any(line.startswith("edgekd: process") for line in said(err))
    code, out, err = edgekd(*map(str, words), "--resume", "--json")
    (row,) = json.loads(out)
    assert code == 0 and row["ok"] is not False, err
    (run,) = root.iterdir()
    processes = [entry.get("processes") for entry in runs.read(run, "qat").body.history]
    assert {entry["processes"] for entry in runs.read(run, "float").body.history} == {2}
    assert processes[0] == 2 and processes[-1] is None and len(processes) == 40
    assert runs.read(run, "verify").body[0].ok and not list(tmp_path.rglob(".together-*"))


def in_qat(process: subprocess.Popen[str], cache: Path) -> None:
    """Wait until the quantized training has ended a pass since now."""
    began = time.time()
    while process.poll() is None:
        if any(file.stat().st_mtime > began for file in cache.glob("edgekd/*/*/qat.state")):
            return
        time.sleep(0.05)


def second_of(process: subprocess.Popen[str]) -> int:
    for file in Path(f"/proc/{process.pid}/task").glob("*/children"):
        for pid in file.read_text().split():
            if b"RANK=1" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return int(pid)
    raise AssertionError("there is no second process")
