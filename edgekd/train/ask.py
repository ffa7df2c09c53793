"""Teachers of a recipe, opened and asked: what each answers for the training set's views, stored under a hash of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgekd import host, lazy
from edgekd.data.dataset import Dataset, Split
from edgekd.data.views import Views
from edgekd.errors import InputError
from edgekd.recipe.load import LoadedRecipe, checkpoint
from edgekd.recipe.schema import Recipe
from edgekd.recipe.schema import Teacher as Table
from edgekd.teachers import TEACHERS
from edgekd.teachers import reading as other
from edgekd.teachers.assemble import assemble
from edgekd.teachers.opened import Opened
from edgekd.teachers.outputs_file import StoredOutputs, Wanted, matched
from edgekd.teachers.reading import Reader
from edgekd.teachers.soft_targets import Run, Shown, key, soft_targets
from edgekd.teachers.teacher import Teacher, amx, load_weights, logits
from edgekd.teachers.top_k import Targets, TopK
from edgekd.train.readings import commuting, reading
from edgekd.train.terms import task_of

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Answers:
    """What one teacher answers: logits float16 ``train`` [views, N, classes of its task], or the largest of them; ``test`` and
    ``validation`` [N, classes], None where not known, or not asked for.

    ``module`` is None where the teacher is a file of outputs; ``parameters`` where torch sees none.
    """

    table: Table
    task: int
    train: Targets
    test: np.ndarray | None
    validation: np.ndarray | None
    sha256: str
    where: str
    module: Teacher | Reader | None
    parameters: int | None = None


@dataclass(frozen=True)
class Asked:
    """What every teacher of a recipe is asked about: the training split of ``data`` over ``views``, and the test split; the validation
    split where ``validation`` is set, for what weighs teachers by it."""

    data: Dataset
    views: Views
    validation: bool = False


@dataclass(frozen=True)
class Ready:
    """A teacher that is open and fits the data, and has been asked nothing yet; ``stored`` are all answers of a file of outputs.

    ``of`` is what progress adds where there are several.
    """

    table: Table
    task: int
    teacher: Teacher | Reader | None
    stored: Answers | None
    library: str
    of: str

    @property
    def parameters(self) -> int | None:
        """Where torch sees any."""
        return (sum(parameter.numel() for parameter in self.teacher.parameters()) or None) if self.teacher is not None else None


def ask(loaded: LoadedRecipe, table: Table, asked: Asked, cache: Path, progress: Progress) -> Answers:
    """One teacher's outputs: computed, or found in ``cache``. Raises InputError for what cannot be opened, or belongs to something else."""
    return answers(ready(loaded, table, asked), asked, cache, progress)


def ready(loaded: LoadedRecipe, table: Table, asked: Asked) -> Ready:
    """One of the recipe's teachers, opened and tried. Raises InputError for what cannot be opened, or belongs to something else."""
    torch.manual_seed(0)  # a teacher without a checkpoint is random, but always the same
    data, views, of = asked.data, asked.views, _which(loaded.recipe, table)
    task = task_of(table.task, data.heads, where_of(loaded.recipe, table, "task"))
    with named(loaded.recipe, table):
        if table.reads is not None:
            commuting(views, table.reads)
        body = _body(loaded, table, data)
        if isinstance(body, StoredOutputs):
            wanted = Wanted(data.heads[task].labels, data.sha256, views.sha256, views.count, len(data.train), len(data.test))
            targets, outputs = matched(body, wanted, table)
            sha256 = key(body.sha256, repr((table.output, table.labels)))
            stored = Answers(table, task, targets, outputs, None, sha256, f"file of outputs {body.sha256[:16]}", None)
            return Ready(table, task, None, stored, "", of)
        _check_top_k(table, len(data.heads[task].labels))
        teacher = _assembled(loaded, table, data, body, trained=True)
    library = body.about.library if isinstance(body, Opened) else host.library("torch")
    return Ready(table, task, teacher, None, library, of)


def answers(one: Ready, asked: Asked, cache: Path, progress: Progress) -> Answers:
    """What a teacher that is ready answers: computed, or found in ``cache``."""
    if one.stored is not None:
        return one.stored
    teacher, table, data, of = one.teacher, one.table, asked.data, one.of
    assert teacher is not None
    sha256, classes, top, wanted = identity(teacher, table), len(data.heads[one.task].labels), table.top_k or 0, asked_for(one, asked)
    store = partial(_stored, teacher, data, cache / "soft_targets")
    targets = store(*wanted["soft targets"], lambda n, total: progress(f"soft targets{of}", n, total))
    if table.reads is not None:  # heard once, whatever the student sees of it
        targets = np.broadcast_to(targets, (asked.views.count, *targets.shape[1:]))
    outputs = store(*wanted["teacher on test"], lambda n, total: progress(f"teacher on test{of}", n, total))[0]
    validation = None
    if asked.validation:
        told = wanted["teacher on validation"]
        validation = store(*told, lambda n, total: progress(f"teacher on validation{of}", n, total))[0]
    where = f"{host.host()}, {one.library}"
    soft, taught = (TopK(targets, classes), key(sha256, f"top {top}")) if top else (targets, sha256)
    return Answers(table, one.task, soft, outputs, validation, taught, where, teacher, one.parameters)


def asked_for(one: Ready, asked: Asked) -> dict[str, tuple[Shown, list[str]]]:
    """What a teacher is asked, by what progress calls it, and the hashes that its answers are stored under."""
    teacher, table, data, views = one.teacher, one.table, asked.data, asked.views
    assert teacher is not None
    sha256, classes, top = identity(teacher, table), len(data.heads[one.task].labels), table.top_k or 0
    train, test, held = (_as_fed(split, table.reads) for split in (data.train, data.test, data.validation))
    shown, named = of_views(views, train, classes, top), [sha256, data.sha256, views.sha256]
    if table.reads is not None:
        shown, named = _plainly(train, classes, top), [sha256, data.sha256, f"train {table.reads}"]
    named += [f"top {top}"] if top else []
    found = {"soft targets": (shown, named), "teacher on test": (_plainly(test, classes), [sha256, data.sha256, "test"])}
    if asked.validation:
        found["teacher on validation"] = (_plainly(held, classes), [sha256, data.sha256, "validation"])
    return found


def of_views(views: Views, x: np.ndarray, classes: int, top: int = 0) -> Shown:
    """All ``views`` of the images ``x`` [N, H, W, C], which are made as a teacher asks for them."""

    def rows(view: int, start: int, stop: int) -> np.ndarray:
        return views.apply(x[start:stop], np.arange(start, stop), np.full(stop - start, view))

    return Shown(tuple(partial(rows, n) for n in range(views.count)), len(x), classes, top)


def _plainly(x: np.ndarray, classes: int, top: int = 0) -> Shown:
    """Samples as they are."""
    return Shown((lambda start, stop: x[start:stop],), len(x), classes, top)


def _as_fed(split: Split, reads: str | None) -> np.ndarray:
    return split.x if reads is None else reading(split, reads)


def open_teacher(loaded: LoadedRecipe, data: Dataset, *, table: Table | None = None, trained: bool = True) -> Teacher | Reader:
    """One of the recipe's teachers (the first, where ``table`` names none), with the weights of its checkpoint where it has one.

    Raises InputError if it is only a file of outputs.
    """
    table = table or loaded.recipe.all_teachers[0]
    with named(loaded.recipe, table):
        body = _body(loaded, table, data)
        if isinstance(body, StoredOutputs):
            raise InputError("is a file of outputs, there is no teacher to run", where=str(body.file), expected="a model")
        return _assembled(loaded, table, data, body, trained=trained)


def where_of(recipe: Recipe, table: Table, key_: str = "") -> str:
    """How messages name a teacher's table, or a key in it."""
    name = "teacher" if recipe.teacher is not None else f"teachers[{recipe.teachers.index(table)}]"
    return f"recipe, {name}.{key_}" if key_ else f"recipe, {name}"


def _check_top_k(table: Table, classes: int) -> None:
    if table.top_k is not None and table.top_k >= classes:
        found = f"top_k = {table.top_k}, and there are {classes} classes"
        raise InputError(found, where="recipe, teacher.top_k", expected=f"1 to {classes - 1}", mend="delete top_k: all are stored then")


def _which(recipe: Recipe, table: Table) -> str:
    """What progress adds to what it does where there are several teachers."""
    every = recipe.all_teachers
    return f", teacher {every.index(table) + 1} of {len(every)}" if len(every) > 1 else ""


@contextmanager
def named(recipe: Recipe, table: Table) -> Generator[None]:
    """Messages about "recipe, teacher" become messages about the one of several that it is."""
    try:
        yield
    except InputError as error:
        where = where_of(recipe, table)
        if where == "recipe, teacher" or not error.where.startswith("recipe, teacher") or error.where.startswith(where):
            raise
        told = where + error.where.removeprefix("recipe, teacher")
        raise InputError(error.what, where=told, expected=error.expected, mend=error.mend) from error


def _stored(
    teacher: Teacher | Reader, data: Dataset, folder: Path, shown: Shown, hashes: Sequence[str], progress: Callable[[int, int], None]
) -> np.ndarray:
    file = folder / f"{key(*hashes)}.npy"
    known = file.exists()
    found = soft_targets(teacher, shown, file, progress, run=run_of(teacher))
    try:
        if not known:
            data.check_unchanged()
    except InputError:  # they stand for data of another hash
        for left in (file, file.with_suffix(".sha256")):
            left.unlink(missing_ok=True)
        raise
    return found


def run_of(teacher: Teacher | Reader) -> Run:
    return other.logits if isinstance(teacher, Reader) else logits


def _body(loaded: LoadedRecipe, table: Table, data: Dataset) -> nn.Module | StoredOutputs:
    """What the recipe's source returns."""
    where = where_of(loaded.recipe, table)
    function = lazy.resolve(table.source, TEACHERS, where=f"{where}.source")
    labels = data.heads[task_of(table.task, data.heads, f"{where}.task")].labels
    given = {"channels": data.shape[2], "classes": len(labels), "root": loaded.folder}
    body = lazy.call(table.source, function, given, table.options, where=where)
    if not isinstance(body, nn.Module | StoredOutputs):
        raise InputError(f"{table.source} returned a {type(body).__name__}", where=f"{where}.source", expected="a torch module")
    return body


def _assembled(loaded: LoadedRecipe, table: Table, data: Dataset, body: nn.Module, *, trained: bool) -> Teacher | Reader:
    if trained and (file := checkpoint(loaded, table)) is not None:
        if isinstance(body, Opened):
            raise InputError(
                "the teacher is finished and takes no checkpoint",
                where=where_of(loaded.recipe, table, "checkpoint"),
                mend="delete checkpoint",
            )
        load_weights(body, file)
    labels = data.heads[task_of(table.task, data.heads, where_of(loaded.recipe, table, "task"))].labels
    if table.reads is not None:
        return other.reader(body, table, reading(data.train, table.reads)[:2], labels)
    sample = data.train.x[: 8 if isinstance(body, Opened) else 2]
    return assemble(body, table, sample, labels)


def identity(teacher: Teacher | Reader, table: Table) -> str:
    """What a teacher's stored outputs are found by: its fingerprint, and the user's own code where it is that."""
    own = lazy.source_sha256(table.source)
    # Weights alone do not say what a user's own module computes with them.
    return key(fingerprint(teacher), own, repr(table.options)) if own else fingerprint(teacher)


def fingerprint(teacher: Teacher | Reader) -> str:
    """sha256 of a teacher's weights and normalization, and of the precision that its outputs are computed in."""
    if isinstance(teacher, Reader):
        digest = hashlib.sha256(repr(("reader", amx())).encode())
    else:
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
