"""Teachers of a recipe, asked and put together: names of what is stored, weights, messages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.data.dataset import Dataset
from edgekd.data.load import load_data
from edgekd.data.views import Views
from edgekd.errors import InputError
from edgekd.recipe.load import LoadedRecipe
from edgekd.recipe.load import load as load_recipe
from edgekd.recipe.schema import Teacher as Table
from edgekd.train.ask import Answers, Asked, ask
from edgekd.train.lesson import open_lesson
from edgekd.train.together import together
from tests.small_builds import RECIPE, recipe, two_tasks
from tests.watching import quiet

TEACHER = RECIPE[RECIPE.index("[teacher]") : RECIPE.index("[student]")]
ONE = TEACHER.replace("[teacher]", "[[teachers]]")
FILE = '[[teachers]]\nsource = "soft_targets"\noptions = { file = "outputs.npz" }\n\n'


def opened(where: Path) -> tuple[LoadedRecipe, Dataset]:
    loaded = load_recipe(where)
    return loaded, load_data(loaded.recipe.data.source, loaded.recipe.data.options, loaded.folder)


def answers(n: int, *, sha256: str, validation: bool = True, test: bool = True) -> Answers:
    rng = np.random.default_rng(n)
    train, held = (rng.normal(size=shape).astype(np.float16) for shape in ((2, 5, 4), (48, 4)))
    return Answers(Table(source="a.b:c"), 0, train, held if test else None, held if validation else None, sha256, f"place {n}", None)


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(opened(recipe(tmp_path / "recipe"))[1], Views(2, shift=1))


def test_nobody_one_and_several(tmp_path: Path, asked: Asked) -> None:
    one, two = answers(1, sha256="a"), answers(2, sha256="b")
    assert together([], "mean", asked, tmp_path, quiet) == (None, None)
    assert together([one], "mean", asked, tmp_path, quiet) == (one.train, one.test)
    train, test = together([one, two], "mean", asked, tmp_path, quiet)
    assert train is not None and test is not None and train.shape == (2, 5, 4) and test.shape == (48, 4)
    train, test = together([one, replace(two, test=None)], "mean", asked, tmp_path, quiet)
    assert train is not None and test is None


def test_what_is_stored_belongs_to_its_teachers_data_and_weights(tmp_path: Path, asked: Asked) -> None:
    one, two = answers(1, sha256="a"), answers(2, sha256="b")
    for how in ("mean", "confidence", "per_class"):
        together([one, two], how, asked, tmp_path, quiet)
    together([two, one], "mean", asked, tmp_path, quiet)
    together([one, replace(two, sha256="c")], "mean", asked, tmp_path, quiet)
    together([one, two], "mean", replace(asked, views=Views(2, shift=2)), tmp_path, quiet)
    # Six for training; the test set knows nothing of views.
    assert len(list((tmp_path / "ensembles").glob("*.npy"))) == 6 + 5


def test_weights_a_class_need_the_validation_split(tmp_path: Path, asked: Asked) -> None:
    with pytest.raises(InputError, match=r'(?s)a teacher is a place 2, which has no outputs for the validation.*how = "confidence"'):
        together([answers(1, sha256="a"), answers(2, sha256="b", validation=False)], "per_class", asked, tmp_path, quiet)


def test_a_teacher_and_a_file_of_outputs_teach_together(tmp_path: Path) -> None:
    where = recipe(tmp_path / "recipe", {TEACHER: ONE + FILE})
    np.savez(where / "outputs.npz", outputs=np.zeros((2, 192, 4)), test=np.zeros((96, 4)))
    lesson = open_lesson(*opened(where), tmp_path / "cache", quiet)
    assert lesson.targets[0] is not None and lesson.targets[0].shape == (2, 192, 4) and lesson.answers[0] is not None
    assert lesson.teacher_parameters is None and "; file of outputs" in lesson.teacher_where


def test_messages_name_the_teacher_that_they_are_about(tmp_path: Path) -> None:
    changes = {TEACHER: ONE + ONE.replace("width = 4", "width = 5").replace("mean = [0.5]", 'labels = ["a", "b", "c", "d"]\nmean = [0.5]')}
    loaded, data = opened(recipe(tmp_path / "labels", changes))
    with pytest.raises(InputError, match=r"recipe, teachers\[1\]: the teacher has no label 'across'"):
        open_lesson(loaded, data, tmp_path / "cache", quiet)
    loaded, data = opened(recipe(tmp_path / "reads", {TEACHER: ONE.replace("mean = [0.5]", 'reads = "wave"\nmean = [0.5]') + ONE}))
    with pytest.raises(InputError, match=r"recipe, teachers\[0\].reads: the data has no reading 'wave'"):
        open_lesson(loaded, data, tmp_path / "cache", quiet)


def test_teachers_of_two_tasks_and_two_of_one(tmp_path: Path) -> None:
    third = '[[teachers]]\ntask = "light"\nsource = "residual_cnn"\noptions = { width = 6 }\nmean = [0.5]\nstd = [0.25]\n\n[student]\n'
    loaded, data = opened(two_tasks(tmp_path / "recipe", {"[student]\n": third}))
    seen: list[str] = []
    lesson = open_lesson(loaded, data, tmp_path / "cache", lambda what, done, total: seen.append(what))
    assert [targets.shape for targets in lesson.targets if targets is not None] == [(2, 192, 4), (2, 192, 2)]
    assert {"soft targets, teacher 1 of 3", "soft targets, teacher 3 of 3", "ensemble"} <= set(seen)
    alone = ask(
        loaded, loaded.recipe.all_teachers[1], Asked(data, lesson.views), tmp_path / "cache", lambda what, *_: seen.append(f"again {what}")
    )
    assert not any(what.startswith("again") for what in seen)
    assert lesson.targets[1] is not None and not np.array_equal(alone.train, lesson.targets[1])
