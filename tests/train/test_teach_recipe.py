"""``edgekd teach`` where a recipe has several teachers: each of its own task, each once."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from edgekd.data.dataset import Dataset, Split, Task
from edgekd.train.teach_recipe import labeled
from tests.small_builds import RECIPE, TWO_TASKS, edgekd, recipe, two_tasks

SCHEDULE = "std = [0.25]\nschedule = { epochs = 4, batch = 16 }\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def taught(folder: Path) -> Path:
    """Two tasks, a teacher of each with a checkpoint of its own."""
    (new,) = (text for old, text in TWO_TASKS.items() if old.startswith("[teacher]"))
    for task in ("shape", "light"):
        new = new.replace(f'task = "{task}"', f'task = "{task}"\ncheckpoint = "{task}.safetensors"')
    (old,) = (old for old in TWO_TASKS if old.startswith("[teacher]"))
    return two_tasks(folder, {old: new.replace("std = [0.25]\n", SCHEDULE)})


def test_each_teacher_learns_its_task_and_is_found_again(tmp_path: Path) -> None:
    where = taught(tmp_path / "recipe")
    code, out, error = edgekd("teach", where, "--threads", "1", "--json")
    assert code == 0, error
    records = {Path(r["config"]["checkpoint"]).stem: r["figures"]["accuracy"] for r in json.loads(out)}
    assert set(records) == {"shape", "light"}
    assert records["shape"]["value"] > 0.6 and records["light"]["value"] > 0.8
    (where / "light.safetensors").unlink()
    code, out, error = edgekd("teach", where, "--threads", "1")
    assert code == 0 and out.count("test images") == 1 and "light.safetensors" in out, error
    code, out, error = edgekd("teach", where, "--threads", "1")
    assert code == 2 and "there is a trained teacher already" in error and "shape.safetensors" in error


def test_one_teacher_is_recorded_as_ever(tmp_path: Path) -> None:
    change = {RECIPE[RECIPE.index("mean =") : RECIPE.index("[student]")]: f'mean = [0.5]\ncheckpoint = "t.safetensors"\n{SCHEDULE}\n'}
    code, out, _ = edgekd("teach", recipe(tmp_path / "recipe", change), "--threads", "1", "--json")
    assert code == 0 and json.loads(out)["config"]["checkpoint"].endswith("t.safetensors")


def test_only_labeled_samples_and_the_tasks_own_labels() -> None:
    x, y = np.zeros((4, 2, 2, 1), np.uint8), np.array([[0, -1], [1, 2], [-1, 0], [0, 1]])
    heads = (Task("kind", ("a", "b")), Task("size", ("s", "m", "l")))
    whole = Split(x, np.abs(y))
    data = Dataset("two", Split(x, y), whole, whole, ("a", "b"), heads)
    kind, size = labeled(data, 0), labeled(data, 1)
    assert kind.train.y.tolist() == [0, 1, 0] and size.train.y.tolist() == [2, 0, 1]
    assert size.labels == ("s", "m", "l") and size.validation.y.tolist() == [1, 2, 0, 1] and len(size.heads) == 1
    one = Dataset("one", Split(x, np.abs(y[:, 0])), *(Split(x, np.abs(y[:, 0])),) * 2, ("a", "b"))
    assert labeled(one, 0) is one


def test_a_teacher_that_reads_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def split(n: int) -> Split:
        y = np.arange(n) % 4
        wave = np.random.default_rng(n).normal(0, 100, (n, 64)) + 8000 * np.cos(np.arange(64) * (1 + y[:, None]) / 4)
        return Split(np.zeros((n, 12, 12, 1), np.uint8), y, {"wave": wave.astype(np.int16)})

    module = types.ModuleType("own_waves")
    module.load = lambda: Dataset("waves", split(96), split(24), split(24), ("a", "b", "c", "d"))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_waves", module)
    data = RECIPE[RECIPE.index("[data]") : RECIPE.index("[teacher]")]
    old = RECIPE[RECIPE.index("[teacher]") : RECIPE.index("[student]")]
    teacher = '[teacher]\nsource = "wave_cnn"\nreads = "wave"\noptions = { width = 4 }\ncheckpoint = "t.safetensors"\nstd = [0.2]\n'

    def said(schedule: str) -> tuple[int, str, str]:
        new = f"{teacher}schedule = {{ epochs = 6, batch = 16, {schedule} }}\n\n"
        change = {data: '[data]\nsource = "own_waves:load"\n\n', old: new}
        return edgekd("teach", recipe(tmp_path / "recipe", change), "--threads", "1", "--json")

    code, _, error = said("mirror = true")
    assert code == 2 and "reads 'wave', which is not mirrored or cut out" in error, error
    code, _, error = said("shift = 64")
    assert code == 2 and "shift = 64, but 'wave' is [64]" in error and "shift = 0" in error, error
    code, out, error = said("shift = 2")
    assert code == 0 and json.loads(out)["figures"]["accuracy"]["value"] > 0.9, error
