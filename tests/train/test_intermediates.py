"""A chain of tiny students: whom each is taught by, where its training lies, what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edgekd.data.load import load_data
from edgekd.data.resize import resize
from edgekd.errors import InputError
from edgekd.recipe.load import load as load_recipe
from edgekd.recipe.schema import Intermediates
from edgekd.students.family import open_family
from edgekd.teachers.teacher import logits
from edgekd.train.intermediates import Chain, as_teacher, chain, last_lesson, links, train_chain
from edgekd.train.lesson import Lesson, open_lesson
from edgekd.train.student import Training, outputs
from tests.small_builds import recipe
from tests.watching import quiet

FAMILY = open_family("inverted_residual")
OPTIONS = {"stem": 8, "widths": [8, 12], "blocks": [1, 2], "strides": [1, 2], "stem_stride": 2, "expansion": 2, "width": 0.5}
SPEC = next(iter(FAMILY.candidates(OPTIONS, {}, (12, 12, 1), 4)))


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Lesson:
    folder = tmp_path_factory.mktemp("lesson")
    loaded = load_recipe(recipe(folder / "recipe", {"[student]\n": "[intermediates]\ngenerations = 1\n\n[student]\n"}))
    data = load_data(loaded.recipe.data.source, loaded.recipe.data.options, loaded.folder)
    return open_lesson(loaded, data, folder / "cache", quiet)


def of(lesson: Lesson, **table: Any) -> Lesson:
    return replace(lesson, recipe=lesson.recipe.model_copy(update={"intermediates": Intermediates(**table)}))


def trained(lesson: Lesson, cache: Path, run: Path, seen: list[str] | None = None) -> tuple[Chain, Lesson]:
    made = chain(lesson, FAMILY, SPEC, {"schedule": "short"}, cache)
    preset = lesson.recipe.presets["demo"].model_copy(update={"float_epochs": 0.5, "bf16": "off"})
    training = Training(lesson, preset, FAMILY.resolution(SPEC), 0)
    train_chain(made, training, run, lambda what, *_: None if seen is None else seen.append(what))
    return made, last_lesson(made, lesson, run, quiet)


def test_a_student_as_a_teacher_answers_the_same() -> None:
    torch.manual_seed(0)
    small = next(iter(FAMILY.candidates({**OPTIONS, "resolution": 8}, {}, (12, 12, 1), 4)))
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 12, 1)).astype(np.uint8)
    for spec in (SPEC, small):
        model, size = FAMILY.build(spec).eval(), FAMILY.resolution(spec)
        found = logits(as_teacher(model, size, (12, 12)), pixels, bf16=False)
        np.testing.assert_allclose(found, outputs(model, resize(pixels, *size)), atol=1e-5)


def test_titles_and_sizes(lesson: Lesson) -> None:
    student = lesson.recipe.student
    found = links(Intermediates(assistants=[{"width": 2.0}, {}], generations=2), FAMILY, student, SPEC, lesson)
    assert [link.title.partition(":")[0] for link in found] == [
        "assistant 1 of 2",
        "assistant 2 of 2",
        "generation 1 of 2",
        "generation 2 of 2",
    ]
    assert found[0].parameters > found[1].parameters == found[3].parameters and found[1].spec == SPEC
    assert found[0].title == f"assistant 1 of 2: {found[0].parameters:,} parameters"
    near = replace(lesson, teacher_parameters=found[1].parameters * 9)
    assert links(Intermediates(assistants="auto"), FAMILY, student, SPEC, near) == ()
    far = replace(lesson, teacher_parameters=found[1].parameters * 40)
    (one,) = links(Intermediates(assistants="auto"), FAMILY, student, SPEC, far)
    assert one.parameters == pytest.approx(found[1].parameters * 40**0.5, rel=0.15)


@pytest.mark.parametrize(
    ("options", "parameters", "message"),
    [
        ("auto", None, "the teacher's size is not known"),
        ([{"heigth": 3}], 1, "'heigth' is not an option of inverted_residual"),
    ],
)
def test_refused(lesson: Lesson, options: Any, parameters: int | None, message: str) -> None:
    unknown = replace(lesson, teacher_parameters=parameters)
    with pytest.raises(InputError, match=message):
        links(Intermediates(assistants=options), FAMILY, lesson.recipe.student, SPEC, unknown)


def test_each_is_taught_by_the_one_before(lesson: Lesson, tmp_path: Path) -> None:
    seen: list[str] = []
    made, taught = trained(of(lesson, assistants=[{"width": 1.0}], generations=1), tmp_path / "cache", tmp_path / "run", seen)
    assert [title for title in dict.fromkeys(seen) if "of 1:" in title] == [link.title for link in made.links]
    folders = [tmp_path / "run" / "intermediates" / n / "float.safetensors" for n in ("1", "2")]
    model = FAMILY.build(SPEC)
    model.load_state_dict(load_file(folders[1]))
    x = lesson.views.all(lesson.data.train.x, 1)
    assert taught.targets[0] is not None and taught.answers is lesson.answers
    np.testing.assert_allclose(taught.targets[0][1].astype(float), outputs(model.eval(), x), rtol=0.03, atol=0.05)
    # The same chain is found; a longer one goes on behind what it shares; another teacher trains all of it anew.
    assert len(list((tmp_path / "cache" / "float").iterdir())) == 2
    for changed, count in (
        (of(lesson, assistants=[{"width": 1.0}], generations=1), 2),
        (of(lesson, assistants=[{"width": 1.0}], generations=2), 3),
        (of(lesson, generations=1), 4),
        (replace(of(lesson, generations=1), teacher_sha256="another"), 5),
    ):
        trained(changed, tmp_path / "cache", tmp_path / f"run{count}")
        assert len(list((tmp_path / "cache" / "float").iterdir())) == count


def test_no_links_change_nothing(lesson: Lesson, tmp_path: Path) -> None:
    none = replace(of(lesson, assistants="auto"), teacher_parameters=1)
    made, taught = trained(none, tmp_path / "cache", tmp_path / "run")
    assert made.links == () and taught is none and not (tmp_path / "run").exists()
