"""Data-free distillation: training images made from the teacher alone, once, and stored. Validation and test stay the real ones.

Of the data's training split nothing is used but the shape of an image and the names of the classes; the pixels' mean and standard
deviation are what the recipe says of the teacher.
"""

from __future__ import annotations

import logging
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgekd import lazy, runs
from edgekd.data.dataset import Dataset, Split
from edgekd.errors import InputError
from edgekd.recipe.schema import DataFree
from edgekd.teachers.answers import SMALLEST
from edgekd.teachers.sealed import part_of, seal, whole
from edgekd.teachers.teacher import Teacher, amx, logits
from edgekd.train import SYNTHESIS

LOG = logging.getLogger(__name__)
#: Counts changes of what images are made, so that those of an earlier version are not taken for them.
VERSION = 2
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Order:
    """What is to be made: ``samples`` images uint8 of ``shape`` (height, width, channels), in ``steps`` of the method's own kind.

    ``teacher`` maps pixels/255 float [n, C, H, W] to logits [n, ``classes``]; it is in evaluation mode, its weights are frozen, and
    gradients reach the pixels. ``state`` is a folder for what an interrupted run goes on from; ``progress`` gets steps done and all.
    ``mean`` and ``std`` [channels] are those of the pixels/255 that it was trained on, as the recipe has it; () where that is silent.
    """

    teacher: nn.Module
    shape: tuple[int, int, int]
    classes: int
    samples: int
    steps: int
    seed: int
    state: Path
    progress: Callable[[int, int], None]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class Differentiable(nn.Module):
    """What ``Teacher`` computes, without the rounding to 8 bits that resized images undergo: it has no gradient."""

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.teacher = teacher.eval().requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        t = self.teacher
        if t.size is not None and x.shape[2:] != t.size:
            x = functional.interpolate(x, t.size, mode="area")
        with torch.autocast("cpu", torch.bfloat16, enabled=amx()):
            y = t.body(((x - t.mean) / t.std * t.scale).contiguous(memory_format=torch.channels_last)).float()
        y = y.clamp_min(SMALLEST).log() if t.log else y
        return y if t.columns is None else y[:, list(t.columns)]


def synthetic(data: Dataset, table: DataFree, teacher: Teacher, sha256: str, cache: Path, progress: Progress) -> Dataset:
    """``data`` with a training split that is made from ``teacher``, whose hash is ``sha256``: images, labelled as the teacher does.

    They lie in ``cache`` under the hash of the teacher and of all that the recipe's ``table`` says, and are made only if they are not
    there; an interrupted run goes on. Raises InputError for several tasks, an unknown method, its options, or a teacher without gradients.
    """
    if len(data.heads) > 1:
        raise InputError(f"the data has {len(data.heads)} tasks", where="recipe, data_free", expected="one, which the teacher answers")
    function = lazy.resolve(table.method, SYNTHESIS, where="recipe, data_free.method")
    own = lazy.source_sha256(table.method)
    asked = {"table": table.model_dump(), "teacher": sha256, "shape": data.shape, "labels": data.labels, "own": own, "version": VERSION}
    folder = cache / "synthetic" / runs.digest(asked)[:32]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "images.npz"
    with runs.lock(folder, wait=lambda who: LOG.warning("%s makes the same images: waiting", who)):
        if (train := _stored(file, data.shape)) is None:
            order = Order(
                _differentiable(teacher, data.shape), data.shape, len(data.labels), table.samples, table.steps, table.seed,
                folder / "state", partial(progress, "synthetic images"), *_pixels(teacher),
            )  # fmt: skip
            order.state.mkdir(exist_ok=True)
            x = lazy.call(table.method, partial(function, order), {}, table.options, where="recipe, data_free")
            train = _labelled(x, order, teacher, table.method)
            _store(file, train)
            shutil.rmtree(order.state)
    _say_what_is_missing(train, data.labels)
    # Another reading of images that never were does not exist.
    held, test = (Split(split.x, split.y) for split in (data.validation, data.test))
    return replace(data, name=f"{data.name}, training images made by {table.method}", train=train, validation=held, test=test)


def _differentiable(teacher: Teacher, shape: tuple[int, int, int]) -> nn.Module:
    """The teacher as a function that gradients pass. Raises InputError if none does."""
    found, (height, width, channels) = Differentiable(teacher), shape
    x = torch.full((2, channels, height, width), 0.5, requires_grad=True)
    try:
        reached = bool(torch.autograd.grad(found(x).sum(), x)[0].isfinite().all())
    except (RuntimeError, NotImplementedError):
        reached = False
    if not reached:
        raise InputError(
            "no gradient of the teacher's answers reaches its pixels",
            where="recipe, data_free",
            expected="a teacher that torch computes: residual_cnn, or your own module",
        )
    return found


def _pixels(teacher: Teacher) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation that the teacher normalizes by; () both where it takes pixels as they are."""
    mean, std = (tuple(value.reshape(-1).tolist()) for value in (teacher.mean, teacher.std))
    return ((), ()) if set(mean) == {0.0} and set(std) == {1.0} else (mean, std)


def _labelled(x: object, order: Order, teacher: Teacher, method: str) -> Split:
    """Images with the teacher's labels. Raises InputError if a user's own method returned something else."""
    if not isinstance(x, np.ndarray) or x.dtype != np.uint8 or x.shape != (order.samples, *order.shape):
        found = f"{x.dtype} {list(x.shape)}" if isinstance(x, np.ndarray) else type(x).__name__
        expected = f"uint8 {[order.samples, *order.shape]}"
        raise InputError(f"{method} returned {found}", where="recipe, data_free.method", expected=expected)
    return Split(x, logits(teacher, x, bf16=amx()).argmax(1).astype(np.int64))


def _say_what_is_missing(train: Split, labels: tuple[str, ...]) -> None:
    counts = np.bincount(train.y, minlength=len(labels))
    if missing := [name for name, count in zip(labels, counts, strict=True) if not count]:
        LOG.warning("none of the synthetic images is of class %s: the student will not know it", ", ".join(missing))


def _store(file: Path, train: Split) -> None:
    part = part_of(file)
    with part.open("wb") as stream:
        np.savez(stream, x=train.x, y=train.y)
    seal(part, file)


def _stored(file: Path, shape: tuple[int, int, int]) -> Split | None:
    """What was stored before, if it is there as it was written."""
    if not whole(file):
        return None
    try:
        with np.load(file, allow_pickle=False) as found:
            train = Split(found["x"], found["y"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return train if train.x.shape[1:] == shape else None
