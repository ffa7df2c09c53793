"""What no recipe may say of the student's own front-end, in [student] frontend and in [search.frontend]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgekd.profile.strict import Problem, shown
from edgekd.recipe.schema import FRONTEND, SearchSpace, Student

EXAMPLE = "space = { mels = [16, 24, 32] }"


def front_ends(sections: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of both, in themselves and beside other tables. Whether the data has a front-end is seen when it is loaded."""
    student: Student | None = sections.get("student")
    searched: SearchSpace | None = (sections.get("search") or {}).get(FRONTEND)
    if searched is not None:
        yield from _searched(searched)
    asked = {"student.frontend": student is not None and student.frontend is not None, f"search.{FRONTEND}": searched is not None}
    for key in (name for name, given in asked.items() if given and sections.get("data_free") is not None):
        found = "beside [data_free], whose images are made as the teacher sees them: no sound gives them through another front-end"
        yield Problem(key, found, "one of the two", f"delete {key}, or [data_free]")


def _searched(table: SearchSpace) -> Iterator[Problem]:
    if not table.space:
        yield Problem(f"search.{FRONTEND}.space", "is missing", "lists of values to choose from", EXAMPLE)
    for key, values in [*table.space.items(), *((key, [value]) for key, value in table.options.items())]:
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
            where = f"search.{FRONTEND}.{'space' if key in table.space else 'options'}.{key}"
            yield Problem(where, f"{shown(values)} are not all numbers", "numbers of the features", EXAMPLE)
