"""The commands that make students: exit codes, JSON, interruption."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekd import cli_build, runs
from edgekd.jobs import Request
from edgekd.plan.latency_store import measured
from tests.small_builds import edgekd, exported, recipe, with_checkpoint


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_json_is_all_that_stdout_holds(folder: Path) -> None:
    """In a process of its own: libraries that print would be seen."""
    where = recipe(folder / "recipe")
    command = [sys.executable, "-m", "edgekd", "build", str(where), "-t", "nucleo-l4r5zi", "--runs", str(folder / "runs"), "--json"]
    budgets = ["--budget", "model_bytes=60_000", "--budget", "accuracy_drop_pp=50"]
    done = subprocess.run([*command, "--threads", "1", *budgets], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["ok"] and "nucleo-l4r5zi: qat: done" in done.stderr
    limits = runs.read(Path(row["run"]), "plan").config["budgets"]
    assert limits["model_bytes"] == {"limit": 60000.0, "unit": "B", "source": "command line"}
    assert limits["accuracy_drop_pp"] == {"limit": 50.0, "unit": "pp", "source": "command line"}
    assert limits["peak_ram_bytes"]["source"] == "profile nucleo-l4r5zi"
    (stored,) = measured()
    assert (stored.runtime, stored.timed.latency_ms) == ("tflm", runs.read(Path(row["run"]), "measure").figures["latency_ms"].value)
    code, out, err = edgekd("verify", "--layers", row["run"], "--threads", "1")
    assert code == 0 and out.count("0 of ") == 3 and "on 8 images of the test set" in out, out + err


def test_plan(folder: Path) -> None:
    where = recipe(folder / "recipe")
    code, out, err = edgekd("plan", where, "-t", "nucleo-l4r5zi", "-t", "nano")
    assert (code, err) == (0, "") and "nucleo-l4r5zi" in out and "nano" in out
    code, out, _ = edgekd("plan", where, "-t", "pixel-8", "--json")
    assert code == 0 and json.loads(out)[0]["target"] == "pixel-8"
    code, out, err = edgekd("plan", where, "-t", "pixel-8", "--budget", "model_bytes=1000")
    assert (code, out) == (1, "") and "model_bytes" in err
    code, out, err = edgekd("build", where, "-t", "pixel-8", "--budget", "peak_ram_bytes=100", "--runs", folder / "runs")
    assert (code, out) == (1, "") and "peak_ram_bytes" in err and not (folder / "runs").exists()


def test_a_budget_exceeded_is_a_verdict(folder: Path) -> None:
    """A drop that no student keeps: built, and the answer is no."""
    where = recipe(folder / "recipe", {"learning_rate = 0.02": "learning_rate = 1e-9\nqat_learning_rate = 1e-9"})
    own = Path(f"{where}/teacher.safetensors")
    code, out, _ = edgekd("teach", with_checkpoint(where), "--threads", 1, "--json")
    assert code == 0 and own.exists()
    said = json.loads(out)
    (stored,) = (folder / "cache/edgekd/teach").glob("*/records/teach.json")
    assert said == json.loads(stored.read_text()) and said["stage"] == "teach" and said["environment"]["torch"]
    assert said["config"]["checkpoint"] == str(own) and said["config"]["schedule"]["epochs"] == 2 and said["figures"]["accuracy"]["n"] == 96
    assert said["files"] == {"teacher.safetensors": runs.sha256_file(own)}
    assert runs.read(stored.parents[1], "teach").body.figures["validation_accuracy"].n == 48
    code, out, _ = edgekd("build", where, "-t", "pixel-8", "--runs", folder / "runs", "--threads", 1)
    assert code == 1 and "NO" in out
    code, out, _ = edgekd("report", *(folder / "runs").iterdir(), "--json")
    (failure,) = json.loads(out)[0]["failures"]
    assert code == 1 and "pp below the teacher, 2 allowed" in failure


@pytest.mark.slow
@pytest.mark.parametrize("at", ["float: done", "qat: done"])
def test_interrupted(folder: Path, at: str) -> None:
    """Ctrl-C ends with 130 and the command that goes on, which gives what an undisturbed build gives."""
    where = recipe(folder / "recipe", {"qat_epochs = 1.5": "qat_epochs = 10"})
    words = ["build", str(where), "-t", "nucleo-l4r5zi", "--threads", "1", "--budget", "model_bytes=123456.75"]
    command = [sys.executable, "-m", "edgekd", *words, "--runs", str(folder / "runs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if at in line:
                break
        time.sleep(0.3)  # into the next stage
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err and "interrupted; to go on:" in err
    again = shlex.split(err.strip().splitlines()[-1])
    assert again[0] == "edgekd" and "--resume" in again
    code, _, err = edgekd(*again[1:])
    assert code == 0, err
    (run,) = (folder / "runs").iterdir()
    assert edgekd(*words, "--runs", folder / "others")[0] == 0
    assert exported(run) == exported(folder / "others" / run.name)


def test_the_command_that_resumes() -> None:
    """It names the same build: every digit of every limit, and whatever decides the bits."""
    request = Request("my recipe", ("pixel-8", "nano"), "best", 3, {"model_bytes": 1234567.0, "latency_ms": 0.1}, 2)
    assert cli_build._command(request, Path("runs")) == (
        "edgekd build 'my recipe' --target pixel-8 --target nano --preset best --seed 3 --runs runs --resume "
        "--budget model_bytes=1234567.0 --budget latency_ms=0.1 --threads 2"
    )
