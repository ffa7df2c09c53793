"""The sections that an examination fills: classes and their confusion, calibration, and examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgekd.records import Examined
from edgekd.report import calibration, classes, confusion, examples, wording
from edgekd.report.gather import View


def sections(views: Sequence[View]) -> dict[str, Any]:
    """Cards of each examined run, by section."""
    there = [view for view in views if view.examination is not None]
    sprites = {view.key: examples.sprite(view) for view in there}
    return {
        "class_cards": [_classes(view) for view in there],
        "calibration_cards": [_calibration(view) for view in there],
        "example_cards": [_examples(view, *sprites[view.key]) for view in there],
        "sprites": [found.definition for found, _ in sprites.values() if found],
    }


def _tasks(view: View) -> list[tuple[str, Examined]]:
    """What heads each task ("" where there is but one), and the task."""
    tasks = view.examination.tasks if view.examination else ()
    return [(task.task if len(tasks) > 1 else "", task) for task in tasks]


def _classes(view: View) -> dict[str, Any]:
    blocks = []
    for name, task in _tasks(view):
        title = f"{view.name}{f', {name}' if name else ''}"
        found = classes.rows(task)
        matrices = [("student", confusion.matrix(task, task.confusion, f"{title}, student"))]
        if task.teacher_confusion is not None:
            matrices.append(("teacher", confusion.matrix(task, task.teacher_confusion, f"{title}, teacher")))
        blocks.append(
            {
                "task": name,
                "chart": classes.chart(found, view.at, title) if found else None,
                "rows": [_class(c) for c in found],
                "teacher": task.teacher_confusion is not None,
                "matrices": [{"who": who, "chart": chart} for who, chart in matrices if chart is not None],
                "too_many": len(task.confusion) > confusion.MOST,
                "confused": confusion.most_confused(task),
            }
        )
    examination = view.examination
    return {
        "view": view,
        "blocks": blocks,
        "where": examination.where if examination else "",
        "n": wording.count(examination.n if examination else 0),
    }


def _class(c: classes.Class) -> dict[str, Any]:
    teacher = None if c.teacher is None else f"{100 * c.teacher:.1f}"
    difference = None if c.teacher is None else f"{100 * (c.student - c.teacher):+.1f}".replace("-", "−")
    return {
        "label": c.label,
        "n": wording.count(c.n),
        "student": f"{100 * c.student:.1f}",
        "interval": f"{100 * c.low:.1f} to {100 * c.high:.1f}",
        "teacher": teacher,
        "difference": difference,
        "sort": (c.n, c.student, c.teacher, None if c.teacher is None else c.student - c.teacher),
    }


def _calibration(view: View) -> dict[str, Any]:
    blocks = []
    for name, task in _tasks(view):
        title = f"{view.name}{f', {name}' if name else ''}"
        drawn = [("student", calibration.diagram(task.calibration, view.at, f"{title}, student"))]
        if task.teacher_calibration:
            drawn.append(("teacher", calibration.diagram(task.teacher_calibration, view.at, f"{title}, teacher")))
        error = task.figures.get("calibration_error")
        said = f"{100 * error.value:.2f}\u00a0pp" if error else "not known"
        blocks.append({"task": name, "charts": [{"who": who, "chart": chart} for who, chart in drawn if chart is not None], "error": said})
    return {"view": view, "blocks": blocks}


def _examples(view: View, sprite: examples.Sprite | None, why: str) -> dict[str, Any]:
    blocks = []
    for at, (name, task) in enumerate(_tasks(view)):
        shown = []
        for n, example in enumerate(task.examples):
            words = examples.words(task, example)
            said = f"sample {words.index}: {words.label}"
            picture = examples.thumbnail(sprite, n, said) if sprite is not None and at == 0 else None
            shown.append({"words": words, "picture": picture})
        if shown or at == 0:
            blocks.append({"task": name, "shown": shown})
    return {"view": view, "blocks": blocks, "why": why, "any": any(block["shown"] for block in blocks)}
