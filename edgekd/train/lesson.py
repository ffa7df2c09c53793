"""What every student of a recipe shares: the data, the teacher and its stored outputs. Made once, whatever the number of targets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from edgekd import host, lazy, runs
from edgekd.data.dataset import Dataset
from edgekd.data.views import Views
from edgekd.errors import InputError
from edgekd.losses import LOSSES
from edgekd.quant import compare
from edgekd.recipe.load import LoadedRecipe, checkpoint
from edgekd.recipe.schema import Preset, Recipe
from edgekd.records import Figure
from edgekd.teachers import TEACHERS
from edgekd.teachers.soft_targets import key, soft_targets
from edgekd.teachers.teacher import Teacher, amx, load_weights, logits
from edgekd.train.distill import LossFunction, Term
from edgekd.train.teach import TeachSchedule, teach

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Lesson:
    """``targets`` float16 [views, N, classes] are the teacher's logits for the training set, ``teacher_outputs`` for the test set."""

    recipe: Recipe
    data: Dataset
    views: Views
    terms: tuple[Term, ...]
    targets: np.ndarray
    teacher_outputs: np.ndarray
    teacher_sha256: str


def open_lesson(loaded: LoadedRecipe, data: Dataset, cache: Path, progress: Progress, preset: Preset | None = None) -> Lesson:
    """Load the teacher, and compute or find its outputs in ``cache``, over the views of ``preset`` or else the recipe's own."""
    recipe = loaded.recipe
    losses = terms(recipe, len(data.labels))
    torch.manual_seed(0)  # a teacher without a checkpoint is random, but always the same
    teacher = open_teacher(loaded, data)
    sha256 = fingerprint(teacher)
    if own := lazy.source_sha256(recipe.teacher.source):
        # Weights alone do not say what a user's own module computes with them.
        sha256 = key(sha256, own, repr(recipe.teacher.options))
    views = Views(**((preset and preset.views) or recipe.views).model_dump())
    file = cache / "soft_targets" / f"{key(sha256, data.sha256, views.sha256)}.npy"
    makers = [partial(views.all, data.train.x, n) for n in range(views.count)]
    targets = soft_targets(teacher, makers, file, lambda n, total: progress("soft targets", n, total))
    file = cache / "soft_targets" / f"{key(sha256, data.sha256, 'test')}.npy"
    outputs = soft_targets(teacher, [lambda: data.test.x], file, lambda n, total: progress("teacher on test", n, total))[0]
    return Lesson(recipe, data, views, losses, targets, outputs, sha256)


def open_teacher(loaded: LoadedRecipe, data: Dataset, *, trained: bool = True) -> Teacher:
    """The recipe's teacher, with the weights of its checkpoint where it has one."""
    table = loaded.recipe.teacher
    function = lazy.resolve(table.source, TEACHERS, where="recipe, teacher.source")
    given = {"channels": data.shape[2], "classes": len(data.labels)}
    body = lazy.call(table.source, function, given, table.options, where="recipe, teacher")
    if not isinstance(body, nn.Module):
        raise InputError(f"{table.source} returned a {type(body).__name__}", where="recipe, teacher.source", expected="a torch module")
    if trained and (file := checkpoint(loaded)) is not None:
        load_weights(body, file)
    teacher = Teacher(body, tuple(table.mean), tuple(table.std))
    answer = lazy.attempt(table.source, lambda: logits(teacher, data.train.x[:2], bf16=False), where="recipe, teacher.source")
    if answer.shape[1:] != (len(data.labels),):
        raise InputError(
            f"{table.source} answers {list(answer.shape)} for {len(answer)} images",
            where="recipe, teacher.source",
            expected=f"[{len(answer)}, {len(data.labels)}], one output a class of the data",
        )
    return teacher


def terms(recipe: Recipe, classes: int) -> tuple[Term, ...]:
    """The recipe's losses as functions, each tried once. Raises InputError for a loss that is not known, or is no loss."""
    made = []
    for n, loss in enumerate(recipe.losses):
        where = f"recipe, losses[{n}]"
        function = lazy.resolve(loss.name, LOSSES, where=f"{where}.name")
        if not callable(function):
            raise InputError(f"{loss.name} is a {type(function).__name__}", where=f"{where}.name", expected="a function")
        student, labels = torch.zeros(2, classes, requires_grad=True), torch.tensor([0, classes - 1])
        found = lazy.attempt(loss.name, partial(function, student, torch.ones(2, classes), labels, **loss.options), where=where)
        if not isinstance(found, torch.Tensor) or found.ndim or not found.requires_grad:
            raise InputError(
                f"{loss.name} returned {found!r:.80}", where=where, expected="one number, computed by torch from the student's logits"
            )
        made.append(Term(cast(LossFunction, function), loss.weight, dict(loss.options)))
    return tuple(made)


def fingerprint(teacher: Teacher) -> str:
    """sha256 of a teacher's weights and normalization, and of the precision that its outputs are computed in."""
    digest = hashlib.sha256(repr((teacher.mean.tolist(), teacher.std.tolist(), amx())).encode())
    for name, value in sorted(teacher.body.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy())
    return digest.hexdigest()


def teach_recipe(loaded: LoadedRecipe, data: Dataset, folder: Path, progress: Progress, *, fresh: bool) -> dict[str, Any]:
    """Train the recipe's teacher and store its weights as the recipe's checkpoint; returns what a card needs to say.

    ``folder`` keeps what an interrupted training goes on from. Raises InputError if the recipe names no checkpoint,
    or if that is there already, whole, and ``fresh`` is not set.
    """
    if loaded.recipe.teacher.checkpoint is None:
        raise InputError("the teacher has no checkpoint", where="recipe, teacher", mend='checkpoint = "teacher.safetensors"')
    file = loaded.folder / loaded.recipe.teacher.checkpoint
    schedule = TeachSchedule(**loaded.recipe.teacher.schedule.model_dump(), bf16=amx())
    torch.manual_seed(schedule.seed)
    teacher = open_teacher(loaded, data, trained=False)
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "teacher.state"
    if fresh:
        state.unlink(missing_ok=True)
    if file.exists() and not state.exists() and not fresh:
        raise InputError(
            "there is a trained teacher already",
            where=str(file),
            expected="none, or an interrupted training",
            mend="edgekd teach RECIPE --fresh",
        )
    with runs.lock(folder):
        taught = teach(teacher, data, schedule, state, progress)
        runs.atomic_write(file, save({name: value.contiguous() for name, value in taught.body.state_dict().items()}))
        state.unlink(missing_ok=True)
    figures, where = {}, f"{host.host()}, {host.library('torch')}{', bf16' if schedule.bf16 else ''}"
    for name, split in (("validation_accuracy", data.validation), ("accuracy", data.test)):
        share = compare.accuracy(logits(taught, split.x, bf16=schedule.bf16), split.y)
        low, high = share.interval
        figures[name] = asdict(Figure(share.value, "share", "measured", where, share.n, low, high))
    return {"checkpoint": str(file), "sha256": runs.sha256_file(file), "schedule": asdict(schedule), **figures}
