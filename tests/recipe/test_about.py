"""[about]: what a release says of a model, and no part of what decides it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd import runs
from edgekd.errors import InputError
from edgekd.jobs import Request, load_jobs
from edgekd.recipe.load import load
from tests.small_builds import recipe as written

ABOUT = 'title = "Tiny"\nlicense = "MIT"\nauthors = ["Ada", "Alan"]\n'


def test_it_is_read_and_decides_nothing(tmp_path: Path) -> None:
    plain = written(tmp_path / "plain")
    told = written(tmp_path / "told", {"[data]": f"[about]\n{ABOUT}\n[data]"})
    about = load(told).recipe.about
    assert about is not None and about.texts == {"title": "Tiny", "license": "MIT", "authors": "Ada, Alan"}
    assert load(plain).recipe.about is None and "about" not in load(plain).recipe.model_dump()
    identities = [load_jobs(Request(str(where), ("pixel-8",)))[0].identity for where in (plain, told)]
    assert runs.digest(identities[0]) == runs.digest(identities[1])


@pytest.mark.parametrize(
    ("line", "said"), [('licence = "MIT"', "about.licence"), ('license = ""', "about.license"), ("authors = []", "about.authors")]
)
def test_what_is_wrong_is_said(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load(written(tmp_path, {"[data]": f"[about]\n{line}\n[data]"}))


@pytest.mark.parametrize("name", ["fashion_mnist", "fashion_mnist_few_labels", "spoken_digits", "digits_and_speakers"])
def test_shipped_recipes_say_where_data_and_teacher_come_from(name: str) -> None:
    about = load(name).recipe.about
    assert about is not None and {"title", "data_license", "teacher_license", "intended_use", "limitations"} <= set(about.texts)
