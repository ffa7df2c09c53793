"""What no recipe may say of who teaches whom, and of what: teachers, taps, critics, intermediates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
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
        yield from _tapped(losses, all_teachers)
        yield from _top_k("teacher" if one is not None else "teachers[{}]", all_teachers, curated=bool(sections.get("curate")))
        if getattr(sections.get("intermediates"), "assistants", None) == "auto":
            yield from _sizes(all_teachers)
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
            continue
        files = [one.checkpoint and PurePosixPath(one.checkpoint) for one in several]
        if files[at] is not None and files[at] in files[:at]:
            found = f"{teacher.checkpoint!r} is also that of teachers[{files.index(files[at])}]"
            mend = f'checkpoint = "{PurePosixPath(str(teacher.checkpoint)).stem}{at}.safetensors"'
            yield Problem(f"teachers[{at}].checkpoint", found, "a file for each: `edgekd teach` trains every one", mend)


def _ensemble(ensemble: Ensemble, teachers: list[Teacher]) -> Iterator[Problem]:
    tasks = [teacher.task for teacher in teachers]
    if len(set(tasks)) == len(tasks):
        found = f"how = {ensemble.how!r}, but no task has two teachers"
        yield Problem("ensemble", found, "several [[teachers]] of one task", "delete [ensemble], or add a teacher")
    for at, teacher in enumerate(teachers):
        if ensemble.how == "per_class" and teacher.source == "soft_targets" and tasks.count(teacher.task) > 1:
            found = f'"per_class" weighs by the validation split, for which teachers[{at}], a file of outputs, has none'
            yield Problem("ensemble.how", found, '"mean" or "confidence", for which none are needed', 'how = "confidence"')


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
    own = tuple(path.removeprefix("student:") for path in listed(loss.teacher) if path.startswith("student:"))
    if own and own == (listed(loss.student) or ("",)) and ":" not in loss.name and loss.name != "previous_epoch":
        found = f"{shown(loss.teacher)} is what is taught: nothing could be learned"
        yield Problem(f"{key}.teacher", found, "another, deeper module", 'teacher = "student:"' if own != ("",) else "delete teacher")


def _tapped(losses: Sequence[Loss], teachers: list[Teacher]) -> Iterator[Problem]:
    """What is tapped runs along, so that it must be one torch module."""
    for at, loss in enumerate(losses):
        if not loss.teacher_paths:
            continue
        key, path = f"losses[{at}].teacher", loss.teacher_paths[0]
        # Whether no task stands for this one, only the data knows.
        answering = [teacher for teacher in teachers if teacher.task == loss.task] or ([] if loss.task else teachers)
        if len(answering) > 1 and len({teacher.task for teacher in answering}) == 1:
            found = f"taps {path!r}, but {len(answering)} teachers answer this task, and it is not said which is meant"
            yield Problem(key, found, "a task with one teacher, or a loss of the logits", "delete teacher")
        elif answering and all(teacher.source in OPAQUE for teacher in answering):
            source = answering[0].source
            found = f"taps {path!r}, but source = {source!r} is {OPAQUE[source]}"
            yield Problem(key, found, "a teacher that is a torch module, or a loss of its logits", "delete teacher")


def _top_k(key: str, teachers: list[Teacher], *, curated: bool) -> Iterator[Problem]:
    """Who reads all logits of a teacher of whom the largest are stored."""
    tasks = [teacher.task for teacher in teachers]
    for at, teacher in enumerate(teachers):
        if teacher.top_k is None:
            continue
        found = f"{teacher.top_k}, but "
        if tasks.count(teacher.task) > 1:
            found += f"{tasks.count(teacher.task)} teachers answer this task together, of whom every logit is needed"
        elif curated:
            found += "the critics of [curate] judge by every logit"
        else:
            continue
        yield Problem(f"{key.format(at)}.top_k", found, "one teacher a task, and no critics", "delete top_k")


def _sizes(teachers: list[Teacher]) -> Iterator[Problem]:
    for teacher in teachers:
        if teacher.source in OPAQUE:
            found = f'"auto", but the size of a teacher of source = {teacher.source!r} is not known'
            yield Problem("intermediates.assistants", found, "the options of each", "assistants = [{ … }]")
            return


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
