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
from edgekd.recipe.rules import FINISHED
from edgekd.recipe.schema import Preset, Recipe
from edgekd.records import Figure
from edgekd.teachers import TEACHERS
from edgekd.teachers.assemble import assemble
from edgekd.teachers.opened import Opened
from edgekd.teachers.outputs_file import StoredOutputs, Wanted, matched
from edgekd.teachers.soft_targets import key, soft_targets
from edgekd.teachers.teacher import Teacher, amx, load_weights, logits
from edgekd.train.distill import LossFunction, Term
from edgekd.train.teach import TeachSchedule, teach

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Lesson:
    """``targets`` float16 [views, N, classes] are the teacher's logits for the training set, ``answers`` for the test set, one array a task.

    ``answers`` of a task are None where its teacher is a file that has none for the test set: then its accuracy is not known.
    ``teacher_where`` is where they were computed, as a figure names it.
    """

    recipe: Recipe
    data: Dataset
    views: Views
    terms: tuple[Term, ...]
    targets: np.ndarray
    answers: tuple[np.ndarray | None, ...]
    teacher_sha256: str
    teacher_where: str = ""

    @property
    def teacher_outputs(self) -> np.ndarray | None:
        """What the first task's teacher answers on the test set: logits float16 [N, classes]."""
        return self.answers[0]


def open_lesson(loaded: LoadedRecipe, data: Dataset, cache: Path, progress: Progress, preset: Preset | None = None) -> Lesson:
    """Load the teacher, and compute or find its outputs in ``cache``, over the views of ``preset`` or else the recipe's own."""
    recipe = loaded.recipe
    losses = terms(recipe, len(data.labels))
    views = Views(**((preset and preset.views) or recipe.views).model_dump())
    torch.manual_seed(0)  # a teacher without a checkpoint is random, but always the same
    body = _body(loaded, data)
    if isinstance(body, StoredOutputs):
        wanted = Wanted(data.labels, data.sha256, views.sha256, views.count, len(data.train), len(data.test))
        targets, outputs = matched(body, wanted, recipe.all_teachers[0])
        sha256 = key(body.sha256, repr((recipe.all_teachers[0].output, recipe.all_teachers[0].labels)))
        return Lesson(recipe, data, views, losses, targets, (outputs,), sha256, f"file of outputs {body.sha256[:16]}")
    teacher = _assembled(loaded, data, body, trained=True)
    sha256 = fingerprint(teacher)
    if own := lazy.source_sha256(recipe.all_teachers[0].source):
        # Weights alone do not say what a user's own module computes with them.
        sha256 = key(sha256, own, repr(recipe.all_teachers[0].options))
    file = cache / "soft_targets" / f"{key(sha256, data.sha256, views.sha256)}.npy"
    makers = [partial(views.all, data.train.x, n) for n in range(views.count)]
    targets = soft_targets(teacher, makers, file, lambda n, total: progress("soft targets", n, total))
    file = cache / "soft_targets" / f"{key(sha256, data.sha256, 'test')}.npy"
    outputs = soft_targets(teacher, [lambda: data.test.x], file, lambda n, total: progress("teacher on test", n, total))[0]
    library = body.about.library if isinstance(body, Opened) else host.library("torch")
    return Lesson(recipe, data, views, losses, targets, (outputs,), sha256, f"{host.host()}, {library}")


def open_teacher(loaded: LoadedRecipe, data: Dataset, *, trained: bool = True) -> Teacher:
    """The recipe's teacher, with the weights of its checkpoint where it has one. Raises InputError if it is only a file of outputs."""
    body = _body(loaded, data)
    if isinstance(body, StoredOutputs):
        raise InputError("is a file of outputs, there is no teacher to run", where=str(body.file), expected="a model")
    return _assembled(loaded, data, body, trained=trained)


def _body(loaded: LoadedRecipe, data: Dataset) -> nn.Module | StoredOutputs:
    """What the recipe's source returns."""
    table = loaded.recipe.all_teachers[0]
    function = lazy.resolve(table.source, TEACHERS, where="recipe, teacher.source")
    given = {"channels": data.shape[2], "classes": len(data.labels), "root": loaded.folder}
    body = lazy.call(table.source, function, given, table.options, where="recipe, teacher")
    if not isinstance(body, nn.Module | StoredOutputs):
        raise InputError(f"{table.source} returned a {type(body).__name__}", where="recipe, teacher.source", expected="a torch module")
    return body


def _assembled(loaded: LoadedRecipe, data: Dataset, body: nn.Module, *, trained: bool) -> Teacher:
    if trained and (file := checkpoint(loaded, loaded.recipe.all_teachers[0])) is not None:
        if isinstance(body, Opened):
            raise InputError(
                "the teacher is finished and takes no checkpoint", where="recipe, teacher.checkpoint", mend="delete checkpoint"
            )
        load_weights(body, file)
    sample = data.train.x[: 8 if isinstance(body, Opened) else 2]
    return assemble(body, loaded.recipe.all_teachers[0], sample, data.labels)


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
    if teacher.settings:
        digest.update(repr(teacher.settings).encode())
    if isinstance(teacher.body, Opened):
        digest.update(teacher.body.about.sha256.encode())
        return digest.hexdigest()
    for name, value in sorted(teacher.body.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy())
    return digest.hexdigest()


def teach_recipe(loaded: LoadedRecipe, data: Dataset, folder: Path, progress: Progress, *, fresh: bool) -> dict[str, Any]:
    """Train the recipe's teacher and store its weights as the recipe's checkpoint; returns what a card needs to say.

    ``folder`` keeps what an interrupted training goes on from. Raises InputError if the recipe names no checkpoint,
    or a finished model, or if the checkpoint is there already, whole, and ``fresh`` is not set.
    """
    if loaded.recipe.all_teachers[0].source in FINISHED:
        raise InputError(
            f"there is nothing to train: source = {loaded.recipe.all_teachers[0].source!r} is a finished teacher",
            where="recipe, teacher",
            mend="edgekd build RECIPE --target TARGET",
        )
    if loaded.recipe.all_teachers[0].checkpoint is None:
        raise InputError("the teacher has no checkpoint", where="recipe, teacher", mend='checkpoint = "teacher.safetensors"')
    file = loaded.folder / loaded.recipe.all_teachers[0].checkpoint
    schedule = TeachSchedule(**loaded.recipe.all_teachers[0].schedule.model_dump(), bf16=amx())
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
