"""`edgekd bench --fleet` and the store, through the command line: eight devices on loopback, two of them faulty."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgekd.cli import app
from edgekd.cli_fleet import _command as command
from edgekd.plan.latency_store import measured
from tests.transports import sshd

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
QUICK = ("--seconds", "0.3")


def invoke(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Of the test's own: the store, and the times that teach the latency model."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGEKD_STORE")
    return tmp_path / "cache" / "edgekd"


def python(server: sshd.Server) -> None:
    """Its python3 is this one, with its runtimes."""
    (server.programs / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (server.programs / "python3").chmod(0o755)


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Devices of two OpenSSH servers, one of them behind a wire that is cut once while files are put there; none without sshd."""
    if sshd.missing():
        yield []
        return
    first, second = tmp_path / "first", tmp_path / "second"
    one = sshd.start(first)
    shutil.copytree(first / "home", second / "home")
    shutil.copy(first / "authorized_keys", second)
    other = sshd.start(second)
    with one.known_hosts.open("a") as file:
        file.write(f"[127.0.0.1]:{other.port} {other.host_key}\n")
    monkeypatch.setenv("HOME", str(one.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    python(one)
    python(other)
    with sshd.wire(one) as wire:
        wire.cut(20_000)
        yield [f"ssh:{one.address(wire.port)}", f"ssh:{other.address()}"]
    one.stop()
    other.stop()


def fleet(folder: Path, count: int, others: Sequence[str] = ()) -> Path:
    """``count`` devices; the third's folder is a file, at the sixth's port nothing listens; the last are ``others``."""
    (folder / "blocked").touch()
    devices = [f"host:{folder}/d{at}" for at in range(count - len(others))] + list(others)
    if count > 5:
        devices[2], devices[5] = f"host:{folder}/blocked", "ssh:nobody@127.0.0.1:1"
    lines = ["schema_version = 1", 'name = "lab"', "retries = 1", "wait_s = 0.01"]
    for at, device in enumerate(devices):
        lines += ["[[devices]]", f'name = "d{at}"', f'device = "{device}"']
    (folder / "lab.toml").write_text("\n".join(lines))
    return folder / "lab.toml"


@pytest.mark.alone
@pytest.mark.slow
def test_six_results_two_explained_failures_and_a_rerun_of_what_is_missing(tmp_path: Path, servers: list[str]) -> None:
    lab, model, again = fleet(tmp_path, 8, servers), GOLDEN / "inverted_residual", ()
    for _ in range(4):  # other tests may disturb it for so long that a device's times are rejected twice
        code, out, err = invoke("bench", model, "--fleet", lab, *QUICK, "--json", *again)
        document = json.loads(out)
        if "rejected: " not in out:
            break
        again = ("--again",)
    states = {one["device"]: one["state"] for one in document["outcomes"]}
    assert code == 1 and not document["ok"]
    assert [name for name, state in states.items() if state == "failed"] == ["d2", "d5"], (states, err)
    assert list(states.values()).count("done") == 6
    tries = {one["device"]: one["tries"] for one in document["outcomes"]}
    assert not servers or again or tries["d6"] > 1, "the wire was cut once, and tried again"
    failed = {one["device"]: one for one in document["outcomes"] if one["state"] == "failed"}
    assert "no work folder can be made" in failed["d2"]["failed"] and tries["d2"] == 1
    assert failed["d5"]["failed"].startswith("tried 2 times: ssh nobody@127.0.0.1:1:") and "to mend:" in failed["d5"]["failed"]
    assert "tries what failed, and only that: d2, d5" in err

    (tmp_path / "blocked").unlink()
    for _ in range(4):  # what was rejected is missing still, and so is tried again
        code, out, err = invoke("bench", model, "--fleet", lab, *QUICK)
        if "rejected: " not in out + err:
            break
    assert code == 1 and "lab: 8 devices: 1 measured, 6 there already, 1 failed" in out, err
    stored = json.loads(invoke("results", "list", "--json", "--newest")[1])
    assert sorted(one["label"] for one in stored if one["ok"]) == ["d0", "d1", "d2", "d3", "d4", "d6", "d7"]
    assert all(one["figures"]["bit_equal"]["value"] == 1 and one["row"] == "litert_xnnpack" for one in stored if one["ok"])
    code, out, _ = invoke("results", "compare", "d0", "d7")
    assert code == 0 and [line.split()[2] for line in out.splitlines()[1:]] == ["d0", "d7"]
    (one,) = measured()
    assert one.runtime == "litert_xnnpack"


@pytest.mark.alone
@pytest.mark.slow
def test_one_device_is_stored_too_and_a_second_model_is_predicted(tmp_path: Path) -> None:
    (tmp_path / "device").mkdir()
    device = f"host:{tmp_path / 'device'}"  # its own lock: another test may be measuring on this machine
    for name in ("inverted_residual", "branches_per_tensor"):
        for _ in range(5):  # other tests may disturb it, which it says, and that is no measurement
            code, out, err = invoke("bench", GOLDEN / name, "--device", device, *QUICK, "--store", tmp_path / "mine.sqlite")
            if "rejected: " not in out + err:
                break
        assert code == 0, out + err
    stored = json.loads(invoke("results", "list", "--json", "--store", tmp_path / "mine.sqlite")[1])
    stored = [one for one in stored if one["ok"]]
    assert [one["model"] for one in stored] == ["inverted_residual", "branches_per_tensor"]
    assert stored[0]["device"] == device and stored[0]["figures"]["latency_ms"]["kind"] == "measured" and stored[0]["document"]["notes"]
    (said,) = json.loads(invoke("results", "calibration", "--json", "--store", tmp_path / "mine.sqlite")[1])
    assert said["model"] == "branches_per_tensor" and said["predicted"]["kind"] == "predicted"


def test_what_the_fleets_file_decides_is_refused_beside_it(tmp_path: Path) -> None:
    code, _, err = invoke("bench", GOLDEN / "inverted_residual", "--fleet", fleet(tmp_path, 1), "--device", "host")
    assert code == 2 and "devices and targets in" in err and "lab.toml" in err
    code, _, err = invoke("bench", GOLDEN / "inverted_residual", "--fleet", tmp_path / "nothing.toml")
    assert code == 2 and "no such file" in err
    code, _, err = invoke("bench", GOLDEN / "inverted_residual", GOLDEN / "inverted_residual", "--fleet", fleet(tmp_path, 1))
    assert code == 2 and "the same model twice" in err
    code, _, err = invoke("bench", tmp_path / "missing.tflite", "--fleet", fleet(tmp_path, 1))
    assert code == 2 and "missing.tflite" in err


def test_a_store_that_cannot_be_opened_is_told_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database: " * 100)
    code, _, err = invoke("bench", GOLDEN / "inverted_residual", "--device", "host", "--store", tmp_path / "text")
    assert code == 2 and "file is not a database" in err


def test_no_password_in_the_command_that_goes_on() -> None:
    said = command(
        ["bench", "m", "--store", "postgresql://me:s@c/ret@db/x?sslpassword=secret&sslmode=require", "--store=postgresql://db/x"]
    )
    assert said == "edgekd bench m --store 'postgresql://me:***@db/x?sslpassword=***&sslmode=require' --store=postgresql://db/x"


def test_options_that_would_do_nothing_are_refused() -> None:
    model = GOLDEN / "inverted_residual"
    code, out, err = invoke("bench", model, "--device", "host", "--again")
    assert code == 2 and "expected: --fleet beside it" in err and not out
    code, _, err = invoke("bench", model, "--device", "host", "--meter", "it's 5")
    assert code == 2 and "--meter: " in err and "No closing quotation" in err
