"""Ensembles, critics, assistants, generations, other readings and synthetic images, from recipe to verdict: quantized students all."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekd import pipeline, runs
from edgekd.data.dataset import Dataset, Split
from edgekd.errors import InputError
from edgekd.jobs import Request
from tests.small_builds import LABELS, RECIPE, edgekd, exported, pictures, recipe

TEACHER = RECIPE[RECIPE.index("[teacher]") : RECIPE.index("[student]")]
SHORT = {"float_epochs = 3.5": "float_epochs = 2", "width = [0.5, 1.0]": "width = [1.0]"}
TARGET = "orin-nano"
Seen = dict[str, int]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "edgekd"


def build(where: Path, root: Path, *, stop: Callable[[str, int, int], None] | None = None, resume: bool = False) -> tuple[Path, Seen]:
    """The run folder, and what progress was told of, with how much of it."""
    seen: Seen = {}

    def progress(what: str, done: int, total: int) -> None:
        seen[what] = max(done, seen.get(what, 0))
        if stop is not None:
            stop(what, done, total)

    request = Request(str(where), (TARGET,), threads=1, overrides={"accuracy_drop_pp": 100.0})
    (run,) = pipeline.build(request, root, progress, resume=resume, announce=lambda _: None)
    assert all(verdict.ok for verdict in runs.read(run, "verify").body)
    return run, seen


def accuracy(run: Path, name: str = "accuracy") -> float:
    return runs.read(run, "measure").figures[name].value


def teachers(*widths: int) -> str:
    return "".join(TEACHER.replace("[teacher]", "[[teachers]]").replace("width = 4", f"width = {width}") for width in widths)


def taught(where: Path) -> Path:
    """With a teacher that has learned the data."""
    assert edgekd("teach", where, "--threads", "1")[0] == 0
    return where


WITH_SCHEDULE = TEACHER.rstrip() + '\ncheckpoint = "teacher.safetensors"\nschedule = { epochs = 6, batch = 16, learning_rate = 0.05 }\n\n'


@pytest.mark.slow
@pytest.mark.parametrize("how", ["mean", "confidence", "per_class"])
def test_another_ensemble_of_the_same_teachers_asks_none_of_them_again(tmp_path: Path, cache: Path, how: str) -> None:
    text = {**SHORT, "[student]\n": f'[ensemble]\nhow = "{how}"\n\n[student]\n'}
    run, seen = build(recipe(tmp_path / "three", {**text, TEACHER: teachers(4, 5, 6)}), tmp_path / "runs")
    assert {f"soft targets, teacher {n} of 3" for n in (1, 2, 3)} <= seen.keys() and seen["ensemble"] == 2 * 192
    assert accuracy(run) > 0.7 and 0 <= accuracy(run, "teacher_accuracy") <= 1
    assert len(list((cache / "soft_targets").glob("*.npy"))) == 3 * (3 if how == "per_class" else 2)
    assert len(list((cache / "ensembles").glob("*.npy"))) == 2
    other, seen = build(recipe(tmp_path / "two", {**text, TEACHER: teachers(6, 4)}), tmp_path / "runs")
    assert not any(what.startswith(("soft targets", "teacher")) for what in seen) and "ensemble" in seen
    assert runs.read(other, "plan").inputs["teacher"] != runs.read(run, "plan").inputs["teacher"]


@pytest.mark.slow
def test_critics_and_unlabeled_samples(tmp_path: Path) -> None:
    curate = '[curate]\ncritics = [{ name = "agreement", keep = 0.9 }, { name = "margin", weight = true }]\n\n[student]\n'
    where = recipe(tmp_path / "recipe", {**SHORT, TEACHER: WITH_SCHEDULE, "[student]\n": curate})
    taught(where)
    arrays = dict(np.load(where / "data.npz"))
    wrong, unknown = np.arange(0, 16), np.arange(100, 130)
    arrays["y_train"][wrong] = (arrays["y_train"][wrong] + 1) % 4
    arrays["y_train"][unknown] = -1
    np.savez(where / "data.npz", **arrays)  # type: ignore[arg-type]
    run, _ = build(where, tmp_path / "runs")
    first, second = runs.read(run, "float").config["curated"]
    assert first["critic"] == "agreement" and first["before"] == 192 and 165 <= first["kept"] <= 173
    assert second["kept"] == sum(second["per_class"].values()) and set(second["per_class"]) == set(LABELS)
    assert accuracy(run) > 0.8
    empties = recipe(
        tmp_path / "empties", {**SHORT, "[student]\n": '[curate]\ncritics = [{ name = "margin", keep = 0.01 }]\n\n[student]\n'}
    )
    with pytest.raises(InputError, match="margin keeps none of the .* samples of class"):
        build(empties, tmp_path / "runs")


class Interrupt:
    def __init__(self, what: str) -> None:
        self.what, self.seen = what, False

    def __call__(self, what: str, done: int, total: int) -> None:
        if what.startswith(self.what) and done == total:
            self.seen = True
            raise KeyboardInterrupt


@pytest.mark.slow
def test_assistants_and_generations(tmp_path: Path, cache: Path) -> None:
    table = "[intermediates]\nassistants = [{ width = 2.0 }, { width = 1.5 }]\ngenerations = 1\n\n[student]\n"
    where = recipe(tmp_path / "recipe", {**SHORT, "[student]\n": table})
    run, seen = build(where, tmp_path / "runs")
    titles = sorted(what for what in seen if what.startswith(("assistant", "generation")))
    assert [title.partition(":")[0] for title in titles] == ["assistant 1 of 2", "assistant 2 of 2", "generation 1 of 1"]
    assert all(title.endswith(" parameters") for title in titles)
    record = runs.read(run, "intermediates")
    sizes = [one.figures["parameters"].value for one in record.body]
    assert sizes[0] > sizes[1] > sizes[2] and f"{sizes[2]:,.0f} parameters" in titles[2]
    assert [one.path for one in record.body] == [f"intermediates/{n}/float.safetensors" for n in (1, 2, 3)]
    assert len({one.sha256 for one in record.body}) == 3
    assert {"soft targets of assistant 1 of 2", "soft targets of generation 1 of 1"} <= seen.keys()
    assert len(list((cache / "float").iterdir())) == 4
    stop = Interrupt("assistant 2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
        with pytest.raises(KeyboardInterrupt):
            build(where, tmp_path / "again", stop=stop)
        again, seen = build(where, tmp_path / "again", resume=True)
    assert stop.seen and exported(again) == exported(run)
    assert not any(what.startswith("assistant 1") for what in seen)
    more = recipe(tmp_path / "more", {**SHORT, "[student]\n": table.replace("generations = 1", "generations = 2")})
    longer, seen = build(more, tmp_path / "runs")
    assert [what for what in seen if what.startswith(("assistant", "generation"))] == [f"generation 2 of 2: {sizes[2]:,.0f} parameters"]
    assert exported(longer) != exported(run) and len(runs.read(longer, "intermediates").body) == 4


@pytest.mark.slow
def test_assistants_are_proposed_where_the_gap_is_wide(tmp_path: Path) -> None:
    table = '[intermediates]\nassistants = "auto"\n\n[student]\n'
    near, _ = build(recipe(tmp_path / "near", {**SHORT, "[student]\n": table}), tmp_path / "runs")
    assert runs.read(near, "intermediates").body == []
    far, _ = build(recipe(tmp_path / "far", {**SHORT, "width = 4": "width = 12", "[student]\n": table}), tmp_path / "runs")
    body = runs.read(far, "intermediates").body
    assert len(body) >= 1 and body[0].figures["parameters"].kind == "counted"
    outputs = {TEACHER: '[teacher]\nsource = "soft_targets"\noptions = { file = "outputs.npy" }\n\n'}
    unknown = recipe(tmp_path / "unknown", {**SHORT, **outputs, "[student]\n": table})
    np.save(unknown / "outputs.npy", np.random.default_rng(0).normal(size=(2, 192, 4)).astype(np.float32))
    with pytest.raises(InputError, match=r"(?s)the size of a teacher of source = .soft_targets. is not known.*assistants = "):
        build(unknown, tmp_path / "runs")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["inversion", "generator"])
def test_without_data(tmp_path: Path, cache: Path, method: str) -> None:
    table = f'[data_free]\nmethod = "{method}"\nsamples = 192\nsteps = 60\noptions = {{ batch = 32 }}\n\n[student]\n'
    where = taught(recipe(tmp_path / "recipe", {"float_epochs = 3.5": "float_epochs = 6", TEACHER: WITH_SCHEDULE, "[student]\n": table}))
    run, seen = build(where, tmp_path / "runs")
    assert seen["synthetic images"] and len(list((cache / "synthetic").glob("*/images.npz"))) == 1
    assert accuracy(run, "teacher_accuracy") > 0.9
    assert accuracy(run) > 0.8 * accuracy(run, "teacher_accuracy"), accuracy(run)
    assert edgekd("verify", run, "--threads", "1")[0] == 0  # on the real test set


@pytest.mark.slow
def test_a_teacher_that_hears_what_the_student_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from torch import nn

    def split(n: int, seed: int) -> Split:
        x, y = pictures(n, seed)
        wave = np.eye(4)[y] * 20_000 + np.random.default_rng(seed).normal(0, 1000, (n, 4))
        return Split(x, y, {"wave": wave.astype(np.int16)})

    def teacher(*, classes: int) -> nn.Module:
        layer = nn.Linear(4, classes)
        layer.weight.data = torch.eye(4) * 10
        layer.bias.data.zero_()
        return layer

    module = types.ModuleType("own_sound")
    module.load = lambda: Dataset("sound", split(192, 1), split(48, 2), split(96, 3), LABELS)  # type: ignore[attr-defined]
    module.teacher = teacher  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_sound", module)
    data = RECIPE[RECIPE.index("[data]") : RECIPE.index("[teacher]")]
    text = {data: '[data]\nsource = "own_sound:load"\n\n', TEACHER: '[teacher]\nsource = "own_sound:teacher"\nreads = "wave"\n\n'}
    soft = {"weight = 0.1": "weight = 1.0", "weight = 0.9": "weight = 0.0"}
    run, _ = build(recipe(tmp_path / "recipe", {"float_epochs = 3.5": "float_epochs = 6", **text, **soft}), tmp_path / "runs")
    assert accuracy(run, "teacher_accuracy") == 1 and accuracy(run) > 0.8
    mirrored = recipe(tmp_path / "mirrored", {**text, "shift = 1": "mirror = true"})
    with pytest.raises(InputError, match="views are mirrored, but the teacher reads 'wave'"):
        build(mirrored, tmp_path / "runs")


@pytest.mark.slow
def test_the_report_of_a_chain_is_readable(tmp_path: Path) -> None:
    table = "[intermediates]\ngenerations = 1\n\n[student]\n"
    run, _ = build(recipe(tmp_path / "recipe", {**SHORT, "[student]\n": table}), tmp_path / "runs")
    code, out, _ = edgekd("report", run, "--json")
    assert code == 0 and "intermediates" in json.loads(out)[0]["records"]
    assert edgekd("report", run)[0] == 0
