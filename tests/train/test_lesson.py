"""A lesson for a student of another front-end: the teachers' answers are those for what they see themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgekd import team
from edgekd.data.front_end import FrontEnds
from edgekd.errors import InputError
from edgekd.recipe.load import LoadedRecipe, load
from edgekd.students.family import open_family
from edgekd.train.lesson import Lesson, fed, open_lesson
from edgekd.train.student import Training, try_out
from tests.small_sounds import recipe

TAP = 'weight = 0.9\n\n[[losses]]\nname = "attention_transfer"\nweight = 1.0\nstudent = "blocks.0"\nteacher = "body.4"\n'


def opened(folder: Path, loaded: LoadedRecipe, fronts: FrontEnds, front_end: dict[str, int]) -> Lesson:
    return open_lesson(loaded, fronts.data(front_end), folder / "cache", lambda *_: None)


def test_targets_are_the_teachers_own_and_computed_once(tmp_path: Path) -> None:
    loaded = load(recipe(tmp_path / "recipe", each=10))
    fronts = FrontEnds(loaded.recipe, loaded.folder)
    own, other = (opened(tmp_path, loaded, fronts, of) for of in ({}, {"mels": 10, "hop": 240}))
    stored = sorted((tmp_path / "cache" / "soft_targets").glob("*.npy"))
    assert own.targets[0] is not None and other.targets[0] is not None and len(stored) == 2
    assert np.array_equal(own.targets[0], other.targets[0]) and own.teacher_sha256 == other.teacher_sha256
    assert own.data.shape == (11, 16, 1) and other.data.shape == (7, 10, 1) and other.views.of == (11, 16) and own.views.of is None
    assert fed(own, other.data).data is other.data and fed(own, other.data).views == other.views
    back = fed(other, own.data)
    assert (back.data, back.views) == (own.data, own.views) and fed(own, own.data) is own


def test_of_other_samples_there_are_no_answers(tmp_path: Path) -> None:
    loaded = load(recipe(tmp_path / "recipe", each=10))
    fronts = FrontEnds(loaded.recipe, loaded.folder)
    lesson, data = opened(tmp_path, loaded, fronts, {}), fronts.data({"mels": 10})
    made = replace(fronts.own, train=fronts.own.train.take(np.arange(8)))
    with pytest.raises(InputError, match="the teachers of this student see other samples"):
        fed(replace(lesson, data=made), data)


def test_images_made_from_the_teacher_are_for_students_that_see_as_it_does(tmp_path: Path) -> None:
    change = {"[views]": '[data_free]\nmethod = "inversion"\n\n[views]'}
    loaded = load(recipe(tmp_path / "recipe", change, each=10))
    fronts = FrontEnds(loaded.recipe, loaded.folder)
    with pytest.raises(InputError, match="student.frontend: is beside"):
        opened(tmp_path, loaded, fronts, {"mels": 10})


def test_a_teacher_that_is_tapped_sees_its_own_features_in_the_same_view(tmp_path: Path) -> None:
    loaded = load(recipe(tmp_path / "recipe", {"weight = 0.9": TAP}, each=10))
    fronts = FrontEnds(loaded.recipe, loaded.folder)
    lesson = opened(tmp_path, loaded, fronts, {"mels": 10, "hop": 240})
    family = open_family("ds_cnn")
    spec = next(iter(family.candidates({"channels": 8, "blocks": 1}, {}, lesson.data.shape, 4)))
    training = Training(lesson, loaded.recipe.presets["demo"], family.resolution(spec), 0)
    chosen, view = np.arange(6), np.array([0, 1, 1, 0, 1, 1])
    batch = training.feed.taken(chosen, view)
    assert batch.x.shape == (6, 1, 7, 10) and batch.pixels.shape == (6, 11, 16, 1)
    assert np.array_equal(batch.pixels, replace(lesson.views, of=None).apply(fronts.own.train.x[chosen], chosen, view))
    torch.manual_seed(0)
    try_out(family.build(spec), training)


class _Four(team.Team):
    size = 4


def test_of_several_processes_one_tries_no_more_than_its_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that fits into the memory of all of them is not refused for that of the first."""
    loaded = load(recipe(tmp_path / "recipe", {}, each=10))
    fronts = FrontEnds(loaded.recipe, loaded.folder)
    lesson = opened(tmp_path, loaded, fronts, {"mels": 10, "hop": 240})
    family = open_family("ds_cnn")
    spec = next(iter(family.candidates({"channels": 8, "blocks": 1}, {}, lesson.data.shape, 4)))
    training = Training(lesson, loaded.recipe.presets["demo"], family.resolution(spec), 0)
    tried = list[int]()
    monkeypatch.setattr("edgekd.train.student.first_step", lambda model, course, phase, example: tried.append(len(example.x)))
    try_out(family.build(spec), training)
    with team.member(_Four()):
        try_out(family.build(spec), training)
    assert tried[0] >= 8 and tried == [tried[0], tried[0] // 4]
