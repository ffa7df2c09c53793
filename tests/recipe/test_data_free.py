"""The table of a recipe whose training images are made from the teacher."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.recipe.load import check, load
from tests.small_builds import RECIPE
from tests.small_builds import recipe as written

TEACHER = RECIPE[RECIPE.index("[teacher]") : RECIPE.index("[student]")]
TABLE = '[data_free]\nmethod = "inversion"\n'


def test_is_read(tmp_path: Path) -> None:
    recipe = load(written(tmp_path, {"[views]": TABLE + "samples = 64\noptions = { jitter = 1 }\n[views]"})).recipe
    assert recipe.data_free is not None and (recipe.data_free.samples, recipe.data_free.steps) == (64, 500)
    assert recipe.model_dump()["data_free"]["options"] == {"jitter": 1}
    assert "data_free" not in load(written(tmp_path / "without")).recipe.model_dump()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({TEACHER: 'teachers = [{ source = "a.b:c" }, { source = "a.b:d" }]\n'}, "2 teachers"),
        ({TEACHER: '[teacher]\nsource = "onnx"\n'}, "source = 'onnx' is run by ONNX Runtime"),
        ({TEACHER: '[teacher]\nsource = "soft_targets"\n'}, "there is no model to run"),
        ({"mean = [0.5]": 'reads = "wave"\nmean = [0.5]'}, "the teacher reads 'wave'"),
    ],
)
def test_needs_one_teacher_whose_gradient_there_is(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    if "teachers" in str(changes):  # before the tables
        changes = {TEACHER: "", 'name = "tiny"\n': 'name = "tiny"\n' + changes[TEACHER]}
    recipe, problems = check(written(tmp_path, {**changes, "[views]": TABLE + "[views]"}) / "recipe.toml")
    assert recipe is None and [p.key for p in problems] == ["data_free"] and message in problems[0].found


@pytest.mark.parametrize(
    ("line", "key"), [("samples = 0", "data_free.samples"), ("method = 'a b'", "data_free.method"), ("odd = 1", "data_free.odd")]
)
def test_bad_values(tmp_path: Path, line: str, key: str) -> None:
    table = TABLE.replace('method = "inversion"', line) if line.startswith("method") else TABLE + line + "\n"
    recipe, problems = check(written(tmp_path, {"[views]": table + "[views]"}) / "recipe.toml")
    assert recipe is None and [p.key for p in problems] == [key]
