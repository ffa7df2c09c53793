"""Whole builds with losses that tap: student, live teacher and the student itself; peers, averages, patience; what is logged of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mlflow.tracking import MlflowClient
from torch import nn

from edgekd import runs
from tests.small_builds import RECIPE, edgekd, exported, recipe

LOSSES = RECIPE[RECIPE.index("[[losses]]") : RECIPE.index("[views]")]
TAPPED = """\
[[losses]]
name = "cross_entropy"
weight = 0.7

[[losses]]
name = "soft_targets"
weight = 0.1
phase = "float"

[[losses]]
name = "hint"
weight = 0.1
student = "blocks.1"
teacher = "body.4.body"

[[losses]]
name = "tests.test_distillation:Bank"
weight = 0.1
student = ["blocks.0", "blocks.1.layers"]
teacher = "student:classifier"
phase = "PHASE"

"""
TARGET = "orin-nano"


class Bank(nn.Module):
    """A user's own loss: an exit at the first tap, taught by the student's head, and a memory of it."""

    def __init__(self, student: list[torch.Tensor], teacher: torch.Tensor, samples: int) -> None:
        super().__init__()
        self.exits = nn.ModuleList(nn.Linear(one.shape[1], teacher.shape[1]) for one in student)
        self.register_buffer("memory", torch.zeros(samples, teacher.shape[1]))

    def forward(self, student: list[torch.Tensor], teacher: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        found = [layer(one.mean((2, 3))) for layer, one in zip(self.exits, student, strict=True)]
        apart = torch.stack([(one - teacher).square().mean() for one in found]).sum()
        self.memory[indices] = found[0].detach()  # type: ignore[index,operator]
        return apart


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def build(where: Path, root: Path, *more: str) -> Path:
    code, out, error = edgekd(
        "build", where, "-t", TARGET, "--runs", root, "--threads", "1", "--budget", "accuracy_drop_pp=100", "--json", *more
    )
    assert code == 0, error
    return Path(json.loads(out)[0]["run"])


def tapped(folder: Path, changes: dict[str, str] | None = None, phase: str = "both") -> Path:
    return recipe(folder, {LOSSES: TAPPED.replace("PHASE", phase), **(changes or {})})


def test_a_build_whose_losses_tap_in_both_phases(tmp_path: Path) -> None:
    store = str(tmp_path / "mlruns")
    run = build(tapped(tmp_path / "recipe"), tmp_path / "runs", "--mlflow", store)
    assert all(verdict.ok for verdict in runs.read(run, "verify").body)
    history = {stage: runs.read(run, stage).body.history for stage in ("float", "qat")}
    assert set(history["float"][-1]["losses"]) == {"cross_entropy", "soft_targets", "hint", "Bank"}
    assert set(history["qat"][-1]["losses"]) == {"cross_entropy", "hint", "Bank"}
    assert history["float"][-1]["losses"]["hint"] < history["float"][0]["losses"]["hint"]
    assert all({"agreement", "images_per_s", "validation"} <= set(entry) for entry in (*history["float"], *history["qat"]))
    graph = json.loads((run / "graph" / "graph.json").read_text())
    assert "paths" not in graph["metadata"] and not any("exits" in t["name"] or "memory" in t["name"] for t in graph["tensors"])
    assert sorted(path.suffix for path in (run / "tensorboard").iterdir()) == [".float", ".qat"]
    client = MlflowClient(tracking_uri=store)
    (logged,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert logged.info.run_name == run.name
    assert logged.data.metrics["qat/validation"] == pytest.approx(history["qat"][-1]["validation"])
    trained = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.safetensors")}
    again = build(tapped(tmp_path / "again"), tmp_path / "others")
    assert exported(again) == exported(run)
    assert len(trained) == 2 and trained == {path: path.stat().st_mtime_ns for path in trained}, "found in the cache, not trained anew"
    assert sorted(path.suffix for path in (again / "tensorboard").iterdir()) == [".float", ".qat"], "what was found is logged as well"


def test_the_same_seed_gives_the_same_student_with_everything_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"batch = 8": "batch = 8\nema = 0.9\npatience = 3\npeers = 2"}
    files = []
    for name in ("a", "b"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        run = build(tapped(tmp_path / "recipe", changes), tmp_path / f"runs-{name}")
        files.append(exported(run))
    assert files[0] == files[1]
    assert all(verdict.ok for verdict in runs.read(run, "verify").body)
    assert "mutual" in runs.read(run, "float").body.history[-1]["losses"]
    assert "mutual" not in runs.read(run, "qat").body.history[-1]["losses"]


def test_intermediates_that_are_lost_are_taught_by_the_teacher_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = recipe(tmp_path / "recipe", {"[student]\n": "[intermediates]\ngenerations = 1\n\n[student]\n"})
    run = build(where, tmp_path / "runs")
    before = [one.sha256 for one in runs.read(run, "intermediates").body]
    (run / "intermediates" / "1" / "float.safetensors").unlink()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another cache"))
    build(where, tmp_path / "runs", "--resume")
    assert [one.sha256 for one in runs.read(run, "intermediates").body] == before


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({'student = "blocks.1"': 'student = "blocks.7"'}, "recipe, losses[2]: the student has no module 'blocks.7'"),
        ({'teacher = "body.4.body"': 'teacher = "body.conv"'}, "recipe, losses[2].teacher: the teacher has no module 'body.conv'"),
        ({'student = "blocks.1"': 'student = "stem.0"'}, "losses[2]: the quantized student has no module 'stem.0', which the captured"),
        ({'name = "hint"': 'name = "hint"\noptions = { wrong = 1 }'}, "recipe, losses[2].options: hint does not take these options"),
    ],
)  # fmt: skip
def test_what_cannot_be_tapped_is_said_before_anything_is_trained(tmp_path: Path, change: dict[str, str], expected: str) -> None:
    text = TAPPED.replace("PHASE", "qat")
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    where = recipe(tmp_path / "recipe", {LOSSES: text.replace('weight = 0.1\nstudent = "', 'weight = 0.1\nphase = "qat"\nstudent = "')})
    code, _, error = edgekd("build", where, "-t", TARGET, "--runs", tmp_path / "runs", "--threads", "1", "--budget", "accuracy_drop_pp=100")
    assert code == 2 and expected in " ".join(error.split()), error
    assert not list(tmp_path.rglob("float.state")) and not list(tmp_path.rglob("float.safetensors"))


def test_a_float_student_is_found_again_under_another_loss_of_the_quantized_phase(tmp_path: Path) -> None:
    first = build(tapped(tmp_path / "a", phase="qat"), tmp_path / "runs")
    changed = TAPPED.replace("PHASE", "qat").replace('weight = 0.1\nstudent = ["blocks.0"', 'weight = 0.2\nstudent = ["blocks.0"')
    third = build(recipe(tmp_path / "c", {LOSSES: changed}), tmp_path / "third")
    assert len(list((tmp_path / "cache" / "edgekd" / "float").iterdir())) == 1
    assert len(list((tmp_path / "cache" / "edgekd" / "qat").iterdir())) == 2
    assert exported(first) != exported(third)
