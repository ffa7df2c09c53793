"""`edgekd bench`: what it prints, its exit codes, and the record of a run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgekd import runs
from edgekd.cli import app
from edgekd.cli_bench import _short
from edgekd.export import EXPORTERS
from edgekd.lazy import load
from edgekd.quant import io
from edgekd.records import Measurement, Plan, Record
from tests.mcu.tools import needs_gcc, needs_qemu

GOLDEN = Path(__file__).resolve().parent / "golden" / "inverted_residual"


def _invoke(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["bench", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def _undisturbed(*arguments: object) -> tuple[int, str, str]:
    """Measured again, a few times, where edgekd says that other work on the machine disturbed the times."""
    for _ in range(5):
        done = _invoke(*arguments)
        if "rejected: background load" not in done[2]:
            break
    return done


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Times on this host teach the latency model: not the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    with np.load(GOLDEN / "inputs.npz") as file:
        x = next(iter(file.values()))[:8]
    np.savez(tmp_path / "samples.npz", x=x, y=np.zeros(len(x), np.int64))
    return tmp_path / "samples.npz"


@needs_qemu
def test_the_table_says_of_each_figure_what_it_is(samples: Path) -> None:
    code, out, err = _invoke(GOLDEN, "--target", "nrf52840dk", "--samples", samples)
    assert code == 0, err
    lines = {line[:30].strip(): line for line in out.splitlines()}
    assert lines["instructions an inference"].endswith("emulated") and lines["milliseconds"].endswith("predicted")
    assert lines["flash of the model, B"].endswith("counted") and "8 of 8" in lines["samples equal to the reference"]
    assert lines["accuracy"].endswith("emulated") and " of 8 (" in lines["accuracy"]
    assert "instructions of each layer" in out and "TFLM" in out and "no measurement" in out


@needs_qemu
def test_json_is_one_document_and_what_was_built_is_kept(samples: Path, tmp_path: Path) -> None:
    keep = tmp_path / "keep"
    code, out, _ = _invoke(GOLDEN, "--target", "nucleo-h7a3zi", "--samples", samples, "--json", "--keep", keep)
    document = json.loads(out)
    assert code == 0 and document["ok"] and document["target"] == "nucleo-h7a3zi"
    (row,) = document["bench"]["rows"]
    assert "latency_ms" not in row["measurement"]["figures"] and row["layers"][0]["value"] > 0
    assert any("is not modelled" in note for note in document["bench"]["notes"])
    assert list((keep / "portable").glob("*.elf")) and list((keep / "portable").glob("*.map")) and list((keep / "portable").glob("*.ld"))


@needs_qemu
def test_of_a_run_the_record_is_written(samples: Path, tmp_path: Path) -> None:
    run = runs.create(tmp_path, "mine", "nrf52840dk", {"any": 1})
    runs.write(run, Record("plan", {}, {}, {}, Plan("nrf52840dk", "inverted_residual", {}, {}, (), 1)))
    (run / "graph").mkdir()
    for name in ("graph.json", "weights.safetensors"):
        shutil.copy(GOLDEN / name, run / "graph" / name)
    code, out, err = _invoke(run, "--target", "nrf52840dk", "--samples", samples)
    assert code == 0 and str(run / "records" / "bench-qemu.json") in out, err
    record = runs.read(run, "bench-qemu")
    assert [type(one) for one in record.body] == [Measurement] and record.figures["instructions"].kind == "emulated"
    assert record.config == {"target": "nrf52840dk", "device": "qemu", "kernels": ["portable"], "inputs": "8 samples of samples.npz"}
    with runs.lock(run):
        code, out, err = _invoke(run, "--target", "nrf52840dk", "--samples", samples)
    assert code == 0 and "instructions" in out and "note: not recorded in the run: " in out and "is writing this run" in out, err


@needs_gcc
def test_a_target_that_is_too_small_is_exit_code_1(tmp_path: Path, repository: Path) -> None:
    text = (repository / "targets" / "mcu" / "nrf52840dk.toml").read_text()
    small = text.replace('"nrf52840dk"', '"small"').replace("flash_bytes = 1_048_576", "flash_bytes = 8_192")
    small = "\n".join("model_bytes = 4_096" if line.startswith("model_bytes") else line for line in small.splitlines())
    (tmp_path / "small.toml").write_text(small)
    code, out, err = _invoke(GOLDEN, "--target", tmp_path / "small.toml")
    assert code == 1 and not out
    too_many, needed, there = map(int, re.findall(r"flash: (\d+) B too many; (\d+) B needed \(.*\), (\d+) B there", err)[0])
    assert too_many + there == needed and there == 8192
    assert (
        "does not fit small" in err and "B too many" in err and "largest layers, by weights: " in err and "nearest fit: nrf52840dk" in err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "nrf52840dk", "--device", "abacus"), "--device: no device is called 'abacus'\n  expected: host, "),
        ((), "--target: no target"),
        (("--target", "nrf52840dk", "--kernels", ","), "--kernels: no set of kernels"),
        (("--target", "no-such-board"), "no target is called 'no-such-board'"),
        (("--target", "pixel-8"), "pixel-8: the target has no flash"),
        (("--target", "nrf52840dk", "--keep", __file__), f"{__file__}: File exists"),
        (("--target", "nrf52840dk", "--kernels", "portable,../x"), "--kernels: kernels '../x'\n  expected: portable, cmsis, cmsis-nn"),
        (("--target", "nrf52840dk", "--seconds", "inf"), "less than or equal to 86400"),
    ],
)
def test_what_cannot_be_done_is_exit_code_2_and_one_message(arguments: tuple[str, ...], message: str) -> None:
    code, out, err = _invoke(GOLDEN, *arguments)
    assert code == 2 and not out and message in err and "Traceback" not in err


@needs_qemu
def test_a_folder_may_be_called_as_anything(samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comma would end an argument of the linker, a dash begin one of the compiler, and model_ is how the script tells the model."""
    monkeypatch.chdir(tmp_path)
    found = []
    for keep in ("plain", "-a, b/model_c"):
        code, out, err = _invoke(GOLDEN, "--target", "nrf52840dk", "--samples", samples, "--json", f"--keep={keep}")
        assert code == 0, err
        found.append({name: f["value"] for name, f in json.loads(out)["bench"]["rows"][0]["measurement"]["figures"].items()})
    assert found[0] == found[1] and "cycles" in found[0]


def test_names_do_not_steer_a_terminal() -> None:
    assert _short("a\x1b[2J\nb") == "a\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}b" and _short("é conv/1") == "é conv/1"


def test_two_at_once_do_not_share_a_folder(tmp_path: Path) -> None:
    with runs.lock(tmp_path):
        code, out, err = _invoke(GOLDEN, "--target", "nrf52840dk", "--keep", tmp_path)
    assert code == 2 and not out and f"--keep {tmp_path}: another bench writes there" in err


@needs_gcc
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 0", "qemu-system-arm ended without an answer of the firmware on netduinoplus2"),
        ("kill -9 $$", "the firmware stopped on netduinoplus2 with -9: QEMU was ended by SIGKILL"),
        ("echo of something else, long enough for a head > edgekd.out", "the firmware answered b'of something els'"),
    ],
)
def test_an_emulator_that_fails_is_exit_code_2(script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "qemu-system-arm"
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exit 0\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code, out, err = _invoke(GOLDEN, "--target", "nrf52840dk", "--json")
    assert code == 2 and not out and message in err and "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == [program.name], "no temporary folders"


def test_help_names_the_devices_and_the_exit_code() -> None:
    code, out, _ = _invoke("--help")
    assert code == 0 and "Exit code 1" in out and "qemu" in out and "arm-none-eabi-gcc" in out


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A model's own file."""
    return tmp_path / load(EXPORTERS["tflite"])(io.load(GOLDEN), tmp_path).path


@pytest.mark.alone
def test_on_this_host_a_file_needs_no_target_and_says_how_sure_it_is(file: Path, samples: Path, tmp_path: Path) -> None:
    arguments = (
        file,
        "--device",
        f"host:{tmp_path / 'device'}",
        "--samples",
        samples,
        "--seconds",
        0.3,
        "--store",
        tmp_path / "store.sqlite",
    )
    code, out, err = _undisturbed(*arguments)
    assert code == 0, err
    lines = {line[:30].strip(): line for line in out.splitlines()}
    assert out.startswith("model, 8 samples of samples.npz\n")
    assert "–" in lines["milliseconds"] and lines["milliseconds"].endswith("measured")
    assert "8 of 8" in lines["samples equal to the reference"] and "accuracy" in lines and "cold start, milliseconds" in lines


@pytest.mark.alone
def test_two_files_take_turns_and_json_says_whether_they_differ(file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / "b.tflite")
    arguments = ("--device", f"host:{tmp_path / 'device'}", "--seconds", 0.3)
    code, out, err = _undisturbed(file, tmp_path / "b.tflite", *arguments, "--json")
    document = json.loads(out)
    assert code == 0 and document["ok"], err
    assert document["different"] in (True, False) and document["bench"]["figures"]["latency_ratio"]["unit"] == "ratio"
    assert [row["name"] for row in document["bench"]["rows"]] == ["model.tflite", "b.tflite"]
    ratio = document["bench"]["figures"]["latency_ratio"]
    assert ratio["low"] <= ratio["value"] <= ratio["high"]


def test_another_models_file_is_exit_code_1(file: Path, tmp_path: Path) -> None:
    other = io.load(GOLDEN.parent / "branches_per_tensor")
    (tmp_path / "other").mkdir()
    wrong = tmp_path / "other" / load(EXPORTERS["tflite"])(other, tmp_path / "other").path
    code, _, err = _invoke(
        wrong, "--reference", GOLDEN, "--device", f"host:{tmp_path / 'device'}", "--seconds", 0.3, "--store", tmp_path / "s"
    )
    assert code in (1, 2) and ("computes something else" in err or "Dimension mismatch" in err or "the same shape" in err), err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--device", "qemu", "--target", "nrf52840dk"), "--device qemu: two models\n  expected: one; two on host, ssh"),
        (("{model}", "--device", "host"), "edgekd bench: 3 models\n  expected: one, or two to compare"),
        (("--device", "host", "--kernels", "cmsis"), "--kernels"),
    ],
)
def test_what_two_models_cannot_do(file: Path, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = _invoke(file, file, *(one.format(model=file) for one in arguments))
    assert code == 2 and not out and message in err, err


@pytest.mark.alone
def test_an_openvino_file_needs_the_model_that_it_must_compute(samples: Path, tmp_path: Path) -> None:
    path = tmp_path / load(EXPORTERS["openvino"])(io.load(GOLDEN), tmp_path).path
    common = (path, "--device", f"host:{tmp_path / 'device'}", "--samples", samples, "--seconds", 0.3)
    code, _, err = _invoke(*common)
    assert code == 2 and "--reference RUN, or the .onnx or .tflite file" in err
    code, out, err = _undisturbed(*common, "--reference", GOLDEN)
    assert code == 0 and "8 of 8" in out, err


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--sustained", "inf", "less than or equal to 86400"),
        ("--sustained", "nan", "'--sustained'"),
        ("--seconds", "nan", "'--seconds'"),
        ("--threads", "1000000", "less than or equal to 1024"),
        ("--meter", "'", '--meter: "\'": No closing quotation\n  expected: a command as a shell reads it'),
    ],
)
def test_numbers_that_would_never_end_or_take_the_machine_down_are_refused(option: str, value: str, said: str) -> None:
    code, out, err = _invoke(GOLDEN, "--device", "host", option, value)
    assert code == 2 and said in err and "Traceback" not in out + err


def test_names_of_files_do_not_steer_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "red\x1b[31m\n.tflite"
    file.write_bytes(b"none")
    done = CliRunner().invoke(app, ["bench", str(file), "--device", "host"], color=True)
    assert done.exit_code == 2 and "red\N{REPLACEMENT CHARACTER}[31m" in done.stderr and "\x1b" not in done.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_bench_that_is_told_to_end_leaves_nothing_behind(samples: Path, tmp_path: Path, number: signal.Signals) -> None:
    device, own = tmp_path / "device", tmp_path / "own"
    own.mkdir()
    command = [sys.executable, "-m", "edgekd", "bench", str(GOLDEN), "--device", f"host:{device}", "--samples", str(samples)]
    environment = {**os.environ, "TMPDIR": str(own)}
    process = subprocess.Popen([*command, "--seconds", "60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    until = time.monotonic() + 60
    while not list(device.glob("edgekd-*/m0.log")) and time.monotonic() < until:  # the first process of the model
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number and err == "edgekd: interrupted\n" and not out
    assert not list(device.iterdir()) and not list(own.iterdir())


def test_a_file_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.tflite"))
    file.write_bytes(b"none")
    code, out, err = _invoke(file, "--device", "host")
    assert (code, out) == (2, "") and err.endswith(
        "b\N{REPLACEMENT CHARACTER}.tflite: its name is no text\n  expected: a name in UTF-8\n  to mend:  rename it\n"
    )
