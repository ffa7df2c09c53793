"""How large assistants should be, and which options of the student's family make them so large."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgekd.errors import InputError
from edgekd.students.family import Family, combinations

#: A teacher that has more times the student's parameters than this teaches it better through an assistant.
GAP = 10.0
MOST = 3
#: Options by which families grow, with what stands where a recipe says nothing (None: not known, so not grown by it).
GROWN_BY: Mapping[str, float | None] = {"width": 1.0, "dim": None, "channels": None}
LARGEST_FACTOR = 64.0


@dataclass(frozen=True)
class Sized:
    """A student of the family with so many ``parameters``."""

    options: dict[str, Any]
    spec: Any
    parameters: int


def steps(teacher: int, student: int) -> tuple[int, ...]:
    """Parameters that assistants between ``teacher`` and ``student`` should have, the largest first; none up to GAP times.

    As few as keep every step within GAP, at most MOST, evenly spaced in the logarithm: a teacher assistant of an in-between size teaches
    a small student better than a much larger teacher does (Mirzadeh et al. 2020), several of falling sizes better than one where the gap
    is wide (Son et al. 2021).
    """
    ratio = teacher / student
    if ratio <= GAP:
        return ()
    count = min(MOST, math.ceil(math.log(ratio, GAP) - 1e-9) - 1)
    return tuple(round(student * ratio ** (1 - n / (count + 1))) for n in range(1, count + 1))


def options_of(
    family: Family, spec: Any, given: tuple[Mapping[str, Any], Mapping[str, list[Any]]], data: tuple[Any, int]
) -> dict[str, Any]:
    """The options that made ``spec``: the recipe's student.options with one choice of its student.space (both ``given``).

    ``data`` is the shape of a sample and the number of classes. Raises InputError if none of them makes it.
    """
    options, space = given
    for chosen in combinations(options, space):
        if next(iter(family.candidates(chosen, {}, *data)), None) == spec:
            return chosen
    raise InputError("the student that was planned is not of this space", where="recipe, student.space", mend="edgekd build again")


def proposed(
    family: Family, base: Sized, teacher: int, space: Mapping[str, list[Any]], data: tuple[Any, int], count: Callable[[Any], int]
) -> tuple[Sized, ...]:
    """Students of ``family`` near the sizes that ``steps`` wants between ``teacher`` and the student ``base``, the largest first.

    They are the student made wider, or, where its family has no option that makes it so, members of the recipe's ``space``.
    ``count(spec)`` tells parameters. Raises InputError if the family has none of such a size.
    """
    wanted, found = steps(teacher, base.parameters), list[Sized]()
    ceiling = teacher
    for target in wanted:
        best = _nearest(_grown(family, base, target, data, count), target) or _nearest(_members(family, base, space, data, count), target)
        if best is not None and base.parameters < best.parameters < ceiling:
            found.append(best)
            ceiling = best.parameters
    if wanted and not found:
        raise InputError(
            f"no student of family {family.name} has about {wanted[0]:,} parameters, between {base.parameters:,} and {teacher:,}",
            where="recipe, intermediates.assistants",
            expected="options that make a larger student",
            mend="assistants = [{ … }], each the student's options but for what it says",
        )
    return tuple(found)


def _nearest(some: Iterator[Sized], target: int) -> Sized | None:
    """The one nearest to ``target`` in the logarithm, if within a factor of two."""
    best = min(some, key=lambda one: abs(math.log(one.parameters / target)), default=None)
    return best if best is not None and 0.5 <= best.parameters / target <= 2 else None


def _grown(family: Family, base: Sized, target: int, data: tuple[Any, int], count: Callable[[Any], int]) -> Iterator[Sized]:
    """``base`` made wider, ever nearer to ``target``."""
    for key, default in GROWN_BY.items():
        start = base.options.get(key, default)
        if isinstance(start, bool) or not isinstance(start, int | float):
            continue
        low, high, near = 1.0, LARGEST_FACTOR, False
        for _ in range(10):  # a bisection to less than a percent of the factor
            factor = math.sqrt(low * high)
            value = max(8, round(start * factor / 8) * 8) if isinstance(start, int) else round(start * factor, 3)
            if (one := _made(family, {**base.options, key: value}, data, count)) is None:
                break
            near = True
            yield one
            low, high = (factor, high) if one.parameters < target else (low, factor)
        if near:
            return


def _members(
    family: Family, base: Sized, space: Mapping[str, list[Any]], data: tuple[Any, int], count: Callable[[Any], int]
) -> Iterator[Sized]:
    free = {key: values for key, values in space.items() if key in base.options}
    fixed = {key: value for key, value in base.options.items() if key not in free}
    for chosen in combinations(fixed, free):
        if (one := _made(family, chosen, data, count)) is not None:
            yield one


def _made(family: Family, options: dict[str, Any], data: tuple[Any, int], count: Callable[[Any], int]) -> Sized | None:
    """None where the family makes no student of these options."""
    try:
        spec = next(iter(family.candidates(options, {}, *data)))
        return Sized(options, spec, count(spec))
    except (InputError, StopIteration):
        return None
