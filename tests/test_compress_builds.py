"""Builds of students that are compressed: plan, float training, rounds, quantized training, export and proof, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from edgekd import runs
from edgekd.quant import io, size
from tests.small_builds import edgekd, recipe

NAME = "student.safetensors"
LOOSE = ("--budget", "accuracy_drop_pp=100")
STUDENT = """
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    def __init__(self, channels, classes, width):
        super().__init__()
        self.stem, self.norm1 = nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width)
        self.one, self.norm2 = nn.Conv2d(width, 2 * width, 3, 1, 1, bias=False), nn.BatchNorm2d(2 * width)
        self.two, self.norm3 = nn.Conv2d(2 * width, width, 1, bias=False), nn.BatchNorm2d(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = functional.relu(self.norm1(self.stem(x)))
        x = x + self.norm3(self.two(functional.relu(self.norm2(self.one(x)))))
        return self.head(functional.relu(x).mean((2, 3)))


def net(*, channels, classes, width=32):
    return Net(channels, classes, width)
"""
FAMILY = """family = "inverted_residual"
options = { stem = 8, widths = [8, 12], blocks = [1, 2], strides = [1, 2], stem_stride = 2, expansion = 2 }

[student.space]
width = [0.5, 1.0]
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user's module on the Python path, with a student."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    name = f"compressed_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(STUDENT)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def written(folder: Path, module: str, table: str, options: str = "width = 32", space: str = "") -> Path:
    student = f'family = "{module}:net"\noptions = {{ {options} }}\n{space}'
    return recipe(folder, {FAMILY: student, "[views]": f"[compress]\n{table}\n\n[views]", "float_epochs = 3.5": "float_epochs = 1.5"})


def built(where: Path, *more: str) -> tuple[Path, dict[str, Any]]:
    code, out, err = edgekd(
        "build", where, "--target", "nucleo-l4r5zi", "--runs", where / "runs", *LOOSE, "--json", "--threads", "1", *more
    )
    assert code == 0, err
    found = json.loads(out)[0]
    return Path(found["run"]), found


def planned(where: Path, *more: str) -> dict[str, Any]:
    code, out, err = edgekd("plan", where, "--target", "nucleo-l4r5zi", "--json", *more)
    assert code == 0, err
    found = json.loads(out)
    return found[0] if isinstance(found, list) else found


@pytest.mark.slow
def test_channels_are_pruned_distilled_and_proven(module: str, tmp_path: Path) -> None:
    table = 'method = "channels"\nmacs = 0.5\nsteps = 2\nsamples = 64\nepochs = 1.0'
    run, _ = built(written(tmp_path / "recipe", module, table))
    plan, float_, verify = (runs.read(run, stage) for stage in ("plan", "float", "verify"))
    graph = io.load(run / "graph")
    assert plan.body.spec["compress"] == {"method": "channels", "macs": 0.5, "planes": 1}
    assert (size.macs(graph), size.parameters(graph)) == (plan.figures["macs"].value, plan.figures["parameters"].value), "as planned"
    assert all(v.ok for v in verify.body)
    assert {entry["phase"] for entry in float_.body.history} == {"compress1", "compress2"}
    assert "uncompressed_validation_accuracy" in float_.figures
    before, after = load_file(run / "uncompressed" / "float.safetensors"), load_file(run / "float.safetensors")
    assert before["one.weight"].shape == (64, 32, 3, 3) and len(after["one.weight"]) < 64
    assert edgekd("verify", run)[0] == 0
    again, _ = built(tmp_path / "recipe", "--resume")
    assert again == run


@pytest.mark.slow
def test_channels_that_fit_a_budget(module: str, tmp_path: Path) -> None:
    where = written(tmp_path / "recipe", module, 'method = "channels"\nmacs = "fit"')
    free = planned(where)
    assert free["spec"]["compress"]["macs"] == 1.0, "what fits whole stays whole"
    whole = free["figures"]["macs"]["value"]
    limit = int(0.43 * whole)
    found = planned(where, "--budget", f"max_macs={limit}")
    assert 0.36 * whole < found["figures"]["macs"]["value"] <= limit
    small = planned(where, "--budget", f"model_bytes={int(0.6 * free['figures']['model_bytes']['value'])}")
    assert small["figures"]["model_bytes"]["value"] <= 0.6 * free["figures"]["model_bytes"]["value"]
    code, _, err = edgekd("plan", where, "--target", "nucleo-l4r5zi", "--budget", "max_macs=100")
    assert code == 1 and "max_macs binds" in err


@pytest.mark.slow
def test_a_checkpoint_is_compressed_without_its_training(module: str, tmp_path: Path) -> None:
    first, _ = built(written(tmp_path / "first", module, 'method = "low_rank"\nrank = 0.25\nepochs = 0.5'))
    state = load_file(first / "float.safetensors")
    assert state["two.0.weight"].shape == (8, 64, 1, 1), "64 x 32 of rank 8"
    where = written(tmp_path / "second", module, 'method = "sparsity"\npattern = "2:4"\nepochs = 0.5\ncheckpoint = "student.safetensors"')
    code, _, err = edgekd("plan", where, "--target", "nucleo-l4r5zi")
    assert code == 2 and "student.safetensors is no file" in err
    (where / NAME).write_bytes((first / "uncompressed" / "float.safetensors").read_bytes())
    run, _ = built(where)
    assert not (run / "uncompressed").exists()
    plan = runs.read(run, "plan").body
    assert any("only the compressed file becomes smaller" in note for note in plan.notes)
    assert runs.read(run, "float").figures["zeros"].value > 0.4
    graph = io.load(run / "graph")
    large = [t.data for t in graph.tensors.values() if t.data is not None and t.dtype == "int8" and t.data.size >= 1024]
    assert len(large) == 2 and all((data == 0).mean() >= 0.5 for data in large)
    save_file({name: tensor for name, tensor in load_file(where / NAME).items() if name != "head.bias"}, where / NAME)
    code, _, err = edgekd("build", where, "--target", "nucleo-l4r5zi", "--runs", tmp_path / "other", *LOOSE)
    assert code == 2 and "does not fit Net" in err and "Traceback" not in err
