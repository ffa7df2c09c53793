"""``edgekd teach``: a recipe's teachers, each trained on the labels of its task, and stored beside the recipe."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from edgekd import host, runs
from edgekd.data.dataset import Dataset, Split
from edgekd.data.views import Views
from edgekd.errors import InputError
from edgekd.quant import compare
from edgekd.recipe.load import LoadedRecipe
from edgekd.recipe.rules import FINISHED
from edgekd.recipe.schema import Teacher as Table
from edgekd.records import Checkpoint, Figure, Record
from edgekd.teachers import reading as other
from edgekd.teachers.teacher import amx, logits
from edgekd.train.ask import named, open_teacher, where_of
from edgekd.train.readings import reading
from edgekd.train.teach import TeachSchedule, teach
from edgekd.train.terms import task_of

Progress = Callable[[str, int, int], None]


def teach_all(loaded: LoadedRecipe, data: Dataset, cache: Path, progress: Progress, *, fresh: bool) -> list[dict[str, Any]]:
    """Train every teacher of the recipe that is to be trained; returns their records, as they are stored in ``cache``.

    Of several, those that come finished are left out, and those that are trained already, unless that is all or ``fresh`` is set.
    """
    every = [table for table in loaded.recipe.all_teachers if table.source not in FINISHED and table.checkpoint is not None]
    left = [table for table in every if fresh or not _is_there(loaded, table, _folder(cache, table, data))]
    if not left:  # what stands in the way is said by the first
        left = every[:1] or [loaded.recipe.all_teachers[0]]
    for table in left:  # what is wrong with the last is not said after the others were trained
        with named(loaded.recipe, table):
            _checked(loaded, table, data)
        open_teacher(loaded, data, table=table, trained=False)
    made = []
    for n, table in enumerate(left, 1):
        name = "teacher" if len(left) == 1 else f"teacher {n} of {len(left)}"
        made.append(_recorded(loaded, table, data, _folder(cache, table, data), _named(name, progress), fresh=fresh))
    return made


def _named(name: str, progress: Progress) -> Progress:
    return lambda _, done, total: progress(name, done, total)


def _folder(cache: Path, table: Table, data: Dataset) -> Path:
    return cache / "teach" / runs.digest({"teacher": table.model_dump(), "data": data.sha256})[:32]


def _is_there(loaded: LoadedRecipe, table: Table, folder: Path) -> bool:
    """Whether the checkpoint is there, whole."""
    return (loaded.folder / str(table.checkpoint)).exists() and not (folder / "teacher.state").exists()


def _recorded(loaded: LoadedRecipe, table: Table, data: Dataset, folder: Path, progress: Progress, *, fresh: bool) -> dict[str, Any]:
    began = time.monotonic()
    said = teach_recipe(loaded, data, folder, progress, fresh=fresh, table=table)
    figures = {name: Figure(**value) for name, value in said.items() if isinstance(value, dict) and "kind" in value}
    runs.atomic_write(folder / "teacher.safetensors", Path(said["checkpoint"]).read_bytes())
    body = Checkpoint("teacher.safetensors", said["sha256"], (), figures)
    asked = {name: said[name] for name in ("checkpoint", "schedule")}
    config = {"recipe": loaded.recipe.name, **asked, "threads": torch.get_num_threads()}
    seconds = round(time.monotonic() - began, 2)
    runs.write(folder, Record("teach", {"data": data.sha256}, config, runs.environment(), body, seconds, figures=figures))
    return runs.document(folder, "teach")


def teach_recipe(
    loaded: LoadedRecipe, data: Dataset, folder: Path, progress: Progress, *, fresh: bool, table: Table | None = None
) -> dict[str, Any]:
    """Train one of the recipe's teachers (the first, where ``table`` names none) on the labels of its task, and store its weights as the
    checkpoint that the recipe names; returns what a card needs to say.

    ``folder`` keeps what an interrupted training goes on from. Raises InputError if the recipe names no checkpoint,
    or a finished model, or if the checkpoint is there already, whole, and ``fresh`` is not set.
    """
    table = table or loaded.recipe.all_teachers[0]
    known = _checked(loaded, table, data)
    file = loaded.folder / str(table.checkpoint)
    schedule = TeachSchedule(**table.schedule.model_dump(), bf16=amx())
    torch.manual_seed(schedule.seed)
    teacher = open_teacher(loaded, data, table=table, trained=False)
    data = known
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
    figures, measured = {}, f"{host.host()}, {host.library('torch')}{', bf16' if schedule.bf16 else ''}"
    for name, split in (("validation_accuracy", data.validation), ("accuracy", data.test)):
        answers = (
            logits(taught, split.x, bf16=schedule.bf16)
            if table.reads is None
            else other.logits(taught, reading(split, table.reads), bf16=schedule.bf16)
        )
        share = compare.accuracy(answers, split.y)
        low, high = share.interval
        figures[name] = asdict(Figure(share.value, "share", "measured", measured, share.n, low, high))
    return {"checkpoint": str(file), "sha256": runs.sha256_file(file), "schedule": asdict(schedule), **figures}


def _checked(loaded: LoadedRecipe, table: Table, data: Dataset) -> Dataset:
    """What the teacher of ``table`` is trained on. Raises InputError where there is nothing to train, or nothing to train it on."""
    where = where_of(loaded.recipe, table)
    if table.source in FINISHED:
        raise InputError(
            f"there is nothing to train: source = {table.source!r} is a finished teacher",
            where=where,
            mend="edgekd build RECIPE --target TARGET",
        )
    if table.checkpoint is None:
        raise InputError("the teacher has no checkpoint", where=where, mend='checkpoint = "teacher.safetensors"')
    if table.reads is None:
        Views(shift=table.schedule.shift, count=2).check(data.shape, f"{where}.schedule")
    else:
        _check_reading(table, data, where)
    return labeled(data, task_of(table.task, data.heads, f"{where}.task"))


def _check_reading(table: Table, data: Dataset, where: str) -> None:
    """Of what a teacher of images is shown, only the shift means anything for sound: steps of its last axis."""
    heard, schedule = reading(data.train, str(table.reads)), table.schedule
    if schedule.mirror or schedule.cutout:
        expected = "shift, in steps of what is read"
        raise InputError(f"reads {table.reads!r}, which is not mirrored or cut out", where=f"{where}.schedule", expected=expected)
    if schedule.shift and (heard.ndim != 2 or schedule.shift >= heard.shape[1]):
        raise InputError(
            f"shift = {schedule.shift}, but {table.reads!r} is {list(heard.shape[1:])}",
            where=f"{where}.schedule",
            expected="less than the length of a sequence",
            mend="shift = 0",
        )


def labeled(data: Dataset, task: int) -> Dataset:
    """What one task's teacher is trained on: the training samples whose label is known, all splits with the labels of that task alone."""
    known = data.train.classes(task) >= 0
    if len(data.heads) == 1 and known.all():
        return data
    train, held, test = (Split(split.x, split.classes(task), split.more) for split in (data.train, data.validation, data.test))
    return Dataset(data.name, train.take(np.flatnonzero(known)), held, test, data.heads[task].labels)
