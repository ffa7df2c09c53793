"""One .npz becomes a dataset; nothing in it is trusted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.data.numpy_file import load


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
