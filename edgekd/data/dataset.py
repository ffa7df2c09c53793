"""What every source of data returns: three splits of 8-bit images with labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgekd.errors import InputError


@dataclass(frozen=True)
class Split:
    """Samples of one split: ``x`` uint8 [N, H, W, C] (8-bit pixels), ``y`` int64 [N] (index into the labels)."""

    x: np.ndarray
    y: np.ndarray

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or self.x.dtype != np.uint8:
            raise InputError(f"images of shape {self.x.shape} and dtype {self.x.dtype}", where="data", expected="uint8 [N, H, W, C]")
        if self.y.shape != (len(self.x),):
            raise InputError(f"{len(self.x)} images but labels of shape {self.y.shape}", where="data", expected="one label an image")

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Dataset:
    """Train, validation and test; validation is held out of training. ``labels`` names the classes in index order."""

    name: str
    train: Split
    validation: Split
    test: Split
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        for which in ("train", "validation", "test"):
            split: Split = getattr(self, which)
            if not len(split):
                raise InputError(f"the {which} split is empty", where=self.name, expected="at least one sample in each split")
            if split.y.min() < 0 or split.y.max() >= len(self.labels):
                raise InputError(
                    f"label {int(split.y.max())} in the {which} split", where=self.name, expected=f"0 to {len(self.labels) - 1}"
                )
            if split.x.shape[1:] != self.train.x.shape[1:]:
                raise InputError(
                    f"{which} images are {split.x.shape[1:]}", where=self.name, expected=f"{self.train.x.shape[1:]} as in train"
                )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels of one sample."""
        h, w, c = self.train.x.shape[1:]
        return h, w, c

    @cached_property
    def sha256(self) -> str:
        """Hash of every pixel and label, so that a stored result is never used with other data."""
        digest = hashlib.sha256(repr((self.labels, self.shape)).encode())
        for split in (self.train, self.validation, self.test):
            digest.update(np.ascontiguousarray(split.x).data)
            digest.update(np.ascontiguousarray(split.y).data)
        return digest.hexdigest()


def hold_out(split: Split, n: int, *, where: str, seed: int = 0) -> tuple[Split, Split]:
    """Split ``split`` into training and ``n`` validation samples, drawn once with a fixed seed.

    Raises InputError if ``n`` leaves no sample on either side.
    """
    if not 0 < n < len(split):
        raise InputError(f"validation = {n}", where=where, expected=f"1 to {len(split) - 1} samples held out of {len(split)}")
    order = np.random.default_rng(seed).permutation(len(split))
    held, kept = np.sort(order[:n]), np.sort(order[n:])
    return Split(split.x[kept], split.y[kept]), Split(split.x[held], split.y[held])


def stratified(y: np.ndarray, shares: tuple[float, ...], *, where: str, labels: tuple[str, ...], seed: int = 0) -> list[np.ndarray]:
    """Indices of ``y`` [N] in len(shares) + 1 groups: the rest first, then one group a share, drawn within each class with a fixed seed.

    Every class has at least one sample in every group. Raises InputError if a class has too few for that, or a share is impossible.
    """
    if any(not 0 < share < 1 for share in shares) or sum(shares) >= 1:
        raise InputError(f"held-out shares {shares}", where=where, expected="each above 0, together below 1", mend="validation = 0.1")
    groups: list[list[np.ndarray]] = [[] for _ in range(len(shares) + 1)]
    generator = np.random.default_rng(seed)
    for index, label in enumerate(labels):
        members = generator.permutation(np.flatnonzero(y == index))
        counts = [max(1, round(share * len(members))) for share in shares]
        if len(members) <= sum(counts):
            raise InputError(
                f"class {label!r} has {len(members)} samples", where=where, expected=f"at least {len(shares) + 1}, one for each split"
            )
        ends = np.cumsum([len(members) - sum(counts), *counts])
        for group, part in zip(groups, np.split(members, ends[:-1]), strict=True):
            group.append(part)
    return [np.sort(np.concatenate(group)) for group in groups]
