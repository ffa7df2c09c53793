"""`edgekd advise` on a real recipe: what it says, its JSON, and a search that is interrupted and goes on."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

from edgekd import tuning
from edgekd.advice import soft_temperatures
from edgekd.advise.tune import Pruned
from edgekd.jobs import Request, load_jobs, plan_job
from edgekd.recipe.load import load
from edgekd.recipe.schema import Recipe
from tests.small_builds import LABELS, edgekd, recipe, two_tasks


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def stored(folder: Path) -> Path:
    """A recipe whose teacher is a file of outputs: sure of everything, and always right."""
    where = recipe(folder, {'source = "residual_cnn"\noptions = { width = 4 }\nmean = [0.5]\nstd = [0.25]':
                            'source = "soft_targets"\noptions = { file = "outputs.npz" }'})  # fmt: skip
    with np.load(where / "data.npz") as arrays:
        y, test = arrays["y_train"], arrays["y_test"]
    outputs = np.stack([np.eye(len(LABELS))[y] * 90] * 2).astype(np.float32)
    np.savez(where / "outputs.npz", outputs=outputs, test=(np.eye(len(LABELS))[test] * 90).astype(np.float32))
    return where


def test_what_it_says(folder: Path) -> None:
    where = recipe(folder / "recipe")
    before = (where / "recipe.toml").read_bytes()
    code, out, err = edgekd("advise", where, "-t", "nucleo-l4r5zi", "--samples", "60", "--threads", "1")
    assert code == 0 and "measuring: done" in err, err
    assert "warning: ignorant_teacher" in out and "edgekd teach RECIPE" in out, "the teacher is untrained"
    assert "small_validation" in out and "# " in out and "teacher on validation and test" in out
    assert (where / "recipe.toml").read_bytes() == before, "nothing is written into the recipe"
    code, out, err = edgekd("advise", where, "--json")
    said = json.loads(out)
    assert code == 0 and "soft targets" not in err, "found in the cache"
    (facts,) = said["facts"]
    assert said["samples"] == 192 and facts["figures"]["validation_accuracy"]["n"] == 48 and facts["tests"]["teacher_test"]["p"] > 0.01
    assert {"images_test", "views_validation"} <= set(said["images"]) and said["capacity"] == []
    assert said["silent"] == ["the gap between teacher and student: no --target"]
    found = {f["name"]: f for f in said["findings"]}
    assert found["heavy_labels"]["lines"] == ["[[losses]]", 'name = "cross_entropy"', "weight = 0.011"]


def test_a_teacher_that_is_a_file(folder: Path) -> None:
    code, out, _ = edgekd("advise", stored(folder / "recipe"), "--json", "-t", "pixel-8")
    said = json.loads(out)
    assert code == 0 and any("no outputs for the validation split" in text for text in said["silent"])
    assert "validation_accuracy" not in said["facts"][0]["figures"]
    (sharp,) = [f for f in said["findings"] if f["name"] == "sharp_targets"]
    # Logits of 90: half of log 4 only far above any usual temperature.
    assert 'name = "logit_mse"' in sharp["lines"]
    (size,) = said["capacity"]
    assert size["teacher_parameters"] is None and size["student_parameters"] > 0


def test_two_tasks(folder: Path) -> None:
    where = two_tasks(folder / "recipe")
    code, out, err = edgekd("advise", where, "--json", "-t", "pixel-8")
    assert code == 0, err
    said = json.loads(out)
    assert [facts["task"] for facts in said["facts"]] == ["shape", "light"]
    assert [c["name"] for c in said["facts"][1]["classes"]] == ["dark", "bright"]
    assert {(f["name"], f["task"]) for f in said["findings"]} >= {("ignorant_teacher", "shape"), ("ignorant_teacher", "light")}
    (light,) = [f for f in said["findings"] if f["name"] == "heavy_labels" and f["task"] == "light"]
    assert 'task = "light"' in light["lines"]
    assert edgekd("advise", where)[0] == 0
    names = list(tuning.search_space(load(where).recipe))
    assert names[0] == "soft_targets[0].temperature" and len(names) == 5, names


def test_two_teachers_of_one_task(folder: Path) -> None:
    old = '[teacher]\nsource = "residual_cnn"\noptions = { width = 4 }'
    one = old.replace("[teacher]", "[[teachers]]") + "\nmean = [0.5]\nstd = [0.25]\n\n"
    where = recipe(folder / "recipe", {old: one + old.replace("[teacher]", "[[teachers]]").replace("4", "5")})
    code, out, err = edgekd("advise", where, "--json")
    said = json.loads(out)
    assert code == 0 and "ensemble" in err and said["facts"][0]["figures"]["validation_accuracy"]["n"] == 48, err


def test_bad_input(folder: Path) -> None:
    where = recipe(folder / "recipe")
    for words, expected in (
        (("--preset", "dmo"), "no preset is called 'dmo'"),
        (("-t", "pixel8"), "perhaps pixel-8"),
        (("--tune",), "--tune without --target"),
        (("--samples", "1"), "--samples"),
    ):
        code, out, err = edgekd("advise", where, *words)
        assert code == 2 and out == "" and expected in err and "Traceback" not in err, err
    code, _, err = edgekd("advise", folder / "nowhere")
    assert code == 2 and "nowhere" in err


def test_a_student_that_does_not_fit_is_no_verdict(folder: Path) -> None:
    where = recipe(folder / "recipe", {"[presets.demo]": "[targets.nucleo-l4r5zi]\nmodel_bytes = 100\n\n[presets.demo]"})
    code, out, _ = edgekd("advise", where, "-t", "nucleo-l4r5zi")
    assert code == 0 and "not measured: the gap between teacher and student: no student" in out


def test_what_is_searched(folder: Path) -> None:
    made = load(recipe(folder / "recipe")).recipe
    assert soft_temperatures(made) == {0: 4.0}, "the loss's own default"
    space = tuning.search_space(made)
    assert list(space) == ["soft_targets.temperature", "cross_entropy.weight"], "the first weight is the measure"
    assert space["cross_entropy.weight"].now == 0.9 and space["soft_targets.temperature"].high == 20
    changed = tuning.applied(made, {"soft_targets.temperature": 2.5, "cross_entropy.weight": 0.2})
    assert [(loss.weight, loss.options) for loss in changed.losses] == [(0.1, {"temperature": 2.5}), (0.2, {})]
    twice = made.model_copy(update={"losses": [made.losses[0], *made.losses]})
    assert list(tuning.search_space(twice)) == [
        "soft_targets[0].temperature", "soft_targets[1].temperature", "soft_targets[1].weight", "cross_entropy.weight"
    ]  # fmt: skip


TUNE = ("--tune", "-t", "nucleo-l4r5zi", "--epochs", "1.5", "--threads", "1")


@pytest.mark.slow
def test_tune(folder: Path) -> None:
    where = recipe(folder / "recipe")
    before = (where / "recipe.toml").read_bytes()
    code, out, err = edgekd("advise", where, *TUNE, "--trials", "3", "--json")
    assert code == 0, err
    said = json.loads(out)
    assert said["found"]["finished"] + said["found"]["pruned"] == 3 and said["found"]["best"]["n"] == 48
    assert set(said["space"]) == {"soft_targets.temperature", "cross_entropy.weight"} and said["epochs"] == 1.5
    document = {**tomllib.loads(before.decode()), **tomllib.loads("\n".join(said["lines"]))}
    losses = Recipe.model_validate(document).losses
    best = said["found"]["parameters"]["soft_targets.temperature"]["best"]
    assert losses[0].options["temperature"] == pytest.approx(best, rel=0.06)
    assert (where / "recipe.toml").read_bytes() == before
    storage = Path(said["found"]["storage"])
    assert storage.is_relative_to(folder / "cache") and [p.name for p in storage.parent.glob("trial-*")] == []
    # Finished: nothing is trained again, and the table says the same.
    code, out, err = edgekd("advise", where, *TUNE, "--trials", "3")
    assert code == 0 and "float" not in err and "instead of its losses" in out and "by itself too high" in out
    assert "\n".join(said["lines"]) in out
    # Another schedule is another search.
    code, out, err = edgekd("advise", where, *TUNE, "--trials", "1", "--seed", "1", "--json")
    assert code == 0 and json.loads(out)["found"]["storage"] != str(storage)


@pytest.mark.slow
def test_an_interrupted_search_goes_on(folder: Path) -> None:
    where = recipe(folder / "recipe")
    words = ["advise", str(where), *TUNE[:-4], "--epochs", "5", "--threads", "1", "--trials", "3"]
    with subprocess.Popen([sys.executable, "-m", "edgekd", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        state = folder / "cache"
        while process.poll() is None and not list(state.glob("edgekd/search/*/trial-1/float.state")):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err and "interrupted; to go on:" in err
    again = shlex.split(err.strip().splitlines()[-1])
    assert again[0] == "edgekd"
    code, out, err = edgekd(*again[1:], "--json")
    assert code == 0, err
    whole = edgekd(*words, "--json")
    resumed = json.loads(out)
    assert json.loads(whole[1]) == resumed, "a finished search is only read"
    for file in (state / "edgekd" / "search").rglob("study.sqlite3"):
        file.unlink()
    undisturbed = json.loads(edgekd(*words, "--json")[1])
    assert undisturbed["found"]["parameters"] == resumed["found"]["parameters"] and undisturbed["found"]["best"] == resumed["found"]["best"]


def test_a_pruned_training_leaves_nothing(folder: Path) -> None:
    (job,) = load_jobs(Request(str(recipe(folder / "recipe")), ("nucleo-l4r5zi",), threads=1))
    spec, told = job.family.restore(plan_job(job).spec), list[tuple[int, float]]()
    short = job.preset.model_copy(update={"float_epochs": 2.0})

    def tell(at: int, share: float) -> None:
        told.append((at, share))
        raise Pruned

    with pytest.raises(Pruned):
        tuning._train(job, short, spec, job.loaded.recipe, folder / "trial", lambda what, done, total: None, tell)
    assert not (folder / "trial").exists()
    ((at, share),) = told
    assert at == 1 and 0 <= share <= 1


@pytest.mark.slow
def test_a_training_that_diverges_is_a_failed_trial(folder: Path) -> None:
    where = recipe(folder / "recipe", {"learning_rate = 0.02": "learning_rate = 1e30"})
    code, out, err = edgekd("advise", where, *TUNE, "--trials", "2")
    assert (code, out) == (2, "") and "no trial finished: 2 failed" in err and "lower learning_rate" in err, err
