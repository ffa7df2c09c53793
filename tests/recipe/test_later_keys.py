"""Keys that came after recipes were trained: identities stay, contradictions are said, each with one problem."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd import runs
from edgekd.recipe.load import check, load
from edgekd.recipe.schema import Recipe
from tests.small_builds import RECIPE
from tests.small_builds import recipe as written

#: Digest of what the recipe was dumped as before there were the keys of this file: trainings in caches are found by it.
BEFORE = "0d5cad88ea7f6746272fa16c5884f5b62f54db01f985eb87da4bf128095f5a6d"
TEACHER = RECIPE[RECIPE.index("[teacher]") : RECIPE.index("[student]")]
LOSS = '[[losses]]\nname = "soft_targets"\nweight = 0.1\n'
SEVERAL = TEACHER.replace("[teacher]", "[[teachers]]") + TEACHER.replace("[teacher]", "[[teachers]]").replace("width = 4", "width = 6")


def test_a_recipe_that_uses_nothing_new_keeps_its_identity(tmp_path: Path) -> None:
    assert runs.digest(load(written(tmp_path)).recipe.model_dump()) == BEFORE


def test_new_keys_are_read_dumped_and_read_again(tmp_path: Path) -> None:
    text = {
        TEACHER: SEVERAL,
        "batch = 8": "batch = 8\nema = 0.99\npatience = 3\npeers = 2",
        "[views]": '[ensemble]\nhow = "confidence"\n\n[views]',
    }
    recipe = load(written(tmp_path, text)).recipe
    assert [t.options["width"] for t in recipe.all_teachers] == [4, 6] and recipe.teacher is None
    assert (recipe.presets["demo"].ema, recipe.presets["demo"].patience, recipe.presets["demo"].peers) == (0.99, 3, 2)
    assert recipe.ensemble is not None and recipe.ensemble.how == "confidence"
    assert Recipe.model_validate(recipe.model_dump()) == recipe
    assert {"ema", "patience", "peers"} <= recipe.model_dump()["presets"]["demo"].keys()


def test_taps_curation_and_intermediates(tmp_path: Path) -> None:
    tables = '[curate]\ncritics = [{ name = "confidence", keep = 0.8 }, { name = "my.code:judge", weight = true }]\n'
    tables += "\n[intermediates]\nassistants = [{ width = 4 }]\ngenerations = 2\n\n[views]"
    taps = 'student = ["stages.0", "stages.1"]\nteacher = ["student:head", "student:"]\ntask = "kind"\nphase = "qat"\n'
    recipe = load(written(tmp_path, {LOSS: LOSS + taps, "[views]": tables})).recipe
    assert recipe.curate is not None and [c.keep for c in recipe.curate.critics] == [0.8, None]
    assert recipe.intermediates is not None and recipe.intermediates.assistants == [{"width": 4}]
    assert recipe.losses[0].teacher_paths == () and recipe.losses[0].student == ["stages.0", "stages.1"]
    assert recipe.losses[1].model_dump() == {"name": "cross_entropy", "weight": 0.9, "options": {}}


@pytest.mark.parametrize(
    ("old", "new", "key", "found"),
    [
        (TEACHER, "", "teacher", "is missing"),
        (TEACHER, TEACHER + SEVERAL, "teachers", "stand beside [teacher]"),
        (TEACHER, SEVERAL.replace("width = 6", "width = 4"), "teachers[1]", "is the same as teachers[0]"),
        (TEACHER, SEVERAL.replace("std = [0.25]", "std = [0.25, 1.0]", 1), "teachers[0].std", "2 values but teacher.mean has 1"),
        ("[views]", '[ensemble]\nhow = "mean"\n[views]', "ensemble", "how = 'mean', but no task has two teachers"),
        ("[views]", '[ensemble]\nhow = "median"\n[views]', "ensemble.how", "found 'median' (text)"),
        (LOSS, LOSS + 'student = ["a", "a"]\n', "losses[0].student", "'a' stands twice"),
        (LOSS, LOSS + "student = []\n", None, ""),
        (LOSS, LOSS + 'student = "a..b"\n', None, ""),
        (LOSS, LOSS + 'teacher = ["a", "student:b"]\n', "losses[0].teacher", "['a', 'student:b'] taps both the teacher and the student"),
        (LOSS, LOSS + 'phase = "never"\n', "losses[0].phase", "found 'never' (text)"),
        ("weight = 0.9", 'weight = 0.9\nphase = "qat"\n[[losses]]\nname="soft_targets"\nweight=0.0', None, None),
        ("[views]", "[curate]\ncritics = []\n[views]", "curate.critics", None),
        ("[views]", '[curate]\ncritics = [{ name = "c" }]\n[views]', "curate.critics[0]", "has neither keep nor weight"),
        ("[views]", '[curate]\ncritics = [{ name = "c", keep = 0.5, weight = true }]\n[views]', "curate.critics[0]",
         "has both keep and weight"),
        ("[views]", "[intermediates]\n[views]", "intermediates", "names neither assistants nor generations"),
        ("batch = 8", "batch = 8\nema = 1.0", "presets.demo.ema", None),
        ("batch = 8", "batch = 8\npeers = 0", "presets.demo.peers", None),
        ("batch = 8", "batch = 8\npatience = -1", "presets.demo.patience", None),
    ],
)  # fmt: skip
def test_contradictions_are_one_clear_problem(tmp_path: Path, old: str, new: str, key: str | None, found: str | None) -> None:
    recipe, problems = check(written(tmp_path, {old: new}) / "recipe.toml")
    if (key, found) == (None, None):
        assert recipe is not None  # soft_targets still teaches in both phases
        return
    assert recipe is None and problems
    if key is not None:
        assert [problem.key for problem in problems] == [key], problems
    if found:
        assert problems[0].found == found
    assert all(problem.expected and problem.mend for problem in problems)


def test_a_phase_without_a_loss(tmp_path: Path) -> None:
    changes = {"weight = 0.1": 'weight = 0.1\nphase = "qat"', "weight = 0.9": 'weight = 0.9\nphase = "qat"'}
    _, (problem,) = check(written(tmp_path, changes) / "recipe.toml")
    assert problem.key == "losses" and "float warm-up" in problem.found and problem.mend == 'phase = "both"'


def test_a_file_of_outputs_cannot_be_tapped(tmp_path: Path) -> None:
    changes = {TEACHER: '[teacher]\nsource = "soft_targets"\noptions = { file = "a.npy" }\n\n', LOSS: LOSS + 'teacher = "body.layer1"\n'}
    _, (problem,) = check(written(tmp_path, changes) / "recipe.toml")
    assert problem.key == "losses[0].teacher"
    assert problem.found == "taps 'body.layer1', but source = 'soft_targets' is a file of outputs, there is no model to run"
