"""Students between the teacher and the student: assistants of falling sizes, and generations of the student itself.

Each is trained in float by the recipe's losses, with the stored outputs of the one before as soft targets, and then answers for all views
of the training split as a teacher does. A loss that taps modules of the teacher goes on tapping the teacher itself: an assistant has
other modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from edgekd import runs, team
from edgekd.errors import InputError
from edgekd.recipe.schema import Intermediates, Student
from edgekd.records import Checkpoint, Figure
from edgekd.students.family import Family
from edgekd.teachers.soft_targets import key, soft_targets
from edgekd.teachers.teacher import Teacher
from edgekd.train.ask import fingerprint, of_views
from edgekd.train.distill import columns
from edgekd.train.intermediates_sizes import Sized, options_of, proposed
from edgekd.train.lesson import Lesson, Progress
from edgekd.train.student import FLOAT, TRAINING_VERSION, Training, try_out, warm_up

#: Where a run keeps them.
FOLDER = "intermediates"
#: Between the seeds of one link and the next: a born-again student begins elsewhere (Furlanello et al. 2018).
SEEDS = 1000


@dataclass(frozen=True)
class Link:
    """One student of the chain; ``title`` is what progress calls it."""

    title: str
    spec: Any
    parameters: int


@dataclass(frozen=True)
class Chain:
    """What lies between teacher and student: ``links`` in the order of teaching. ``identity`` is what every training of the chain shares
    (data, losses, schedule, seed, teacher …): where it lies in the cache is decided by that, its spec and what taught it."""

    family: Family
    links: tuple[Link, ...]
    identity: Mapping[str, Any]
    cache: Path


def chain(lesson: Lesson, family: Family, spec: Any, more: Mapping[str, Any], cache: Path) -> Chain:
    """What the lesson's recipe wants between its teacher and the student of ``spec``; ``more`` decides trainings as well (the schedule,
    hashes of the user's code)."""
    recipe = lesson.recipe
    found = links(recipe.intermediates, family, recipe.student, spec, lesson) if recipe.intermediates is not None else ()
    decides = {name: value for name, value in recipe.model_dump().items() if name in ("losses", "curate", "data_free")}
    teacher = {"data": lesson.data.sha256, "views": lesson.views.sha256, "teacher": lesson.teacher_sha256}
    return Chain(family, found, {**decides, **teacher, **more, "family": family.name, "version": TRAINING_VERSION}, cache)


def links(table: Intermediates, family: Family, student: Student, spec: Any, lesson: Lesson) -> tuple[Link, ...]:
    """The chain that the recipe's ``table`` asks for before the student of ``spec``.

    ``assistants = "auto"`` proposes assistants where the teacher has more than ten times the student's parameters (see
    intermediates_sizes), none elsewhere; a list names the options of each, over the student's own. ``generations`` (Furlanello et al.
    2018, Born-again neural networks) follow the assistants. Raises InputError if the teacher's size is not known, or an assistant
    cannot be made.
    """
    data = (lesson.data.shape, sum(len(task.labels) for task in lesson.data.heads))
    count = partial(parameters, family)
    base = Sized(options_of(family, spec, (student.options, student.space), data), spec, count(spec))
    if table.assistants == "auto":
        if lesson.teacher_parameters is None:
            raise InputError(
                "the teacher's size is not known: it is not a torch module",
                where="recipe, intermediates.assistants",
                expected="the options of each",
                mend="assistants = [{ … }]",
            )
        assistants = proposed(family, base, lesson.teacher_parameters, student.space, data, count)
    else:
        assistants = tuple(_named(family, base, options, data, at) for at, options in enumerate(table.assistants))
        _check_falling(assistants, base)
    found = [_link("assistant", n, len(assistants), one) for n, one in enumerate(assistants, 1)]
    found += [_link("generation", n, table.generations, base) for n in range(1, table.generations + 1)]
    return tuple(found)


def parameters(family: Family, spec: Any) -> int:
    """Trainable numbers of the student of ``spec``."""
    return sum(p.numel() for p in family.build(spec).parameters())


def rehearse_chain(chain: Chain, training: Training) -> None:
    """Feed each link's losses once, before the first is trained. Raises InputError as their trainings would, the last after hours."""
    for link in chain.links:
        mine = replace(training, size=chain.family.resolution(link.spec), quantized=False)
        try_out(_seeded(chain.family, link.spec, training.seed), mine)


def train_chain(chain: Chain, training: Training, run: Path, progress: Progress) -> list[Checkpoint]:
    """Train every link, or find it in the cache; copied into ``run``. Each record's figures hold its parameters and accuracy."""
    made, lesson, taught_by = list[Checkpoint](), training.lesson, ""
    for at, link in enumerate(chain.links):
        here = run / FOLDER / str(at + 1)
        seed = training.seed + SEEDS * (at + 1)
        another = partial(_seeded, chain.family, link.spec)
        size = chain.family.resolution(link.spec)
        mine = replace(training, lesson=lesson, size=size, seed=seed, another=another, quantized=False, mlflow="")
        asked = {**chain.identity, "spec": chain.family.describe(link.spec), "seed": seed, "taught_by": taught_by}
        shared = chain.cache / "float" / runs.digest(asked)[:32]
        found = warm_up(another(seed), mine, shared, here, _titled(link.title, progress))
        where = f"{chain.family.name}, {link.title.partition(':')[0]}"
        figures = {**found.figures, "parameters": Figure(link.parameters, "parameters", "counted", where)}
        made.append(replace(found, path=f"{FOLDER}/{at + 1}/{FLOAT}", figures=figures))
        lesson, taught_by = answered(chain, at, lesson, run, progress), found.sha256
    return made


def last_lesson(chain: Chain, lesson: Lesson, run: Path, progress: Progress) -> Lesson:
    """``lesson`` with the soft targets of the last link of the chain that was trained in ``run``; on test it stays the teacher's."""
    return answered(chain, len(chain.links) - 1, lesson, run, progress) if chain.links else lesson


def answered(chain: Chain, at: int, lesson: Lesson, run: Path, progress: Progress) -> Lesson:
    """``lesson`` with the stored outputs of link ``at`` over all views, computed if they are not in the cache."""
    link = chain.links[at]
    model = chain.family.build(link.spec)
    model.load_state_dict(load_file(run / FOLDER / str(at + 1) / FLOAT))
    teacher = as_teacher(model, chain.family.resolution(link.spec), lesson.data.shape[:2])
    data, views = lesson.data, lesson.views
    file = chain.cache / "soft_targets" / f"{key(fingerprint(teacher), data.sha256, views.sha256)}.npy"
    shown = of_views(views, data.train.x, sum(len(task.labels) for task in data.heads))
    what = f"soft targets of {link.title.partition(':')[0]}"
    found = team.here().first(lambda: soft_targets(teacher, shown, file, lambda n, total: progress(what, n, total)))
    return replace(lesson, targets=tuple(found[..., of] for of in columns(data.heads)))


def as_teacher(model: nn.Module, size: tuple[int, int], data: tuple[int, int]) -> Teacher:
    """A student, which sees (p − 128)/128 of 8-bit pixels p resized to ``size``, as a teacher of pixels of the size of the ``data``."""
    return Teacher(model.eval(), (128 / 255,), (128 / 255,), size=None if size == data else size)


def _seeded(family: Family, spec: Any, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return family.build(spec)


def _named(family: Family, base: Sized, options: Mapping[str, Any], data: tuple[Any, int], at: int) -> Sized:
    chosen, where = {**base.options, **options}, f"recipe, intermediates.assistants[{at}]"
    try:
        spec = next(iter(family.candidates(chosen, {}, *data)), None)
    except InputError as error:
        raise InputError(error.what, where=where, expected=error.expected, mend=error.mend) from error
    if spec is None:
        raise InputError("makes no student", where=where, expected="options of the student's family")
    return Sized(chosen, spec, parameters(family, spec))


def _check_falling(assistants: Sequence[Sized], base: Sized) -> None:
    """Raises InputError where one is smaller than the next, or the last than the student."""
    for at, (one, after) in enumerate(pairwise([*assistants, base])):
        if one.parameters < after.parameters:
            following = "the student" if after is base else f"assistants[{at + 1}]"
            raise InputError(
                f"{one.parameters:,} parameters, {following} has {after.parameters:,}",
                where=f"recipe, intermediates.assistants[{at}]",
                expected="sizes between the teacher's and the student's, the largest first",
                mend="options that make it larger",
            )


def _link(kind: str, n: int, count: int, one: Sized) -> Link:
    return Link(f"{kind} {n} of {count}: {one.parameters:,} parameters", one.spec, one.parameters)


def _titled(title: str, progress: Progress) -> Callable[[str, int, int], None]:
    """Progress of a float training under the link's name."""
    return lambda what, done, total: progress(title if what == "float" else f"{title}, {what}", done, total)
