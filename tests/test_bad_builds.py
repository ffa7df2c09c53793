"""What the commands that make students say of bad options, recipes, code, data and disks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.small_builds import edgekd, pictures, recipe, with_checkpoint

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
    where = with_checkpoint(recipe(folder / "recipe"))
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
