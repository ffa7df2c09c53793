"""What no recipe may say of who teaches whom, and of what: teachers, taps, critics, intermediates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgekd.profile.strict import Problem, shown
from edgekd.recipe.schema import Critic, Ensemble, Intermediates, Loss, Teacher, listed

#: Sources that give no torch modules whose outputs could be tapped.
OPAQUE = {
    "soft_targets": "a file of outputs, there is no model to run",
    "onnx": "run by ONNX Runtime",
    "keras": "run by TensorFlow",
    "saved_model": "run by TensorFlow",
}


def training(sections: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems between the sections that are right in themselves; one that is not is left out of ``sections``."""
    losses: Sequence[Loss] = sections.get("losses") or ()
    for at, loss in enumerate(losses):
        yield from _taps(f"losses[{at}]", loss)
    if "teacher" in sections and "teachers" in sections:
        one, several = sections["teacher"], sections["teachers"]
        yield from _teachers(one, several)
        all_teachers = several if one is None else [one]
        if sections.get("ensemble"):
            yield from _ensemble(sections["ensemble"], all_teachers)
        if all_teachers and all(teacher.source in OPAQUE for teacher in all_teachers):
            yield from _opaque(losses, all_teachers)
        if sections.get("data_free"):
            yield from _data_free(all_teachers)
    if curate := sections.get("curate"):
        for at, critic in enumerate(curate.critics):
            yield from _critic(f"curate.critics[{at}]", critic)
    if intermediates := sections.get("intermediates"):
        yield from _intermediates(intermediates)


def _teachers(one: Teacher | None, several: list[Teacher]) -> Iterator[Problem]:
    if one is None and not several:
        yield Problem("teacher", "is missing", "a table [teacher], or several [[teachers]]", 'add `source = "…"` under [teacher]')
    if one is not None and several:
        yield Problem("teachers", "stand beside [teacher]", "one of the two", "write [teacher] as another [[teachers]]")
    for at, teacher in enumerate(several):
        if teacher in several[:at]:
            yield Problem(f"teachers[{at}]", f"is the same as teachers[{several.index(teacher)}]", "each once", "delete one of them")


def _ensemble(ensemble: Ensemble, teachers: list[Teacher]) -> Iterator[Problem]:
    tasks = [teacher.task for teacher in teachers]
    if len(set(tasks)) == len(tasks):
        found = f"how = {ensemble.how!r}, but no task has two teachers"
        yield Problem("ensemble", found, "several [[teachers]] of one task", "delete [ensemble], or add a teacher")


def _taps(key: str, loss: Loss) -> Iterator[Problem]:
    for name in ("student", "teacher"):
        paths = listed(getattr(loss, name))
        if twice := [path for at, path in enumerate(paths) if path in paths[:at]]:
            yield Problem(f"{key}.{name}", f"{twice[0]!r} stands twice", "each module once", "delete the repetition")
    if loss.teacher_paths and len(loss.teacher_paths) != len(listed(loss.teacher)):
        yield Problem(
            f"{key}.teacher",
            f"{shown(loss.teacher)} taps both the teacher and the student",
            "one of them in one loss",
            "write two losses",
        )


def _opaque(losses: Sequence[Loss], teachers: list[Teacher]) -> Iterator[Problem]:
    for at, loss in enumerate(losses):
        if loss.teacher_paths:
            source = teachers[0].source
            yield Problem(
                f"losses[{at}].teacher",
                f"taps {loss.teacher_paths[0]!r}, but source = {source!r} is {OPAQUE[source]}",
                "a teacher that is a torch module, or a loss of its logits",
                "delete teacher",
            )


def _critic(key: str, critic: Critic) -> Iterator[Problem]:
    if (critic.keep is None) == (not critic.weight):
        found = "neither keep nor weight" if critic.keep is None else "both keep and weight"
        yield Problem(key, f"has {found}", "one of the two", "keep = 0.8" if critic.keep is None else "delete weight")


def _intermediates(intermediates: Intermediates) -> Iterator[Problem]:
    if not intermediates.assistants and not intermediates.generations:
        yield Problem("intermediates", "names neither assistants nor generations", "one of them, or no such table", 'assistants = "auto"')


def _data_free(teachers: list[Teacher]) -> Iterator[Problem]:
    """Images are made by going back from one teacher's answers to its pixels."""
    if len(teachers) > 1:
        yield Problem("data_free", f"{len(teachers)} teachers", "one, which images are made from", "a table [teacher], or no [data_free]")
    for teacher in teachers[:1]:
        if teacher.source in OPAQUE:
            found = f"source = {teacher.source!r} is {OPAQUE[teacher.source]}"
            yield Problem("data_free", found, "a teacher that is a torch module", "delete [data_free]")
        elif teacher.reads is not None:
            yield Problem("data_free", f"the teacher reads {teacher.reads!r}", "one that reads images", "delete [data_free]")
