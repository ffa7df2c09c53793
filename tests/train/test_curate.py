from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgekd.data.dataset import Task
from edgekd.errors import InputError
from edgekd.recipe.schema import Critic
from edgekd.train.curate import Samples, curate


def samples(n: int = 12, *, task: str = "", wrong: tuple[int, ...] = (), unlabeled: tuple[int, ...] = ()) -> Samples:
    """Classes in turn; sample i is recognized with a logit of i, but for the ``wrong`` ones, which the teacher takes for the next class."""
    true = np.arange(n) % 3
    seen = np.where(np.isin(np.arange(n), wrong), (true + 1) % 3, true)
    logits = np.zeros((n, 3), np.float16)
    logits[np.arange(n), seen] = np.arange(n) + 1
    labels = np.where(np.isin(np.arange(n), unlabeled), -1, true)
    return Samples(np.zeros((n, 2, 2, 1), np.uint8), logits, labels, Task(task, ("a", "b", "c")))


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], str]:
    def put(function: Callable[..., Any]) -> str:
        module = types.ModuleType("own_critics")
        module.critic = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "own_critics", module)
        return "own_critics:critic"

    return put


def test_the_best_share_stays() -> None:
    found = curate([Critic(name="teacher_confidence", keep=0.5)], [samples()])
    assert found.chosen.tolist() == [6, 7, 8, 9, 10, 11] and found.weights is None
    assert found.kept == ({"critic": "teacher_confidence", "before": 12, "kept": 6, "per_class": {"a": 2, "b": 2, "c": 2}},)


def test_what_scores_nothing_never_stays() -> None:
    found = curate([Critic(name="agreement", keep=1.0)], [samples(wrong=(4, 9))])
    assert found.chosen.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 10, 11]
    assert found.kept[0]["per_class"] == {"a": 3, "b": 3, "c": 4}


def test_unlabeled_samples_take_part_with_the_teachers_label() -> None:
    found = curate([Critic(name="agreement", keep=1.0)], [samples(wrong=(4, 9), unlabeled=(4, 5))])
    assert found.chosen.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11]
    assert found.kept[0]["per_class"] == {"a": 3, "b": 3, "c": 5}  # sample 4, unlabeled, is what the teacher takes it for
    assert samples(unlabeled=(4,)).filled.min() == 0


def test_equals_are_drawn_from_all_over_the_split() -> None:
    found = curate([Critic(name="agreement", keep=0.5)], [samples(600)])
    assert len(found.chosen) == 300 and (np.diff(found.chosen) > 0).all()
    assert 100 < (found.chosen < 300).sum() < 200
    assert curate([Critic(name="agreement", keep=0.5)], [samples(600)]).chosen.tolist() == found.chosen.tolist()


def test_weights_are_the_scores_with_the_mean_1() -> None:
    found = curate([Critic(name="margin", weight=True)], [samples(wrong=(3,))])
    assert found.weights is not None and found.weights.mean() == pytest.approx(1)
    assert 3 not in found.chosen and (np.diff(found.weights) >= 0).all()


def test_critics_in_turn(own: Callable[..., str]) -> None:
    name = own(lambda x, teacher, labels, *, odd: 1.0 + (np.arange(len(labels)) % 2 == odd))
    critics = [
        Critic(name="agreement", keep=1.0),
        Critic(name=name, weight=True, options={"odd": 1}),
        Critic(name=name, weight=True, options={"odd": 0}),
    ]
    found = curate([*critics, Critic(name="teacher_confidence", keep=0.75)], [samples(24, wrong=(23, 20, 1, 2))])
    assert found.weights == pytest.approx(np.ones(15))
    assert [k["kept"] for k in found.kept] == [20, 20, 20, 15]


def test_a_critic_of_another_task() -> None:
    both = [samples(task="kind"), samples(task="speaker", wrong=(0, 7))]
    assert 7 in curate([Critic(name="agreement", keep=1.0)], both).chosen
    assert 7 not in curate([Critic(name="agreement", keep=1.0, task="speaker")], both).chosen
    with pytest.raises(InputError, match=r"(?s)critics\[0\].task: no task that has a teacher is called 'age'.*kind, speaker"):
        curate([Critic(name="agreement", keep=1.0, task="age")], both)


@pytest.mark.parametrize(
    ("critic", "given", "message"),
    [
        (Critic(name="agreement", keep=0.9), samples(6, wrong=tuple(range(6))), "agreement keeps none of 6 samples"),
        (Critic(name="agreement", weight=True), samples(6, wrong=tuple(range(6))), "agreement keeps none of 6 samples"),
        (Critic(name="agreement", keep=0.9), samples(6, wrong=(1, 4)), "agreement keeps none of the 2 samples of class 'b'"),
        (Critic(name="teacher_confidence", keep=0.1), samples(), "keeps none of the 4 samples of class 'a'"),
        (Critic(name="agreemnt", keep=0.9), samples(), r"(?s)'agreemnt' is not known.*perhaps 'agreement'"),
        (Critic(name="margin", keep=0.9, options={"heat": 1}), samples(), "does not take these options"),
        (Critic(name="margin", keep=0.9, options={"temperature": 0}), samples(), "above 0"),
    ],
)
def test_refused(critic: Critic, given: Samples, message: str) -> None:
    with pytest.raises(InputError, match=message):
        curate([critic], [given])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x, teacher, labels: np.ones(2), r"(?s)returned float64 \[2\].*\[12\]"),
        (lambda x, teacher, labels: ["good"] * 12, "a score a sample"),
        (lambda x, teacher, labels: np.full(12, np.nan), "scores like nan"),
        (lambda x, teacher, labels: -np.ones(12), "scores like -1"),
        (lambda x, teacher, labels: 1 / 0, "ZeroDivisionError"),
        ("text", "is a str"),
    ],
)
def test_an_own_critic_that_is_none(own: Callable[..., str], function: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        curate([Critic(name=own(function), keep=0.5)], [samples()])


def test_an_own_critic_sees_images_logits_and_labels(own: Callable[..., str]) -> None:
    def critic(x: np.ndarray, teacher: np.ndarray, labels: np.ndarray) -> np.ndarray:
        assert x.shape == (12, 2, 2, 1) and teacher.shape == (12, 3) and teacher.dtype == np.float32 and labels.min() >= 0
        return labels == teacher.argmax(1)

    assert len(curate([Critic(name=own(critic), keep=1.0)], [samples(unlabeled=(2,))]).chosen) == 12
