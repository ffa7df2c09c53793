"""Splits and datasets refuse what no stage could use."""

from __future__ import annotations

import numpy as np
import pytest

from edgekd.data.dataset import Dataset, Split, hold_out, stratified
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
def test_dataset(change: dict, message: str) -> None:
    whole = {"train": _split(), "validation": _split(), "test": _split()} | change
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
