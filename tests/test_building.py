"""Builds of many targets: the same students however they are done, and one that fails stops no other."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from edgekd import building, runs
from edgekd.errors import EdgekdError, InputError
from edgekd.jobs import Request
from edgekd.stages import Build
from edgekd.worker import Outcome
from tests.small_builds import edgekd, exported, recipe

TARGETS = ("-t", "nucleo-l4r5zi", "-t", "pixel-8")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``recipe`` and ``runs`` of both targets, built in this process."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        where = recipe(folder / "recipe", {"qat_epochs = 1.5": "qat_epochs = 12"})
        code, _, err = edgekd("build", where, *TARGETS, "--runs", folder / "runs", "--threads", 1)
        assert code == 0, err
    return folder


def same(one: Path, other: Path) -> None:
    names = sorted(run.name for run in one.iterdir())
    assert names == sorted(run.name for run in other.iterdir()) and len(names) == 2
    for name in names:
        assert exported(one / name) == exported(other / name), name


def command(folder: Path, *more: str) -> list[str]:
    words = ["build", str(folder / "recipe"), *TARGETS, *more]
    return [sys.executable, "-m", "edgekd", *words]


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The workers that a build has started."""
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    found = [int(pid) for file in children for pid in file.read_text().split()]
    return [pid for pid in found if b"edgekd.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def until_in_qat(process: subprocess.Popen[str], root: Path) -> None:
    while process.poll() is None:
        if root.is_dir() and len(found := list(root.iterdir())) == 2 and any("float" in runs.stages(run) for run in found):
            return
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_the_same_students_whatever_the_number_of_workers(alone: Path, tmp_path: Path, jobs: int) -> None:
    code, out, err = edgekd("build", alone / "recipe", *TARGETS, "--runs", tmp_path / "runs", "--jobs", jobs, "--json")
    assert code == 0 and [row["target"] for row in json.loads(out)] == ["nucleo-l4r5zi", "pixel-8"], err
    names = ("nucleo-l4r5zi", "pixel-8")
    assert [f"{name}: qat: done" in err for name in names].count(True) == 1, "both want the same student: one trains it, the other finds it"
    assert all(f"{name}: verify" in err for name in names), err
    same(alone / "runs", tmp_path / "runs")
    for run in (tmp_path / "runs").iterdir():
        assert {pass_["threads"] for pass_ in runs.read(run, "qat").body.history} == {1}


@pytest.mark.slow
def test_what_a_pattern_found_and_does_not_fit_is_left_out(alone: Path, tmp_path: Path, repository: Path) -> None:
    """The rest is built; a target that was named is refused as ever."""
    text = (repository / "targets/edge/raspberry-pi-5.toml").read_text()
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/small.toml").write_text(
        re.sub(r"(?m)^model_bytes = .*$", "model_bytes = 100", text.replace("raspberry-pi-5", "small"))
    )
    words = ["build", alone / "recipe", "--runs", tmp_path / "runs", "--threads", 1]
    code, _, err = edgekd(*words, "-t", tmp_path / "lab/small.toml", "-t", "nucleo-l4r5zi")
    assert code == 1 and "model_bytes" in err and not (tmp_path / "runs").exists()
    code, out, err = edgekd(*words, "-t", f"{tmp_path}/lab/*", "-t", "nucleo-l4r5zi", "--json")
    (row,) = json.loads(out)
    assert code == 1 and row["target"] == "nucleo-l4r5zi" and row["ok"] is not False
    assert "small.toml: left out: " in err and "model_bytes" in err
    code, out, err = edgekd(*words, "-t", f"{tmp_path}/lab/*", "--json")
    assert (code, out) == (1, "") and "model_bytes" in err


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [0, 2])
def test_a_disk_that_is_full_for_one_is_said_beside_the_others(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    real = Build._measure

    def full(build: Build, *arguments: object) -> object:
        if build.job.profile.name == "nucleo-l4r5zi":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "measure.json")
        return real(build, *arguments)

    monkeypatch.setenv("XDG_CACHE_HOME", str(alone / "cache"))
    monkeypatch.setattr(Build, "_measure", full)
    words = ("--runs", tmp_path / "runs", "--threads", 1, "--jobs", jobs, "--json")
    code, out, err = edgekd("build", alone / "recipe", *TARGETS, *words)
    assert code == 2 and [row["target"] for row in json.loads(out)] == ["pixel-8"], err
    assert "edgekd: nucleo-l4r5zi: measure.json: No space left on device\n  to mend:  clear some of that disk" in err


@pytest.mark.slow
def test_a_worker_that_is_killed_stops_no_other(alone: Path, tmp_path: Path) -> None:
    """What was killed is said, with what helps, and --resume makes the same of it."""
    root, words = tmp_path / "runs", ("--jobs", "2", "--json")
    with subprocess.Popen(
        command(alone, "--runs", str(root), *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until_in_qat(process, root)
        os.kill(workers_of(process)[0], signal.SIGKILL)
        out, err = process.communicate()
    assert process.returncode == 2 and len(json.loads(out)) == 1, err
    assert "its process was ended by SIGKILL, which is what the system does where memory runs out" in err and "--resume" in err
    code, _, err = edgekd("build", alone / "recipe", *TARGETS, "--runs", root, *words, "--resume")
    assert code == 0, err
    same(alone / "runs", root)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ended(alone: Path, tmp_path: Path, number: int) -> None:
    """No worker outlives it, kill -9 included; Ctrl-C prints the command that goes on."""
    root = tmp_path / "runs"
    with subprocess.Popen(
        command(alone, "--runs", str(root), "--jobs", "2"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until_in_qat(process, root)
        workers = workers_of(process)
        assert workers
        process.send_signal(number)
        out, err = process.communicate()
    for _ in range(600):
        if not any(Path(f"/proc/{pid}").exists() for pid in workers):
            break
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    again = [*command(alone, "--runs", str(root), "--jobs", "2")[3:], "--resume"]
    if number == signal.SIGINT:
        assert (process.returncode, out) == (130, "") and "Traceback" not in err, err
        said = shlex.split(err.strip().splitlines()[-1])
        assert said[0] == "edgekd" and said[-2:] == ["--jobs", "2"] and "--resume" in said
        again = said[1:]
    code, _, err = edgekd(*again)
    assert code == 0, err
    same(alone / "runs", root)


@pytest.mark.slow
def test_one_that_fails_stops_no_other(alone: Path, tmp_path: Path) -> None:
    """In this process, too: a damaged record of one is said at the end."""
    root = tmp_path / "runs"
    shutil.copytree(alone / "runs", root)
    (run,) = root.glob("tiny-nucleo-l4r5zi-*")
    (run / "records/plan.json").write_text("{")
    (other,) = root.glob("tiny-pixel-8-*")
    (other / "records/examine.json").unlink()
    code, out, err = edgekd("build", alone / "recipe", *TARGETS, "--runs", root, "--threads", 1, "--resume", "--json")
    assert code == 2 and [row["target"] for row in json.loads(out)] == ["pixel-8"], err
    assert f"edgekd: nucleo-l4r5zi: {run}/records/plan.json: not JSON" in err and (other / "records/examine.json").exists()


@pytest.mark.parametrize(("failed", "code"), [([], 1), ([("could not", 2)], 2), ([("does not fit", 1)], 1)])
def test_the_worst_is_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failed: list[tuple[str, int]], code: int) -> None:
    """A target that failed is not hidden by another that was built and does not agree."""
    outcomes = [Outcome("built", tmp_path), *(Outcome("failed", tmp_path, *said) for said in failed)]

    def disagrees(*_: object) -> None:
        raise typer.Exit(1)

    monkeypatch.setattr(building, "build", lambda *_: outcomes)
    monkeypatch.setattr("edgekd.cli_build._show", disagrees)
    found, _, err = edgekd("build", recipe(tmp_path / "recipe"), "-t", "nano")
    assert found == code and err == "".join(f"edgekd: failed: {text}\n" for text, _ in failed)


@pytest.mark.parametrize("lone", [True, False])
def test_a_failure_hides_nothing_that_was_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lone: bool) -> None:
    """Of one target the reason is raised; beside others that a pattern found and that were left out it is an outcome, as theirs are."""

    class Fails:
        run, name = tmp_path, "t"

        def all(self) -> None:
            raise EdgekdError("could not")

    left_out = [] if lone else [Outcome("other", None, "does not fit", 1)]
    monkeypatch.setattr(building, "_ready", lambda *_: ([Fails()], left_out))
    monkeypatch.setattr(building, "_builds", lambda ready, *_: ready)
    request = Request("recipe", ("t",))
    if lone:
        with pytest.raises(EdgekdError, match="could not"):
            building.build(request, tmp_path, building.How(), lambda *_: None)
    else:
        found = building.build(request, tmp_path, building.How(), lambda *_: None)
        assert found == [*left_out, Outcome("t", tmp_path, "could not", 2)]


def test_memory_that_runs_out_in_a_worker_is_one_message() -> None:
    """As it is in a command: no traceback."""
    full = "from edgekd import worker\ndef full(*_):\n    raise MemoryError('9 bytes')\nworker._build = full\nworker.main()"
    with subprocess.Popen([sys.executable, "-c", full], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        task = {"target": "t", "run": "r", "root": "r", "request": "{}", "share": None}
        process.stdin.write(json.dumps({"task": task, "last": "verify"}).encode() + b"\n")
        process.stdin.flush()
        kind, (said, code) = json.loads(process.stdout.readline())
        assert (kind, code) == ("outcome", 2) and said.startswith("out of memory: 9 bytes\n  to mend:  ")
        assert process.stderr.read() == b""


def test_what_is_no_engine() -> None:
    with pytest.raises(InputError, match="'dask' is no engine"):
        building.How(engine="dask")
    with pytest.raises(InputError, match="--engine ray with it"):
        building.How(address="10.0.0.1:6379")


def test_without_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One message with the extra, before anything is planned or trained."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "ray"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "edgekd.cluster", raising=False)
    monkeypatch.setattr(sys, "meta_path", [_NoRay(), *sys.meta_path])
    code, out, err = edgekd("build", recipe(tmp_path / "recipe"), "-t", "nano", "--engine", "ray", "--runs", tmp_path / "runs")
    assert (code, out) == (2, "") and "pip install 'edgekd[scale]'" in err and not (tmp_path / "runs").exists()


def test_no_cluster_answers(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    words = ["--engine", "ray", "--ray-address", address, "--runs", tmp_path / "runs"]
    code, out, err = edgekd("build", recipe(tmp_path / "recipe"), "-t", "nano", *words)
    assert (code, out) == (2, "") and f"{address}: no Ray cluster answers" in err and not (tmp_path / "runs").exists()


class _NoRay:
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
