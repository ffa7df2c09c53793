"""[student] frontend and [search.frontend]: read, dumped as before where nothing is said, contradictions said once."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.recipe.load import check, load
from edgekd.recipe.schema import Recipe
from tests.small_builds import recipe as written

FREE = '[data_free]\nmethod = "inversion"\n\n'


def test_is_read_and_written_again(tmp_path: Path) -> None:
    change = {
        "[student.space]": "frontend = { mels = 10, low_hz = 80.5 }\n\n[student.space]",
        "[views]": "[search.frontend]\nspace = { hop = [80, 160] }\n\n[views]",
    }
    recipe = load(written(tmp_path, change)).recipe
    assert recipe.student.frontend == {"mels": 10, "low_hz": 80.5} and recipe.search["frontend"].space == {"hop": [80, 160]}
    assert Recipe.model_validate(recipe.model_dump()) == recipe
    assert "frontend" not in load(written(tmp_path / "none")).recipe.model_dump()["student"]


@pytest.mark.parametrize(
    ("table", "key", "found"),
    [
        ("[search.frontend]\n", "search.frontend.space", "is missing"),
        ("[search.frontend]\noptions = { mels = 10 }\n", "search.frontend.space", "is missing"),
        ("[search.frontend]\nspace = { mels = [] }\n", "search.frontend.space.mels", "an empty list"),
        ("[search.frontend]\nspace = { mels = [10, 10] }\n", "search.frontend.space.mels", "[10, 10] has a value twice"),
        ('[search.frontend]\nspace = { mels = [10, "16"] }\n', "search.frontend.space.mels", "[10, '16'] are not all numbers"),
        ("[search.frontend]\nspace = { mels = [10] }\noptions = { hop = true }\n", "search.frontend.options.hop", None),
        ("[search.frontend]\nspace = { mels = [10] }\noptions = { mels = 16 }\n", "search.frontend.space.mels", None),
        (FREE + "[search.frontend]\nspace = { mels = [10] }\n", "search.frontend", "beside [data_free]"),
    ],
)
def test_one_problem_each(tmp_path: Path, table: str, key: str, found: str | None) -> None:
    recipe, problems = check(written(tmp_path, {"[views]": f"{table}\n[views]"}) / "recipe.toml")
    assert recipe is None and [problem.key for problem in problems] == [key], problems
    assert problems[0].expected and problems[0].mend and (found is None or found in problems[0].found)


@pytest.mark.parametrize("value", ["{}", "{ mels = true }", '{ mels = "16" }', "[16]"])
def test_a_students_front_end_is_numbers(tmp_path: Path, value: str) -> None:
    recipe, problems = check(written(tmp_path, {"[student.space]": f"frontend = {value}\n\n[student.space]"}) / "recipe.toml")
    assert recipe is None and all(problem.key.startswith("student.frontend") for problem in problems), problems


def test_a_student_of_made_images_has_no_front_end(tmp_path: Path) -> None:
    change = {"[student.space]": "frontend = { mels = 10 }\n\n[student.space]", "[views]": FREE + "[views]"}
    _, (problem,) = check(written(tmp_path, change) / "recipe.toml")
    assert problem.key == "student.frontend" and "beside [data_free]" in problem.found
