"""Faults under a build, whole: each is one message or is mended, and what comes of it is as if nothing had happened. See docs/faults.md."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edgekd import building, pipeline, runs
from edgekd.data import numpy_file
from edgekd.errors import InputError
from edgekd.jobs import Request
from edgekd.stages import Build
from tests.small_builds import edgekd, exported, recipe

TARGET = "nucleo-l4r5zi"
#: Where the wall clock is read, and what for: stamps for people, and the cleaning of folders that were left a day ago.
READS_THE_CLOCK = {
    "cli_gate.py": "a stamp",
    "gate/waivers.py": "a waiver ends on its day",
    "host.py": "a stamp",
    "registry/history.py": "a stamp",
    "train/board.py": "stamps",
    "transports/local.py": "folders left a day ago",
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, and its runs and cache as an undisturbed build left them. Tests copy it."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        build(recipe(folder / "recipe"), folder / "runs")
    return folder


def build(where: Path, root: Path, *, resume: bool = False, progress: pipeline.Progress = lambda what, done, total: None) -> Path:
    return pipeline.build(Request(str(where), (TARGET,), threads=1), root, progress, resume=resume, announce=lambda run: None)[0]


def copied(built: Path, to: Path) -> Path:
    """Runs and cache; the recipe is shared."""
    for part in ("runs", "cache"):
        shutil.copytree(built / part, to / part)
    (run,) = (to / "runs").iterdir()
    return run


def weights(run: Path) -> list[bytes]:
    return [(run / name).read_bytes() for name in ("float.safetensors", "qat.safetensors")]


def same(run: Path, built: Path) -> None:
    (first,) = (built / "runs").iterdir()
    assert exported(run) == exported(first) and weights(run) == weights(first)


def test_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    where = recipe(tmp_path / "recipe", {"learning_rate = 0.02": "learning_rate = 1e25"})
    code, out, err = edgekd("build", where, "-t", TARGET, "--runs", tmp_path / "runs", "--threads", "1")
    assert (code, out) == (2, "") and "Traceback" not in err
    assert re.search(r"phase float: .* (is not finite at|is not finite after) step \d+ of 84", err), err
    assert "to mend:  lower learning_rate in the recipe's preset" in err
    assert not list((tmp_path / "cache").rglob("float.safetensors")), "what is not finite is never stored as trained"


def test_out_of_memory_anywhere_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(building, "planned", plan)
    code, out, err = edgekd("plan", recipe(tmp_path / "recipe"), "-t", TARGET)
    assert (code, out) == (2, "") and err.startswith("edgekd: out of memory: MemoryError\n  to mend:  smaller batches")


class _Stop(Exception):
    pass


def _at(stage: str, do: Callable[[], None]) -> pipeline.Progress:
    """Progress that does something once, in the middle of a stage."""
    left = [do]

    def progress(what: str, done: int, total: int) -> None:
        if what == stage and done * 2 >= total and left:
            left.pop()()

    return progress


def _stop() -> None:
    raise _Stop


@pytest.mark.slow
def test_a_dataset_that_changed_between_a_build_and_its_resumption_is_refused(built: Path, tmp_path: Path) -> None:
    where = tmp_path / "recipe"
    shutil.copytree(built / "recipe", where)
    with pytest.raises(_Stop):
        build(where, tmp_path / "runs", progress=_at("float", _stop))
    good = (where / "data.npz").read_bytes()
    arrays = dict(np.load(where / "data.npz"))
    arrays["x_train"][3, 2, 1] ^= 1
    np.savez(where / "data.npz", **arrays)
    code, _, err = edgekd("build", where, "-t", TARGET, "--runs", tmp_path / "runs", "--threads", "1", "--resume")
    assert code == 2 and "the data is not what this build was begun with" in err and "put the data back" in err
    assert len(list((tmp_path / "runs").iterdir())) == 1, "no other build was begun"
    (where / "data.npz").write_bytes(good)
    same(build(where, tmp_path / "runs", resume=True), built)


@pytest.mark.parametrize("stage", ["soft targets", "float"])
def test_a_dataset_that_changes_under_a_training_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """One so large that it is not held in memory. Nothing that was trained on it is kept."""
    monkeypatch.setattr(numpy_file, "MAPPED", 1000)
    where = recipe(tmp_path / "recipe")
    file = where / "data.npz"
    place = file.read_bytes().index(np.load(file)["x_train"][100:].tobytes())

    def flip() -> None:
        with file.open("r+b") as stream:
            stream.seek(place)
            byte = stream.read(1)[0]
            stream.seek(place)
            stream.write(bytes([byte ^ 64]))

    with pytest.raises(InputError, match="the data was changed while it was used"):
        build(where, tmp_path / "runs", progress=_at(stage, flip))
    assert not [p for name in ("float.safetensors", "float.state") for p in tmp_path.rglob(name)]
    assert bool(list(tmp_path.rglob("soft_targets/*.npy"))) == (stage == "float")


@pytest.mark.slow
def test_whatever_is_damaged_is_found_and_made_again(built: Path, tmp_path: Path) -> None:
    """A flipped bit in every file of the run and of the cache that has a hash."""
    run = copied(built, tmp_path)
    kinds = (".safetensors", ".npy", ".tflite", ".png")
    damaged = [p for p in sorted(tmp_path.rglob("*")) if p.suffix in kinds] + [run / "graph/graph.json", run / "request.json"]
    assert len(damaged) >= 10
    whole = {path: path.read_bytes() for path in damaged}
    for path, content in whole.items():
        at = len(content) * 2 // 3
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    assert build(built / "recipe", tmp_path / "runs", resume=True) == run
    same(run, built)
    assert {path: path.read_bytes() for path in damaged} == whole


@pytest.mark.slow
def test_a_damaged_record_is_refused_with_its_cure(built: Path, tmp_path: Path) -> None:
    run = copied(built, tmp_path)
    record = run / "records/qat.json"
    record.write_bytes(record.read_bytes()[:-40])
    words = ("build", built / "recipe", "-t", TARGET, "--runs", tmp_path / "runs", "--threads", "1", "--resume")
    code, _, err = edgekd(*words)
    assert code == 2 and f"{record}: not JSON" in err and f"delete {record} and build again with --resume" in err
    record.unlink()
    assert edgekd(*words)[0] == 0
    same(run, built)


@pytest.mark.slow
def test_a_clock_that_jumps_changes_nothing(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back and forth by years, and files from the future: the same bytes, and what is done is not done again."""
    clock, jumps = time.time, np.random.default_rng(0)
    monkeypatch.setattr(time, "time", lambda: clock() + jumps.uniform(-1e8, 1e8))
    run = copied(built, tmp_path)
    shutil.rmtree(tmp_path / "cache")
    for path in (run / "qat.safetensors", run / "records/qat.json"):
        path.unlink()
    for at, path in enumerate(sorted(run.rglob("*"))):
        os.utime(path, (4e9, 4e9) if at % 2 else (1e8, 1e8))
    seen: list[str] = []
    build(built / "recipe", tmp_path / "runs", resume=True, progress=lambda what, *_: seen.append(what))
    same(run, built)
    assert "qat" in seen and "float" not in seen
    seconds = [runs.read(run, stage).seconds for stage in runs.stages(run)]
    assert all(0 <= one < 600 for one in seconds), seconds


def test_nothing_decides_by_the_wall_clock(repository: Path) -> None:
    package = repository / "edgekd"
    read = re.compile(r"\btime\.time(_ns)?\(|datetime\.(now|utcnow|today)\(|date\.today\(")
    found = {str(p.relative_to(package)) for p in package.rglob("*.py") if read.search(p.read_text()) and "runner" not in p.parts}
    assert found <= set(READS_THE_CLOCK), "durations are of time.monotonic; what else reads the wall clock is listed above, with its reason"


@pytest.mark.slow
def test_two_builds_in_one_folder(built: Path, tmp_path: Path) -> None:
    run = copied(built, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file() and p.name != ".lock"}
    with runs.lock(run):
        code, _, err = edgekd("build", built / "recipe", "-t", TARGET, "--runs", tmp_path / "runs", "--threads", "1", "--resume")
    assert code == 2 and f"another build (process {os.getpid()}) is writing this run" in err
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file() and p.name != ".lock"} == before


@contextmanager
def _full_disk() -> Generator[None]:
    """No file may grow beyond a few bytes; Python ignores the signal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
def test_a_full_disk_in_each_stage(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message each time; when there is room again, --resume goes on, and the student is the same."""
    makers, write, full = ("_float", "_qat", "_freeze", "_export", "_verify", "_measure", "_examine"), runs.write, ["plan"]

    def guarded(name: str, work: Callable[..., object]) -> Callable[..., object]:
        def guard(*arguments: object, **named: object) -> object:
            if name not in full:
                return work(*arguments, **named)
            with _full_disk():
                return work(*arguments, **named)

        return guard

    for name in makers:
        monkeypatch.setattr(Build, name, guarded(name, getattr(Build, name)))
    monkeypatch.setattr(runs, "write", lambda run, record, **more: guarded(record.stage, write)(run, record, **more))
    words = ("build", built / "recipe", "-t", TARGET, "--runs", tmp_path / "runs", "--threads", "1", "--resume")
    for name in ("plan", *makers):
        full[:] = [name]
        code, _, err = edgekd(*words)
        if name in ("_verify", "_measure") and code == 0:
            continue  # these write nothing but their record
        assert code == 2 and "Traceback" not in err, (name, err)
        assert "File too large" in err or "cannot be written" in err, (name, err)
        assert len(err.splitlines()) < 30, err
    full[:] = ["examine"]
    assert edgekd(*words)[0] == 2
    full.clear()
    assert edgekd(*words)[0] == 0
    (run,) = (tmp_path / "runs").iterdir()
    same(run, built)
    assert not list(tmp_path.rglob("*.part"))


def _without_root_s_rights() -> None:
    """In a child, before it becomes the command: root may then no longer write everywhere (CAP_DAC_OVERRIDE leaves the bounding set)."""
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
@pytest.mark.parametrize("what", ["runs", "run", "cache"])
def test_an_output_that_may_only_be_read(built: Path, tmp_path: Path, what: str) -> None:
    run = copied(built, tmp_path)
    (run / "records/examine.json").unlink()
    shut = {"runs": tmp_path / "other", "run": run / "records", "cache": tmp_path / "cache/edgekd"}[what]
    if what == "cache":
        shutil.rmtree(shut / "soft_targets")
    shut.mkdir(exist_ok=True)
    shut.chmod(0o500)
    words = ["build", str(built / "recipe"), "-t", TARGET, "--threads", "1", "--resume"]
    words += ["--runs", str(shut if what == "runs" else tmp_path / "runs")]
    limit = _without_root_s_rights if os.geteuid() == 0 else None
    done = subprocess.run([sys.executable, "-m", "edgekd", *words], preexec_fn=limit, capture_output=True, text=True, check=False)
    shut.chmod(0o700)
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr, done.stderr
    assert "Permission denied" in done.stderr and str(shut) in done.stderr, done.stderr
