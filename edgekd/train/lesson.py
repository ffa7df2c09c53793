"""What every student of a recipe shares: the data, the teachers and their stored outputs. Made once, whatever the number of targets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from edgekd import host, lazy, runs
from edgekd.data.dataset import Dataset, Task
from edgekd.data.views import Views
from edgekd.errors import InputError
from edgekd.quant import compare
from edgekd.recipe.load import LoadedRecipe, checkpoint
from edgekd.recipe.rules import FINISHED
from edgekd.recipe.schema import Preset, Recipe
from edgekd.recipe.schema import Teacher as Table
from edgekd.records import Figure
from edgekd.teachers import TEACHERS
from edgekd.teachers.assemble import assemble
from edgekd.teachers.opened import Opened
from edgekd.teachers.outputs_file import StoredOutputs, Wanted, matched
from edgekd.teachers.soft_targets import key, soft_targets
from edgekd.teachers.teacher import Teacher, amx, load_weights, logits
from edgekd.train.distill import Term
from edgekd.train.taps import Live, listed
from edgekd.train.teach import TeachSchedule, teach
from edgekd.train.terms import task_of, terms

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Lesson:
    """``targets`` float16 [views, N, classes] are the teachers' logits for the training set, ``answers`` for the test set, one array a task.

    ``targets`` of a task are None where nobody teaches it; ``answers`` also where its teacher is a file that has none for the test set: then
    its accuracy is not known. ``teacher_where`` is where they were computed, as a figure names it. ``live`` are teachers that losses tap.
    ``chosen`` and ``weights`` are which training samples are shown and how often, as a Feed has them.
    """

    recipe: Recipe
    data: Dataset
    views: Views
    terms: tuple[Term, ...]
    targets: tuple[np.ndarray | None, ...]
    answers: tuple[np.ndarray | None, ...]
    teacher_sha256: str
    teacher_where: str = ""
    live: tuple[Live, ...] = ()
    chosen: np.ndarray | None = None
    weights: np.ndarray | None = None

    @property
    def teacher_outputs(self) -> np.ndarray | None:
        """What the first task's teacher answers on the test set: logits float16 [N, classes]."""
        return self.answers[0]


@dataclass(frozen=True)
class Answers:
    """What one teacher answers: logits float16 ``train`` [views, N, classes of its task] and ``test`` [N, classes], None where not known.

    ``module`` is None where the teacher is a file of outputs.
    """

    table: Table
    task: int
    train: np.ndarray
    test: np.ndarray | None
    sha256: str
    where: str
    module: Teacher | None


def open_lesson(loaded: LoadedRecipe, data: Dataset, cache: Path, progress: Progress, preset: Preset | None = None) -> Lesson:
    """Load the teachers, and compute or find their outputs in ``cache``, over the views of ``preset`` or else the recipe's own."""
    recipe = loaded.recipe
    tasks = [task_of(table.task, data.heads, _where(recipe, table, "task")) for table in recipe.all_teachers]
    losses = terms(recipe, data.heads, set(tasks))
    views = Views(**((preset and preset.views) or recipe.views).model_dump())
    found = [ask(loaded, table, data, views, cache, progress) for table in recipe.all_teachers]
    each = [combined([one for one in found if one.task == task], data.heads[task]) for task in range(len(data.heads))]
    sha256 = found[0].sha256 if len(found) == 1 else key(*(one.sha256 for one in found), repr(recipe.ensemble), repr(tasks))
    tapped = {term.task for term in losses if any(not path.startswith("student:") for path in listed(term.teacher))}
    live = tuple(_live(one) for one in found if one.task in tapped and one.module is not None)
    where = "; ".join(dict.fromkeys(one.where for one in found))
    return Lesson(recipe, data, views, losses, *zip(*each, strict=True), sha256, where, live)


def combined(found: Sequence[Answers], task: Task) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What the teachers of one task answer together, for training and for the test set; None where there is none."""
    if len(found) > 1:
        raise InputError(f"{len(found)} teachers of task {task.name!r}", where="recipe, teachers", expected="one a task")
    return (found[0].train, found[0].test) if found else (None, None)


def ask(loaded: LoadedRecipe, table: Table, data: Dataset, views: Views, cache: Path, progress: Progress) -> Answers:
    """One teacher's outputs for the training set's ``views`` and for the test set: computed, or found in ``cache``."""
    torch.manual_seed(0)  # a teacher without a checkpoint is random, but always the same
    task = task_of(table.task, data.heads, _where(loaded.recipe, table, "task"))
    labels = data.heads[task].labels
    body = _body(loaded, table, data, labels)
    if isinstance(body, StoredOutputs):
        wanted = Wanted(labels, data.sha256, views.sha256, views.count, len(data.train), len(data.test))
        targets, outputs = matched(body, wanted, table)
        sha256 = key(body.sha256, repr((table.output, table.labels)))
        return Answers(table, task, targets, outputs, sha256, f"file of outputs {body.sha256[:16]}", None)
    teacher = _assembled(loaded, table, data, labels, body, trained=True)
    sha256 = fingerprint(teacher)
    if own := lazy.source_sha256(table.source):
        # Weights alone do not say what a user's own module computes with them.
        sha256 = key(sha256, own, repr(table.options))
    file = cache / "soft_targets" / f"{key(sha256, data.sha256, views.sha256)}.npy"
    makers = [partial(views.all, data.train.x, n) for n in range(views.count)]
    targets = soft_targets(teacher, makers, file, lambda n, total: progress("soft targets", n, total))
    file = cache / "soft_targets" / f"{key(sha256, data.sha256, 'test')}.npy"
    outputs = soft_targets(teacher, [lambda: data.test.x], file, lambda n, total: progress("teacher on test", n, total))[0]
    library = body.about.library if isinstance(body, Opened) else host.library("torch")
    return Answers(table, task, targets, outputs, sha256, f"{host.host()}, {library}", teacher)


def open_teacher(loaded: LoadedRecipe, data: Dataset, *, table: Table | None = None, trained: bool = True) -> Teacher:
    """One of the recipe's teachers (the first, where ``table`` names none), with the weights of its checkpoint where it has one.

    Raises InputError if it is only a file of outputs.
    """
    table = table or loaded.recipe.all_teachers[0]
    labels = data.heads[task_of(table.task, data.heads, _where(loaded.recipe, table, "task"))].labels
    body = _body(loaded, table, data, labels)
    if isinstance(body, StoredOutputs):
        raise InputError("is a file of outputs, there is no teacher to run", where=str(body.file), expected="a model")
    return _assembled(loaded, table, data, labels, body, trained=trained)


def _live(one: Answers) -> Live:
    assert one.module is not None
    return Live(one.module, one.task, amx())


def _where(recipe: Recipe, table: Table, key_: str = "") -> str:
    """How messages name a teacher's table, or a key in it."""
    name = "teacher" if recipe.teacher is not None else f"teachers[{recipe.teachers.index(table)}]"
    return f"recipe, {name}.{key_}" if key_ else f"recipe, {name}"


def _body(loaded: LoadedRecipe, table: Table, data: Dataset, labels: tuple[str, ...]) -> nn.Module | StoredOutputs:
    """What the recipe's source returns."""
    where = _where(loaded.recipe, table)
    function = lazy.resolve(table.source, TEACHERS, where=f"{where}.source")
    given = {"channels": data.shape[2], "classes": len(labels), "root": loaded.folder}
    body = lazy.call(table.source, function, given, table.options, where=where)
    if not isinstance(body, nn.Module | StoredOutputs):
        raise InputError(f"{table.source} returned a {type(body).__name__}", where=f"{where}.source", expected="a torch module")
    return body


def _assembled(loaded: LoadedRecipe, table: Table, data: Dataset, labels: tuple[str, ...], body: nn.Module, *, trained: bool) -> Teacher:
    if trained and (file := checkpoint(loaded, table)) is not None:
        if isinstance(body, Opened):
            raise InputError(
                "the teacher is finished and takes no checkpoint",
                where=_where(loaded.recipe, table, "checkpoint"),
                mend="delete checkpoint",
            )
        load_weights(body, file)
    sample = data.train.x[: 8 if isinstance(body, Opened) else 2]
    return assemble(body, table, sample, labels)


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
    table = loaded.recipe.all_teachers[0]
    if table.source in FINISHED:
        raise InputError(
            f"there is nothing to train: source = {table.source!r} is a finished teacher",
            where="recipe, teacher",
            mend="edgekd build RECIPE --target TARGET",
        )
    if table.checkpoint is None:
        raise InputError("the teacher has no checkpoint", where="recipe, teacher", mend='checkpoint = "teacher.safetensors"')
    file = loaded.folder / table.checkpoint
    schedule = TeachSchedule(**table.schedule.model_dump(), bf16=amx())
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
