"""The commands that make students: exit codes, JSON, interruption, and what they say of bad recipes and data."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from edgekd import cli_build, runs
from edgekd.jobs import Request
from tests.small_builds import edgekd, exported, pictures, recipe

OWN = """\
import torch
from torch import nn


def good(*, channels, classes, width=4):
    return nn.Sequential(nn.Conv2d(channels, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def fails(*, classes):
    raise RuntimeError("no licence for this one")


def nonsense():
    return 42


def too_many(*, channels, classes):
    return good(channels=channels, classes=classes + 2)


class Twofold(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return {"logits": self.inner(x), "input": x}


def twofold(*, channels, classes):
    return Twofold(good(channels=channels, classes=classes))


class Moody(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) if x.sum() > 0 else self.inner(-x)


def moody(*, channels, classes):
    return Moody(good(channels=channels, classes=classes))


def sorted_(*, channels, classes):
    class Sorted(Moody):
        def forward(self, x):
            return self.inner(torch.sort(x, dim=-1)[0])

    return Sorted(good(channels=channels, classes=classes))


def no_loss(student, teacher, labels):
    return student


def broken_loss(student, teacher, labels):
    return student @ labels
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def refused(*arguments: str | Path) -> str:
    """The message of a command that could not be done as asked."""
    code, out, err = edgekd(*arguments)
    assert (code, out) == (2, ""), (code, out, err)
    assert err.startswith("edgekd: ") and "Traceback" not in err
    return err


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
    code, out, _ = edgekd("teach", _with_checkpoint(where), "--threads", 1, "--json")
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


def _with_checkpoint(where: Path) -> Path:
    text = (where / "recipe.toml").read_text()
    schedule = "[teacher.schedule]\nepochs = 2\nbatch = 16\n\n[student]"
    text = text.replace("options = { width = 4 }", 'options = { width = 4 }\ncheckpoint = "teacher.safetensors"').replace(
        "[student]", schedule, 1
    )
    (where / "recipe.toml").write_text(text)
    return where


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


def test_wrong_options(folder: Path) -> None:
    where = recipe(folder / "recipe")
    assert "perhaps pixel-8" in refused("plan", where, "-t", "pixel8")
    assert "no preset is called 'dmo'" in (said := refused("plan", where, "-t", "pixel-8", "--preset", "dmo")) and "--preset demo" in said
    for budget in ("model_bytes", "=3", "model_bytes=many", "model_bytes="):
        assert "NAME=LIMIT" in refused("plan", where, "-t", "pixel-8", "--budget", budget)
    assert "there is no budget 'flash'" in refused("plan", where, "-t", "pixel-8", "--budget", "flash=3")
    for limit in ("nan", "inf", "-1", "0"):
        assert "expected: a positive number of B" in refused("plan", where, "-t", "pixel-8", "--budget", f"model_bytes={limit}")
    assert "nucleo-l4r5zi" in refused("plan", where, "-t", "nucleo-l4r5z")
    assert "recipe.toml" in refused("plan", folder, "-t", "pixel-8")


def test_wrong_checkpoints(folder: Path) -> None:
    where = _with_checkpoint(recipe(folder / "recipe"))
    file = where / "teacher.safetensors"

    def said() -> str:
        return refused("build", where, "-t", "pixel-8", "--runs", folder / "runs")

    assert "does not exist" in (missing := said()) and f"edgekd teach {where}" in missing
    file.write_bytes(b"not a checkpoint at all")
    assert "no readable checkpoint" in said()
    save_file({"0.0.weight": torch.zeros(3)}, file)
    assert "the checkpoint belongs to another teacher" in said()
    from edgekd.teachers.residual_cnn import residual_cnn

    save_file(residual_cnn(channels=1, classes=7, width=4).state_dict(), file)
    assert "the checkpoint belongs to another teacher" in (said_ := said()) and "size mismatch" in said_


def _own(folder: Path) -> str:
    module = "mine_" + "".join(c if c.isalnum() else "_" for c in folder.name)
    (folder / f"{module}.py").write_text(OWN)
    return module


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("fails", "raised RuntimeError: no licence for this one"),
        ("nonsense", "returned a int"),
        ("nothing", "has no 'nothing'"),
        ("too_many", "the student answers [1, 6] for one image"),
        ("twofold", "the student returns a dict"),
        ("moody", "torch.export cannot capture the student"),
        ("sorted_", "operator aten.sort.default is not supported"),
        ("OWN", "has no 'OWN'"),
        ("torch", "is a module"),
    ],
)
def test_wrong_students(folder: Path, function: str, expected: str) -> None:
    module = _own(folder)
    where = recipe(folder / "recipe", _student(f"{module}:{function}"))
    assert expected in refused("plan", where, "-t", "pixel-8")


def _student(name: str, options: str = "") -> dict[str, str]:
    return {
        'family = "inverted_residual"\noptions = { stem = 8, widths = [8, 12], blocks = [1, 2], strides = [1, 2], stem_stride = 2, '
        "expansion = 2 }": f'family = "{name}"\noptions = {{ {options} }}',
        "[student.space]\nwidth = [0.5, 1.0]\n": "",
    }


def test_a_student_that_takes_other_options(folder: Path) -> None:
    module = _own(folder)
    where = recipe(folder / "recipe", _student(f"{module}:good", "depth = 3"))
    assert "does not take these options" in (said := refused("plan", where, "-t", "pixel-8")) and "(*, channels, classes, width=4)" in said
    where = recipe(folder / "recipe", {"width = [0.5, 1.0]": "wdth = [0.5, 1.0]"})
    assert "'wdth' is not an option of inverted_residual" in refused("plan", where, "-t", "pixel-8")
    where = recipe(folder / "recipe", _student("not_there_at_all:student"))
    assert "module 'not_there_at_all' is not to be found" in refused("plan", where, "-t", "pixel-8")


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("fails", "raised RuntimeError: no licence for this one"),
        ("nonsense", "does not take these options"),
        ("too_many", "answers [2, 6] for 2 images"),
        ("twofold", "raised AttributeError"),
    ],
)
def test_wrong_teachers(folder: Path, function: str, expected: str) -> None:
    module = _own(folder)
    options = "" if function != "nonsense" else "width = 4"
    where = recipe(folder / "recipe", {'"residual_cnn"\noptions = { width = 4 }': f'"{module}:{function}"\noptions = {{ {options} }}'})
    assert expected in refused("build", where, "-t", "pixel-8", "--runs", folder / "runs")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({'"soft_targets"': '"soft_target"'}, "perhaps 'soft_targets'"),
        ({'"soft_targets"': '"MINE:no_loss"'}, "returned tensor("),
        ({'"soft_targets"': '"MINE:broken_loss"'}, "broken_loss raised RuntimeError"),
        ({"weight = 0.1": "weight = 0.1\noptions = { temprature = 3 }"}, "does not take these options"),
    ],
)
def test_wrong_losses(folder: Path, changes: dict[str, str], expected: str) -> None:
    module = _own(folder)
    where = recipe(folder / "recipe", {old: new.replace("MINE", module) for old, new in changes.items()})
    assert expected in refused("build", where, "-t", "pixel-8", "--runs", folder / "runs")


def test_wrong_data(folder: Path) -> None:
    where = recipe(folder / "recipe")
    x, y = pictures(64, 0)
    np.savez(where / "data.npz", x_train=x, y_train=np.zeros_like(y), x_test=x, y_test=np.zeros_like(y))
    assert "one class only" in refused("plan", where, "-t", "pixel-8")
    (where / "data.npz").unlink()
    assert "does not exist" in refused("plan", where, "-t", "pixel-8")
    where = recipe(folder / "recipe", {"mean = [0.5]\nstd = [0.25]": "mean = [0.5, 0.5, 0.5]\nstd = [1, 1, 1]"})
    assert "3 values for images of 1 channels" in refused("plan", where, "-t", "pixel-8")


def test_where_nothing_can_be_written(folder: Path) -> None:
    where = recipe(folder / "recipe")
    (folder / "a file").write_text("")
    assert "a file" in refused("build", where, "-t", "pixel-8", "--runs", folder / "a file")
    if os.geteuid():  # root may write everywhere
        (folder / "shut").mkdir(mode=0o500)
        assert "Permission denied" in refused("build", where, "-t", "pixel-8", "--runs", folder / "shut")


def test_a_full_disk(folder: Path) -> None:
    """A real limit on the size of files: the training's own state cannot be written."""
    where = recipe(folder / "recipe")
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); import edgekd.cli; edgekd.cli.main()"
    )
    words = ["build", str(where), "-t", "pixel-8", "--threads", "1", "--runs", str(folder / "runs")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "") and "Traceback" not in done.stderr, done.stderr
    assert "File too large" in done.stderr
