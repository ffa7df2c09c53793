"""Splits and datasets refuse what no stage could use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgekd.data.dataset import Dataset, Split, Task, hold_out, stratified
from edgekd.errors import InputError


def _split(n: int = 4, classes: int = 2, side: int = 3) -> Split:
    return Split(np.zeros((n, side, side, 1), np.uint8), np.arange(n) % classes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": _split(0)}, "the test split is empty"),
        ({"test": _split(classes=3)}, "label 2 in the test split"),
        ({"validation": _split(side=5)}, r"validation images are \(5, 5, 1\)"),
    ],
)
def test_dataset(change: dict[str, Any], message: str) -> None:
    whole: dict[str, Any] = {"train": _split(), "validation": _split(), "test": _split()} | change
    with pytest.raises(InputError, match=message):
        Dataset("d", **whole, labels=("a", "b"))


def test_split() -> None:
    with pytest.raises(InputError, match="dtype float32"):
        Split(np.zeros((1, 2, 2, 1), np.float32), np.zeros(1, np.int64))
    with pytest.raises(InputError, match="one label an image"):
        Split(np.zeros((2, 2, 2, 1), np.uint8), np.zeros(1, np.int64))


def test_hash_changes_with_every_pixel_and_label() -> None:
    seen = {Dataset("d", _split(), _split(), _split(), ("a", "b")).sha256}
    for part in range(3):
        for what in ("x", "y"):
            splits = [_split(), _split(), _split()]
            getattr(splits[part], what)[1] = 1 - getattr(splits[part], what)[1]
            seen.add(Dataset("d", *splits, labels=("a", "b")).sha256)
    seen.add(Dataset("d", _split(), _split(), _split(), ("a", "c")).sha256)
    assert len(seen) == 8


def test_hold_out() -> None:
    kept, held = hold_out(_split(10), 3, where="w")
    assert (len(kept), len(held)) == (7, 3)
    for n in (0, 10, -1):
        with pytest.raises(InputError, match=f"w: validation = {n}"):
            hold_out(_split(10), n, where="w")


def test_stratified() -> None:
    y = np.array([0] * 20 + [1] * 3)
    groups = stratified(y, (0.1, 0.25), where="w", labels=("a", "b"))
    assert sorted(np.concatenate(groups).tolist()) == list(range(23))
    assert [np.bincount(y[g]).tolist() for g in groups] == [[13, 1], [2, 1], [5, 1]]
    with pytest.raises(InputError, match="class 'b' has 3 samples"):
        stratified(y, (0.5, 0.4), where="w", labels=("a", "b"))
    with pytest.raises(InputError, match="held-out shares"):
        stratified(y, (0.5, 0.5), where="w", labels=("a", "b"))


def _tasks(n: int = 12) -> Split:
    y = np.stack([np.arange(n) % 2, np.arange(n) % 3], 1)
    return Split(np.zeros((n, 3, 3, 1), np.uint8), y, {"wave": np.arange(5 * n, dtype=np.int16).reshape(n, 5)})


TASKS = (Task("kind", ("a", "b")), Task("who", ("x", "y", "z")))


def test_one_task_has_a_head_without_a_name() -> None:
    whole = Dataset("d", _split(), _split(), _split(), ("a", "b"))
    assert whole.heads == (Task("", ("a", "b")),)
    assert whole.sha256 == "298c97efcd4083c28636944993514bc5e959fb02387d03942de87cd5d83f149b"  # as it was before there were tasks


def test_several_tasks() -> None:
    whole = Dataset("d", _tasks(), _tasks(), _tasks(), ("a", "b"), TASKS)
    assert whole.heads == TASKS and whole.train.tasks == 2
    assert whole.train.classes(1).tolist() == [0, 1, 2] * 4
    part = whole.train.take(np.array([3, 1]))
    assert part.y.tolist() == [[1, 0], [1, 1]] and part.more["wave"][:, 0].tolist() == [15, 5]


@pytest.mark.parametrize(
    ("tasks", "labels", "message"),
    [
        (TASKS[:1], ("a", "b"), "2 labels an image in the train split"),
        ((), ("a", "b"), "2 labels an image in the train split"),
        (TASKS, ("a", "c"), "not those of the first task"),
        ((TASKS[0], Task("kind", ("x", "y", "z"))), ("a", "b"), "a name of its own"),
        ((TASKS[0], Task("", ("x", "y", "z"))), ("a", "b"), "a name of its own"),
        ((TASKS[0], Task("who", ("x", "y"))), ("a", "b"), "label 2 of task who in the train split"),
    ],
)
def test_tasks_that_do_not_fit(tasks: tuple[Task, ...], labels: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Dataset("d", _tasks(), _tasks(), _tasks(), labels, tasks)


@pytest.mark.parametrize("name", ["input", "a b", "1st", "../x"])
def test_a_task_is_named_so_that_an_output_can_be(name: str) -> None:
    with pytest.raises(InputError, match="a task named"):
        Task(name, ("a",))


def test_only_training_may_lack_labels() -> None:
    some = _tasks()
    some.y[2, 1] = -1
    Dataset("d", some, _tasks(), _tasks(), ("a", "b"), TASKS)
    for splits in ((_tasks(), some, _tasks()), (_tasks(), _tasks(), some)):
        with pytest.raises(InputError, match="label -1 of task who"):
            Dataset("d", *splits, labels=("a", "b"), tasks=TASKS)
    some.y[2, 1] = -2
    with pytest.raises(InputError, match="label -2 of task who in the train split"):
        Dataset("d", some, _tasks(), _tasks(), ("a", "b"), TASKS)


def test_other_readings_are_as_many_and_everywhere() -> None:
    with pytest.raises(InputError, match="4 images but 3 of 'wave'"):
        Split(np.zeros((4, 2, 2, 1), np.uint8), np.zeros(4, np.int64), {"wave": np.zeros((3, 9))})
    bare = Split(_tasks().x, _tasks().y)
    with pytest.raises(InputError, match=r"test also holds \[\].*\n?.*wave"):
        Dataset("d", _tasks(), _tasks(), bare, ("a", "b"), TASKS)


def test_hash_knows_tasks_and_other_readings() -> None:
    def whole(tasks: tuple[Task, ...] = TASKS, *, louder: int = 0, name: str = "wave") -> str:
        train = Split(_tasks().x, _tasks().y, {name: _tasks().more["wave"] + np.int16(louder)})
        other = Split(_tasks().x, _tasks().y, {name: _tasks().more["wave"]})
        return Dataset("d", train, other, other, ("a", "b"), tasks).sha256

    assert len({whole(), whole((TASKS[0], Task("speaker", TASKS[1].labels))), whole(louder=1), whole(name="sound")}) == 4
    one = [Dataset("d", _split(), _split(), _split(), ("a", "b"), tasks).sha256 for tasks in ((), (Task("kind", ("a", "b")),))]
    assert one[0] != one[1]


def test_what_lacks_a_label_is_never_held_out() -> None:
    some = _tasks(40)
    some.y[::4, 1] = -1
    kept, held = hold_out(some, 6, where="w")
    assert (held.y >= 0).all() and len(kept) == 34 and (kept.y[:, 1] < 0).sum() == 10
    assert held.more["wave"][:, 0].tolist() == [5 * i for i in sorted(held.more["wave"][:, 0] // 5)]
    with pytest.raises(InputError, match="1 to 30 samples held out of 30 with labels"):
        hold_out(some, 31, where="w")
    groups = stratified(some.y, (0.2,), where="w", labels=("a", "b"))
    assert sorted(np.concatenate(groups).tolist()) == list(range(40)) and (some.y[groups[1]] >= 0).all()
    assert np.bincount(some.y[groups[1], 0]).tolist() == [2, 4]
