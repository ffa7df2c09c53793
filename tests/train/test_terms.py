"""The recipe's losses, found and tried before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from edgekd.data.dataset import Task
from edgekd.errors import InputError
from edgekd.losses.cross_entropy import cross_entropy
from edgekd.recipe.schema import Recipe
from edgekd.train.terms import task_of, terms

ONE, TWO = (Task("", ("a", "b")),), (Task("kind", ("a", "b")), Task("size", ("s", "m", "l")))
RECIPE: dict[str, Any] = {
    "schema_version": 1,
    "name": "tiny",
    "data": {"source": "numpy"},
    "teacher": {"source": "residual_cnn"},
    "student": {"family": "inverted_residual"},
    "presets": {"demo": {"float_epochs": 1.0, "qat_epochs": 1.0}},
}
WIDE: list[tuple[int, ...]] = []


class NoModule:
    pass


class Wide(nn.Module):
    """Reads the teacher, and notes what it is made of."""

    def __init__(self, student: torch.Tensor, teacher: torch.Tensor, samples: int) -> None:
        super().__init__()
        WIDE.append(tuple(student.shape))

    def forward(self, student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        return (student - teacher).square().mean()


def recipe(*losses: dict[str, Any]) -> Recipe:
    return Recipe.model_validate({**RECIPE, "losses": [{"weight": 1.0, **loss} for loss in losses]})


def test_a_term_has_what_the_recipe_says() -> None:
    (hard, tapped) = terms(
        recipe(
            {"name": "cross_entropy", "options": {"label_smoothing": 0.1}, "task": "size", "phase": "qat"},
            {"name": f"{__name__}:Wide", "student": ["a", "b.0"], "teacher": "student:"},
        ),
        TWO,
        {0},
    )
    assert (hard.function, hard.weight, hard.options, hard.task, hard.phase) == (cross_entropy, 1.0, {"label_smoothing": 0.1}, 1, "qat")
    assert (tapped.student, tapped.teacher, tapped.task, tapped.where) == (("a", "b.0"), "student:", 0, "recipe, losses[1]")
    assert tapped.is_module and not hard.is_module


def test_a_module_that_taps_nothing_is_tried_with_its_tasks_classes() -> None:
    del WIDE[:]
    terms(recipe({"name": f"{__name__}:Wide", "task": "size"}), TWO, {0, 1})
    assert WIDE == [(2, 3)]


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ({"name": "soft_target"}, r"losses\[0\].name: 'soft_target' is not known(?s:.*)perhaps 'soft_targets'"),
        ({"name": f"{__name__}:NoModule"}, r"losses\[0\].name: .*NoModule is a class, but no module"),
        ({"name": f"{__name__}:RECIPE"}, r"losses\[0\].name: .*RECIPE is a dict"),
        (
            {"name": "cross_entropy", "options": {"smoothing": 1}},
            r"losses\[0\].options: cross_entropy does not take .*smoothing",
        ),
        ({"name": "cross_entropy", "task": "sizes"}, r"losses\[0\].task: no task is called 'sizes'(?s:.*)kind, size(?s:.*)task = 'size'"),
        ({"name": "soft_targets", "task": "size"}, r"soft_targets asks the teacher, but task 'size' has none(?s:.*)task = \"size\""),
        ({"name": f"{__name__}:Wide", "task": "size"}, r"Wide asks the teacher, but task 'size' has none"),
        ({"name": "hint", "student": "a", "teacher": "b", "task": "size"}, r"losses\[0\].teacher: task 'size' has no teacher to tap"),
    ],
)
def test_what_is_no_loss_or_asks_for_what_there_is_not(loss: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        terms(recipe(loss), TWO, {0})


def test_a_task_without_a_teacher_has_losses_of_labels() -> None:
    assert len(terms(recipe({"name": "cross_entropy", "task": "size"}, {"name": "soft_targets"}), TWO, {0})) == 2


def test_tasks_by_name() -> None:
    assert task_of(None, TWO, "x") == 0 and task_of("size", TWO, "x") == 1
    with pytest.raises(InputError, match="no name: the data has one task"):
        task_of("size", ONE, "x")
