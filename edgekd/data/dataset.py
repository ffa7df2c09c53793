"""What every source of data returns: three splits of 8-bit images with labels, of one task or of several."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from edgekd.errors import InputError


@dataclass(frozen=True)
class Task:
    """One question that is asked of a sample. ``labels`` names its classes in index order; a dataset's only task may go without a name."""

    name: str
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        # The name becomes that of an output in exported files, and part of a figure's name.
        if self.name == "input" or (self.name and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", self.name)):
            raise InputError(f"a task named {self.name!r}", where="data", expected="letters, digits and _, a letter first; not input")


@dataclass(frozen=True)
class Split:
    """Samples of one split: ``x`` uint8 [N, H, W, C] (8-bit pixels), ``y`` int64 [N] (index into the labels).

    Of T > 1 tasks ``y`` is [N, T]. In training −1 means that the label is not known. ``more`` holds other readings of the same samples, by
    name, each [N, ...]: what a teacher reads that does not see ``x``.
    """

    x: np.ndarray
    y: np.ndarray
    more: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or self.x.dtype != np.uint8:
            raise InputError(f"images of shape {self.x.shape} and dtype {self.x.dtype}", where="data", expected="uint8 [N, H, W, C]")
        if self.y.shape[:1] != (len(self.x),) or self.y.ndim > 2 or (self.y.ndim == 2 and self.y.shape[1] < 2):
            raise InputError(
                f"{len(self.x)} images but labels of shape {self.y.shape}", where="data", expected="one label an image, or one a task"
            )
        for name, values in self.more.items():
            if len(values) != len(self.x):
                raise InputError(f"{len(self.x)} images but {len(values)} of {name!r}", where="data", expected="as many")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def tasks(self) -> int:
        """How many labels an image has."""
        return 1 if self.y.ndim == 1 else self.y.shape[1]

    def classes(self, task: int = 0) -> np.ndarray:
        """The labels int64 [N] of one task, by its place; −1 where not known."""
        return self.y if self.y.ndim == 1 else self.y[:, task]

    def take(self, indices: np.ndarray) -> Split:
        """The samples at ``indices``, with all that belongs to them."""
        return Split(self.x[indices], self.y[indices], {name: values[indices] for name, values in self.more.items()})


@dataclass(frozen=True)
class Dataset:
    """Train, validation and test; validation is held out of training. ``labels`` names the classes in index order.

    ``tasks`` is for data of several: each names its own classes, and ``labels`` are the first one's. Left out, there is one of ``labels``.
    ``front_end`` is for images that were computed, of sound say: ``kind`` and the numbers by which a device computes the same.
    ``teachers_see`` is the same samples as the teachers are fed them, where the student has a front-end of its own.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    labels: tuple[str, ...]
    tasks: tuple[Task, ...] = ()
    front_end: Mapping[str, Any] = field(default_factory=dict)
    teachers_see: Dataset | None = None

    def __post_init__(self) -> None:
        if self.tasks and self.tasks[0].labels != self.labels:
            raise InputError("labels are not those of the first task", where=self.name, expected=f"{list(self.tasks[0].labels)}")
        if len({task.name for task in self.tasks}) != len(self.tasks) or (len(self.tasks) > 1 and not all(t.name for t in self.tasks)):
            raise InputError(f"tasks named {[t.name for t in self.tasks]}", where=self.name, expected="a name of its own for each")
        for which in ("train", "validation", "test"):
            split: Split = getattr(self, which)
            if not len(split):
                raise InputError(f"the {which} split is empty", where=self.name, expected="at least one sample in each split")
            self._check_labels(which, split)
            if split.x.shape[1:] != self.train.x.shape[1:]:
                raise InputError(
                    f"{which} images are {split.x.shape[1:]}", where=self.name, expected=f"{self.train.x.shape[1:]} as in train"
                )
            if self.teachers_see is not None and not np.array_equal(split.y, getattr(self.teachers_see, which).y):
                raise InputError(f"the teachers see other samples in the {which} split", where=self.name, expected="the same, in one order")
            if set(split.more) != set(self.train.more):
                raise InputError(
                    f"{which} also holds {sorted(split.more)}", where=self.name, expected=f"{sorted(self.train.more)} as train"
                )

    def _check_labels(self, which: str, split: Split) -> None:
        if split.tasks != len(self.heads):
            raise InputError(
                f"{split.tasks} labels an image in the {which} split", where=self.name, expected=f"{len(self.heads)}, one a task"
            )
        lowest = -1 if which == "train" else 0
        for index, task in enumerate(self.heads):
            y = split.classes(index)
            if y.min() < lowest or y.max() >= len(task.labels):
                wrong = int(y.max() if y.max() >= len(task.labels) else y.min())
                of = f" of task {task.name}" if task.name else ""
                raise InputError(f"label {wrong}{of} in the {which} split", where=self.name, expected=f"0 to {len(task.labels) - 1}")

    @property
    def heads(self) -> tuple[Task, ...]:
        """The tasks, one at least: a student answers each, in this order, one value a class."""
        return self.tasks or (Task("", self.labels),)

    @property
    def for_teachers(self) -> Dataset:
        """The same samples as the teachers are fed them."""
        return self.teachers_see or self

    @property
    def sizes(self) -> dict[str, int]:
        """How many classes each task has, by its name: a student answers so many values, side by side."""
        return {task.name: len(task.labels) for task in self.heads}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels of one sample."""
        h, w, c = self.train.x.shape[1:]
        return h, w, c

    @cached_property
    def sha256(self) -> str:
        """Hash of every pixel and label (and of every task, other reading, and what the teachers see instead), so that a stored result is
        never used with other data."""
        digest = hashlib.sha256(repr((self.labels, self.shape)).encode())
        if self.teachers_see is not None:
            digest.update(self.teachers_see.sha256.encode())
        if self.tasks:
            digest.update(repr([(task.name, task.labels) for task in self.tasks]).encode())
        for split in (self.train, self.validation, self.test):
            digest.update(np.ascontiguousarray(split.x).data)
            digest.update(np.ascontiguousarray(split.y).data)
            for name, values in sorted(split.more.items()):
                digest.update(repr((name, values.shape, values.dtype.str)).encode())
                digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()

    def check_unchanged(self) -> None:
        """Raise InputError if samples that are mapped from a file, not held in memory, are no longer those that ``sha256`` was taken of."""
        own = self.for_teachers
        mapped = any(_is_mapped(split.x) for data in (self, own) for split in (data.train, data.validation, data.test))
        if mapped and replace(self, teachers_see=self.teachers_see and replace(self.teachers_see)).sha256 != self.sha256:
            found, mend = "the data was changed while it was used", "put the data back as it was, and go on with --resume; or build anew"
            raise InputError(found, where=self.name, expected="a file that nobody writes to", mend=mend)


def _is_mapped(array: np.ndarray) -> bool:
    base: Any = array
    while base is not None and not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
    return base is not None


def hold_out(split: Split, n: int, *, where: str, seed: int = 0) -> tuple[Split, Split]:
    """Split ``split`` into training and ``n`` validation samples, drawn once with a fixed seed among those whose labels are all known.

    Raises InputError if ``n`` leaves no sample on either side.
    """
    _check_seed(seed, where)
    known = _known(split.y)
    if not 0 < n < len(split) or n > known.sum():
        of = f"{len(split)}" if known.all() else f"{known.sum()} with labels"
        most = min(len(split) - 1, int(known.sum()))
        raise InputError(f"validation = {n}", where=where, expected=f"1 to {most} samples held out of {of}")
    order = np.random.default_rng(seed).permutation(len(split))
    held = np.sort(order[known[order]][:n])
    return split.take(np.setdiff1d(order, held)), split.take(held)


def stratified(y: np.ndarray, shares: tuple[float, ...], *, where: str, labels: tuple[str, ...], seed: int = 0) -> list[np.ndarray]:
    """Indices of ``y`` [N] in len(shares) + 1 groups: the rest first, then one group a share, drawn within each class with a fixed seed.

    Every class has at least one sample in every group. Of [N, tasks] the first task's classes count. Samples that lack a label (−1) stay in
    the first group. Raises InputError if a class has too few for that, or a share is impossible.
    """
    _check_seed(seed, where)
    if any(not 0 < share < 1 for share in shares) or sum(shares) >= 1:
        raise InputError(f"held-out shares {shares}", where=where, expected="each above 0, together below 1", mend="validation = 0.1")
    known, first = _known(y), y if y.ndim == 1 else y[:, 0]
    groups: list[list[np.ndarray]] = [[] for _ in range(len(shares) + 1)]
    groups[0].append(np.flatnonzero(~known))
    generator = np.random.default_rng(seed)
    for index, label in enumerate(labels):
        members = generator.permutation(np.flatnonzero((first == index) & known))
        counts = [max(1, round(share * len(members))) for share in shares]
        if len(members) <= sum(counts):
            raise InputError(
                f"class {label!r} has {len(members)} samples", where=where, expected=f"at least {len(shares) + 1}, one for each split"
            )
        ends = np.cumsum([len(members) - sum(counts), *counts])
        for group, part in zip(groups, np.split(members, ends[:-1]), strict=True):
            group.append(part)
    return [np.sort(np.concatenate(group)) for group in groups]


def keep_labels(split: Split, share: float, *, where: str) -> Split:
    """``split``, of which only ``share`` of the samples of each class (of the first task) keep their labels, one at least; the rest get −1.

    Drawn with a fixed seed, a smaller share out of a larger one. Raises InputError for an impossible share.
    """
    check_labelled(share, where)
    generator, y = np.random.default_rng(0), split.y.copy()
    for label in np.unique(split.classes()):
        members = generator.permutation(np.flatnonzero(split.classes() == label))
        y[members[max(1, round(share * len(members))) :]] = -1
    return Split(split.x, y, split.more)


def _check_seed(seed: int, where: str) -> None:
    if seed < 0:
        raise InputError(f"seed = {seed}", where=where, expected="0 or above", mend="seed = 0")


def check_labelled(share: float, where: str) -> None:
    """Raises InputError unless ``share`` of the labels can be kept."""
    if not 0 < share <= 1:
        raise InputError(f"labelled = {share}", where=where, expected="above 0, at most 1", mend="labelled = 0.1")


def _known(y: np.ndarray) -> np.ndarray:
    """Which samples have all their labels: bool [N]."""
    known = np.asarray(y >= 0)
    return known if y.ndim == 1 else np.asarray(known.all(axis=1))
