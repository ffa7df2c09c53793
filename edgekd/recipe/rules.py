"""What no recipe may say because its keys contradict each other, or make no sense together."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from edgekd.profile.packaged import target_files
from edgekd.profile.strict import Problem, shown
from edgekd.recipe.rules_compress import compression
from edgekd.recipe.rules_front_end import front_ends
from edgekd.recipe.rules_training import training
from edgekd.recipe.schema import BudgetOverride, Loss, Preset, SearchSpace, Student, Teacher, Views
from edgekd.recipe.weights import named

#: Sources of finished teachers: they take no checkpoint and no schedule, and `edgekd teach` has nothing to do.
FINISHED = frozenset({"onnx", "keras", "saved_model", "transformers", "soft_targets"})
DATES = (datetime.date, datetime.time)


def contradictions(sections: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems between keys, of the sections that are right in themselves."""
    if losses := sections.get("losses"):
        yield from _losses(losses)
    if student := sections.get("student"):
        yield from _space("student", student)
    for name, searched in (sections.get("search") or {}).items():
        yield from _space(f"search.{name}", searched)
    if teacher := sections.get("teacher"):
        yield from _teacher(teacher)
    for at, one in enumerate(sections.get("teachers") or ()):
        yield from (replace(problem, key=f"teachers[{at}]{problem.key.removeprefix('teacher')}") for problem in _teacher(one))
    yield from training(sections)
    yield from compression(sections)
    yield from front_ends(sections)
    if views := sections.get("views"):
        yield from _views(views)
    for name, preset in (sections.get("presets") or {}).items():
        if isinstance(preset, Preset) and preset.views is not None:
            yield from (replace(problem, key=f"presets.{name}.{problem.key}") for problem in _views(preset.views))
    if targets := sections.get("targets"):
        yield from _targets(targets)
    for name in ("data", "teacher", "student", "data_free"):
        if section := sections.get(name):
            yield from _unstorable(f"{name}.options", section.options)
    if student:
        yield from _unstorable("student.space", student.space)
    for name, searched in (sections.get("search") or {}).items():
        yield from _unstorable(f"search.{name}", searched.model_dump())
    lists = {"losses": losses, "teachers": sections.get("teachers"), "curate.critics": getattr(sections.get("curate"), "critics", None)}
    for name, items in lists.items():
        for at, item in enumerate(items or ()):
            yield from _unstorable(f"{name}[{at}].options", item.options)
    if isinstance(assistants := getattr(sections.get("intermediates"), "assistants", None), list):
        yield from _unstorable("intermediates.assistants", assistants)


def _losses(losses: list[Loss]) -> Iterator[Problem]:
    if not any(loss.weight for loss in losses):
        yield Problem("losses", "every weight is 0, so nothing would be learned", "at least one weight above 0", "weight = 1.0")
        return
    for phase, name in (("float", "float warm-up"), ("qat", "quantization-aware training")):
        if not any(loss.weight and loss.phase in ("both", phase) for loss in losses):
            expected = f'at least one with phase = "both" or "{phase}"'
            yield Problem("losses", f"none with a weight in the {name}, so nothing would be learned there", expected, 'phase = "both"')


def _space(table: str, chosen: Student | SearchSpace) -> Iterator[Problem]:
    """Of [student], or of one family of [search]."""
    for key, choices in chosen.space.items():
        where, fixed = f"{table}.space.{key}", key.removesuffix("[]")
        if not choices:
            yield Problem(where, "an empty list", "at least one value to choose from", f"list values, or delete {key}")
        if any(choice in choices[:at] for at, choice in enumerate(choices)):
            yield Problem(where, f"{shown(choices)} has a value twice", "each value once", "delete the repetition")
        if fixed in chosen.options:
            yield Problem(where, f"is also fixed in {table}.options", "one of the two", f"delete {fixed} from one of them")


def _teacher(teacher: Teacher) -> Iterator[Problem]:
    if len(teacher.mean) != len(teacher.std):
        yield Problem(
            "teacher.std",
            f"{len(teacher.std)} values but teacher.mean has {len(teacher.mean)}",
            "one value a channel in both",
            f"std = {[teacher.std[0]] * len(teacher.mean)}",
        )
    yield from _finished(teacher)
    if teacher.labels is not None and (len(set(teacher.labels)) != len(teacher.labels) or not all(teacher.labels)):
        yield Problem("teacher.labels", f"{shown(teacher.labels)} has a name twice, or an empty one", "one name an output", "correct it")
    if teacher.checkpoint is not None:
        yield from named("teacher.checkpoint", teacher.checkpoint, "teacher.safetensors")


def _finished(teacher: Teacher) -> Iterator[Problem]:
    """What a teacher that comes finished from a file has no use for."""
    if teacher.source not in FINISHED:
        return
    useless = {"checkpoint": "the model's own file or folder in teacher.options", "schedule": "none: there is nothing to train"}
    if teacher.source == "soft_targets":
        useless |= dict.fromkeys(("mean", "std", "scale", "size"), "none: no image is fed to a file of outputs")
        useless["top_k"] = "none: the file holds them all"
    for key, expected in useless.items():
        if key in teacher.model_fields_set and getattr(teacher, key) is not None:
            yield Problem(f"teacher.{key}", f"has no meaning for source = {teacher.source!r}", expected, f"delete {key}")


def _views(views: Views) -> Iterator[Problem]:
    if views.count > 1 and not (views.mirror or views.shift or views.shift_time or views.cutout):
        yield Problem(
            "views.count",
            f"{views.count}, but with neither mirror, shift nor cutout every view is the image itself",
            "1, or a way in which the views differ",
            "count = 1",
        )


def _targets(targets: dict[str, BudgetOverride]) -> Iterator[Problem]:
    known = target_files()
    for name, override in targets.items():
        if name not in known:
            near = get_close_matches(name, known, 1)
            mend = f"perhaps [targets.{near[0]}]" if near else "edgekd targets list"
            yield Problem(f"targets.{name}", "no target has this name", ", ".join(known), mend)
        elif not override.model_fields_set:
            yield Problem(f"targets.{name}", "states no budget", ", ".join(BudgetOverride.model_fields), "delete the table")


def _unstorable(key: str, value: Any) -> Iterator[Problem]:
    """Options are stored as JSON, which has neither dates nor infinity nor "not a number"."""
    if isinstance(value, DATES):
        yield Problem(
            key, f"a date or time ({value})", "text, a number, a boolean, an array or a table", f'{key.rpartition(".")[2]} = "{value}"'
        )
    elif isinstance(value, float) and not math.isfinite(value):
        yield Problem(key, f"found {value}", "a finite number", f"correct {key.rpartition('.')[2]}")
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _unstorable(f"{key}.{name}", inner)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _unstorable(f"{key}[{at}]", inner)
