"""One .npz becomes a dataset; nothing in it is trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.data import numpy_file
from edgekd.data.numpy_file import load
from edgekd.errors import InputError


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_all_splits(save: object, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = {f"x_{p}": rng.integers(0, 256, (n, 5, 4, 3), np.uint8) for p, n in (("train", 12), ("validation", 4), ("test", 6))}
    y = {f"y_{p}": (np.arange(n) % 3).astype(np.uint8) for p, n in (("train", 12), ("validation", 4), ("test", 6))}
    save(tmp_path / "d.npz", **x, **y, other=np.zeros(3))  # type: ignore[operator]
    data = load(tmp_path / "d.npz", labels=["a", "b", "c"])
    assert data.name == "d" and data.labels == ("a", "b", "c") and data.shape == (5, 4, 3)
    for part in ("train", "validation", "test"):
        split = getattr(data, part)
        assert np.array_equal(split.x, x[f"x_{part}"]) and np.array_equal(split.y, y[f"y_{part}"])
        assert split.y.dtype == np.int64


def test_validation_is_held_out(tmp_path: Path) -> None:
    x = np.arange(40, dtype=np.uint8).reshape(40, 1, 1).repeat(4, 1).repeat(4, 2)
    y = np.array([0] * 30 + [2] * 10)
    np.savez(tmp_path / "d.npz", x_train=np.asfortranarray(x), y_train=y, x_test=x, y_test=y)
    data = load(tmp_path / "d.npz", validation=0.2)
    assert data.labels == ("0", "1", "2") and data.shape == (4, 4, 1)
    assert np.bincount(data.validation.y).tolist() == [6, 0, 2]
    kept = data.train.x[:, 0, 0, 0].tolist() + data.validation.x[:, 0, 0, 0].tolist()
    assert sorted(kept) == list(range(40)), "each image is in exactly one split"
    assert all(y[image[0, 0, 0]] == label for image, label in zip(data.train.x, data.train.y, strict=True))
    assert load(tmp_path / "d.npz", validation=0.2).sha256 == data.sha256


def test_large_arrays_that_are_not_compressed_stay_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, file = np.random.default_rng(0), tmp_path / "d.npz"
    x = {f"x_{p}": rng.integers(0, 256, (n, 20, 20), np.uint8) for p, n in (("train", 12), ("validation", 4), ("test", 6))}
    y = {f"y_{p}": np.arange(n) % 2 for p, n in (("train", 12), ("validation", 4), ("test", 6))}
    np.savez(file, **x, **y)  # type: ignore[arg-type]
    plain = load(file)
    monkeypatch.setattr(numpy_file, "MAPPED", 1000)
    monkeypatch.setattr(numpy_file, "MAX_BYTES", 2000)
    found = load(file)
    assert found.sha256 == plain.sha256 and not isinstance(plain.train.x, np.memmap)
    for part in ("train", "validation", "test"):
        assert isinstance(getattr(found, part).x, np.memmap) and not getattr(found, part).x.flags.writeable
    content = bytearray(file.read_bytes())
    content[content.index(x["x_test"].tobytes()) + 70] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read .*Bad CRC-32"):
        load(file)
    np.savez_compressed(file, **x, **y)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unpacks to .* bytes"):
        load(file)


TASKS = {"digit": ["zero", "one", "two"], "speaker": ["ann", "bob"]}


def _two_tasks(folder: Path, **change: np.ndarray) -> Path:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for part, count in (("train", 60), ("test", 30)):
        arrays[f"x_{part}"] = rng.integers(0, 256, (count, 4, 4, 1), np.uint8)
        arrays[f"y_{part}"] = np.stack([np.arange(count) % 3, np.arange(count) // 3 % 2], 1)
    np.savez(folder / "d.npz", **{**arrays, **change})  # type: ignore[arg-type]
    return folder / "d.npz"


def test_several_tasks(tmp_path: Path) -> None:
    data = load(_two_tasks(tmp_path), tasks=TASKS, validation=0.2)
    assert data.labels == ("zero", "one", "two")
    assert [(task.name, task.labels) for task in data.heads] == [(name, tuple(labels)) for name, labels in TASKS.items()]
    assert data.sizes == {"digit": 3, "speaker": 2}
    assert data.validation.y.shape == (12, 2) and np.bincount(data.validation.classes(0)).tolist() == [4, 4, 4]


def test_labels_that_are_not_known_stay_in_training(tmp_path: Path) -> None:
    y = np.stack([np.arange(60) % 3, np.arange(60) % 2], 1)
    y[::3, 1] = -1
    y[1::3] = [1, -1]
    y[-6:] = [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]]
    data = load(_two_tasks(tmp_path, y_train=y), tasks=TASKS, validation=0.3)
    assert (data.validation.y >= 0).all() and len(data.train) + len(data.validation) == 60
    one = load(_two_tasks(tmp_path, y_train=np.array([0, 1, -1] * 20), y_test=np.arange(30) % 2))
    assert (one.train.y == -1).sum() == 20 and one.labels == ("0", "1")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {}, r"y_train has shape \(60, 2\)(?s:.*)if these are several tasks"),
        ({"y_test": np.zeros((30, 3), np.int64)}, {"tasks": TASKS}, r"y_test has shape \(30, 3\)(?s:.*)\[N, 2\], one label a task"),
        ({}, {"tasks": TASKS, "labels": ["a"]}, "data.options.tasks and labels"),
        ({"y_train": np.arange(60) % 3, "y_test": np.arange(30) % 3}, {"tasks": {}}, "data.options.tasks is empty"),
        ({}, {"tasks": {**TASKS, "speaker": ["ann"]}}, "data.options.tasks.speaker has 1 different names for 2 classes"),
        ({}, {"tasks": {"digit": TASKS["digit"], "a b": TASKS["speaker"]}}, "a task named 'a b'"),
        ({"y_test": np.full((30, 2), -1)}, {"tasks": TASKS}, "y_test runs from -1 to -1"),
        (
            {"y_train": np.stack([np.arange(60) % 3, np.zeros(60, np.int64)], 1)},
            {"tasks": TASKS},
            "class 1 of task speaker is in y_test but",
        ),
    ],
)
def test_tasks_that_do_not_fit(change: dict[str, np.ndarray], options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load(_two_tasks(tmp_path, **change), **options)
