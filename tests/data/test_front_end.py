"""The same clips through another front-end: what the student is fed, and what the teachers go on seeing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.data.dataset import Dataset, Split
from edgekd.data.front_end import FrontEnds
from edgekd.data.load import load_data
from edgekd.data.logmel import LogMel
from edgekd.errors import InputError
from edgekd.recipe.load import load
from tests import small_builds
from tests.small_sounds import RECIPE, recipe


@pytest.fixture(scope="module")
def fronts(tmp_path_factory: pytest.TempPathFactory) -> FrontEnds:
    folder = recipe(tmp_path_factory.mktemp("tones") / "recipe", each=10)
    return FrontEnds(load(folder).recipe, folder)


def test_the_same_clips_with_other_features(fronts: FrontEnds) -> None:
    own, other = fronts.own, fronts.data({"mels": 10, "hop": 240, "frame": 256})
    assert own.shape == (11, 16, 1) and other.shape == (7, 10, 1)
    assert other.for_teachers is own is own.for_teachers and other.teachers_see is own and own.teachers_see is None
    assert other.front_end == {**own.front_end, "mels": 10, "hop": 240}
    for which in ("train", "validation", "test"):
        assert np.array_equal(getattr(own, which).y, getattr(other, which).y)
    assert own.sha256 != other.sha256 != replace(other, teachers_see=None).sha256
    # A rising tone rises in both.
    first, rises = own.labels.index("up"), lambda x: x[-1, :, 0].argmax() > x[0, :, 0].argmax()
    for data in (own, other):
        assert all(map(rises, data.train.x[data.train.y == first]))


def test_what_is_as_in_the_data_is_the_data(fronts: FrontEnds) -> None:
    for same in (None, {}, {"mels": 16, "hop": 160}, {"high_hz": 3800}):
        assert fronts.data(same) is fronts.own
    assert fronts.differing({"mels": 16, "hop": 240, "frame": 128}) == {"frame": 128, "hop": 240}
    assert fronts.data({"mels": 10}) is fronts.data({"mels": 10, "hop": 160})


def test_a_glimpse_is_of_the_same_clips_for_all(fronts: FrontEnds) -> None:
    own, other = fronts.glimpse({}), fronts.glimpse({"mels": 10})
    assert other.shape == (11, 10, 1) and other.teachers_see is None and other.front_end["mels"] == 10
    assert len(own.train) == len(other.train) <= 32 and np.array_equal(own.train.y, other.train.y)
    assert other is fronts.glimpse({"mels": 10, "hop": 160})


def test_few_are_held_at_a_time(fronts: FrontEnds) -> None:
    first = fronts.data({"mels": 5})
    for mels in (6, 7, 8, 9):
        fronts.data({"mels": mels})
    again = fronts.data({"mels": 5})
    assert again is not first and again.sha256 == first.sha256


@pytest.mark.parametrize(
    ("front_end", "message", "where"),
    [
        ({"mel": 10}, "'mel' is no number of the front-end", "recipe, student.frontend"),
        ({"kind": 1}, "'kind' is no number of the front-end", "recipe, student.frontend"),
        ({"frame": 100}, "a power of two", "recipe, student.frontend"),
        ({"mels": 200}, "fewer filters, or a longer frame", "recipe, student.frontend"),
        ({"frame": 2048}, "length_ms", "audio_folder"),
    ],
)
def test_what_makes_no_features_is_said_of_the_students_table(
    fronts: FrontEnds, front_end: dict[str, Any], message: str, where: str
) -> None:
    with pytest.raises(InputError) as error:
        fronts.data(front_end)
    assert message in str(error.value) and error.value.where.startswith(where)


def test_images_have_no_front_end(tmp_path: Path) -> None:
    folder = small_builds.recipe(tmp_path)
    fronts = FrontEnds(load(folder).recipe, folder)
    assert fronts.data(None) is fronts.own
    with pytest.raises(InputError, match="the data of numpy has no front-end") as error:
        fronts.data({"mels": 10})
    assert error.value.mend == "delete student.frontend" and "spoken_digits, audio_folder" in error.value.expected


def shuffled(folder: Path, features: dict[str, float] | None = None) -> Dataset:
    """A source of a user's own, which gives the clips in another order where the features are others."""
    data = load_data("audio_folder", {"folder": "sounds", "length_ms": 240, "features": {"rate": 8000, "high_hz": 3800.0}}, folder)
    if features:
        order = np.arange(len(data.train))[::-1]
        data = replace(data, train=data.train.take(order), front_end={**data.front_end, **features})
    return data


def ignorant(folder: Path, features: dict[str, float] | None = None) -> Dataset:
    """One that does not heed what it is asked for."""
    del features
    return shuffled(folder)


@pytest.mark.parametrize(
    ("source", "message"),
    [("shuffled", "the teachers see other samples in the train split"), ("ignorant", "a front-end of {'mels': 32}")],
)
def test_sources_that_do_something_else_are_refused(tmp_path: Path, source: str, message: str) -> None:
    options = RECIPE[RECIPE.index("[data.options]") : RECIPE.index("[teacher]")]
    changes = {'source = "audio_folder"': f'source = "{__name__}:{source}"', options: '[data.options]\nfolder = "."\n\n'}
    folder = recipe(tmp_path, changes, each=10)
    with pytest.raises(InputError, match=re.escape(message)):
        FrontEnds(load(folder).recipe, folder).data({"mels": 10})


def test_a_dataset_is_the_teachers_or_says_what_they_see() -> None:
    x, y = np.zeros((2, 3, 3, 1), np.uint8), np.array([0, 1])
    split = Split(x, y)
    own = Dataset("d", split, split, split, ("a", "b"))
    assert replace(own, teachers_see=own).for_teachers is own
    with pytest.raises(InputError, match="the teachers see other samples in the test split"):
        replace(own, test=Split(x, y[::-1].copy()), teachers_see=own)


def test_what_a_front_end_costs() -> None:
    """Counted by hand: N = 32, 5 butterfly stages."""
    features = LogMel(rate=8000, frame=32, hop=16, mels=3, low_hz=0.0, high_hz=4000.0)
    work = features.work(7)
    weights = sum(len(values) for _, values in features.tables.filters)
    # 80 butterflies of which 31 turn by nothing; 17 powers of two squares; a table's slope and the gain for each filter.
    assert work.multiplications == 7 * (32 + 4 * (80 - 31) + 2 * 17 + weights + 2 * 3)
    tables = features.tables
    arrays = (tables.window, tables.cos, tables.sin, tables.log2, *(values for _, values in tables.filters))
    assert work.table_bytes == sum(array.nbytes for array in arrays) + 4 * 3 and work.ram_bytes == 2 * 32 * 4
