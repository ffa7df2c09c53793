"""The whole way over ssh, against OpenSSH's server: measured, compared with the reference, and what can go wrong meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.bench import write
from edgekd.errors import DeviceError, Lost
from edgekd.export import tflite
from edgekd.measure import attached
from edgekd.measure.device import Asked, Bench, Subject
from edgekd.verify.returned import judge
from tests.graph_cases import dense
from tests.transports import sshd

pytestmark = pytest.mark.skipif(bool(sshd.missing()), reason=sshd.missing() or "-")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    server = sshd.start(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


@pytest.fixture
def server(started: sshd.Server, monkeypatch: pytest.MonkeyPatch) -> sshd.Server:
    """A device whose python3 is this one, with its runtimes."""
    monkeypatch.setenv("HOME", str(started.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    python(started, f'exec "{sys.executable}" "$@"')
    return started


def python(server: sshd.Server, script: str) -> None:
    (server.programs / "python3").write_text(f"#!/bin/sh\n{script}\n")
    (server.programs / "python3").chmod(0o755)


@pytest.fixture
def subject(server: sshd.Server, tmp_path: Path) -> Subject:
    tflite.export(dense(), tmp_path)
    x = np.random.default_rng(1).integers(-128, 128, (8, 64)).astype(np.int8)
    asked = Asked(seconds=0.3, repeats=6, invocations=1, warmup_s=0.1)
    return Subject(
        dense(), None, x, None, "8 samples", write, address=server.address(), asked=asked, file=tmp_path / "model.tflite", judge=judge
    )


def bench(subject: Subject) -> Bench:
    return attached.ssh(subject, lambda *_: None)


def left(server: sshd.Server) -> list[str]:
    return sorted(path.name for path in server.temporary.iterdir())


def test_a_model_is_measured_and_is_the_reference(server: sshd.Server, subject: Subject) -> None:
    found = bench(subject).rows[0]
    assert "computes something else" not in found.failed
    figure = found.measurement.figures["latency_ms"]
    assert (figure.kind, figure.unit) == ("measured", "ms")
    assert figure.where.startswith(f"ssh {server.address()}: ")
    assert found.measurement.figures["bit_equal"].value == 1
    assert left(server) == [], "work folder and lock are gone"


def test_a_model_that_computes_something_else_has_failed(subject: Subject) -> None:
    found = bench(replace(subject, graph=dense(seed=7)))
    assert not found.ok
    assert "computes something else than the reference" in found.rows[0].failed


def test_a_runtime_that_is_missing_there_is_found_before_the_run(server: sshd.Server, subject: Subject) -> None:
    python(server, f'exec "{sys.executable}" -S -E "$@"')
    with pytest.raises(DeviceError, match="it has no tflite, which runs model.tflite") as caught:
        bench(subject)
    assert "pip install ai-edge-litert" in str(caught.value)
    assert left(server) == []


def test_a_cut_in_the_middle_of_a_run_and_again(server: sshd.Server, subject: Subject) -> None:
    with sshd.wire(server) as wire:
        long = replace(subject, address=server.address(wire.port), asked=replace(subject.asked, seconds=30.0))
        cutter = threading.Thread(target=_cut_once_it_runs, args=(server, wire))
        cutter.start()
        with pytest.raises(Lost, match="the connection was cut while python3 ran"):
            bench(long)
        cutter.join()
        again = bench(replace(subject, address=server.address(wire.port)))
        assert "computes something else" not in again.rows[0].failed
        assert left(server) == [], "the folder of the connection that was cut is gone, too"
        assert any("a stale lock was taken over" in note for note in again.notes), "the one before could not give it back"


def _cut_once_it_runs(server: sshd.Server, wire: sshd.Wire) -> None:
    for _ in range(400):
        if list(server.temporary.glob("edgekd-ssh.*/m0.log")):
            break
        time.sleep(0.05)
    time.sleep(0.3)
    wire.cut()


def test_two_harnesses_on_one_device(server: sshd.Server, subject: Subject) -> None:
    lock = server.temporary / "edgekd.lock"
    lock.mkdir()
    (lock / "owner.json").write_text('{"host": "elsewhere", "pid": "4711", "token": "x"}')
    try:
        with pytest.raises(DeviceError, match=r"another harness measures there since \d+ s: elsewhere, process 4711") as caught:
            bench(subject)
        assert f"rm -r {lock}" in str(caught.value)
        assert lock.exists(), "it is the other's"
    finally:
        (lock / "owner.json").unlink()
        lock.rmdir()


def test_a_runner_that_hangs_is_ended(server: sshd.Server, subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    python(server, f'case "$*" in *JOB.json) sleep 60;; esac; exec "{sys.executable}" "$@"')
    monkeypatch.setattr("edgekd.measure.protocol.limit_s", lambda *_: 1.0)
    with pytest.raises(DeviceError, match="python3 took over 1 s and was ended"):
        bench(subject)
    assert left(server) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_bench_that_is_told_to_end_says_so_alone_and_leaves_nothing(server: sshd.Server, tmp_path: Path, number: signal.Signals) -> None:
    facts = '{"runtimes": {"tflite": {"module": "x"}}}'
    python(server, f"case $2 in facts) echo '{facts}';; *) echo $$ > {tmp_path}/pid; exec sleep 60;; esac")
    golden = Path(__file__).resolve().parents[1] / "golden" / "inverted_residual"
    command = [sys.executable, "-m", "edgekd", "bench", str(golden), "--device", f"ssh:{server.address()}", "--store", str(tmp_path / "s")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert sshd.until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text().strip()))
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (128 + number, "", "edgekd: interrupted\n")
    assert sshd.until(lambda: not left(server)) and sshd.gone((tmp_path / "pid").read_text().strip())
