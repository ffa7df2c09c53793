from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import pytest

from edgekd.errors import InputError
from edgekd.students.family import Family, combinations, open_family
from edgekd.train.intermediates import parameters
from edgekd.train.intermediates_sizes import Sized, options_of, proposed, steps

DATA = ((8, 8, 1), 4)


def family(*keys: str) -> Family:
    """Its spec is its options, sorted; it has 10 · width² · depth parameters, and takes the options ``keys``."""

    def candidates(options: Mapping[str, Any], space: Mapping[str, list[Any]], shape: Any, classes: int) -> Iterator[Any]:
        for chosen in combinations(options, space):
            if unknown := set(chosen) - set(keys):
                raise InputError(f"no option {unknown}")
            yield tuple(sorted(chosen.items()))

    def never(*_: Any) -> Any:
        raise AssertionError

    return Family("made_up", candidates, never, never, never, None, never)


def count(spec: Any) -> int:
    options = dict(spec)
    return round(10 * options.get("width", 1) ** 2 * options.get("depth", 1))


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [
        (1000, 100, ()),
        (5, 100, ()),
        (1100, 100, (332,)),
        (10_000, 100, (1000,)),
        (10_100, 100, (2169, 466)),
        (100_000, 100, (10_000, 1000)),
        (10**9, 10, (10**7, 10**5, 1000)),
    ],
)
def test_steps_are_as_few_as_keep_each_within_ten_times(teacher: int, student: int, expected: tuple[int, ...]) -> None:
    assert steps(teacher, student) == expected
    path = (teacher, *expected, student)
    if len(expected) < 3:
        assert all(b and a / b <= 10.1 for a, b in pairwise(path))


def test_the_options_that_made_a_spec() -> None:
    some = family("width", "depth")
    spec = (("depth", 2), ("width", 0.5))
    assert options_of(some, spec, ({"depth": 2}, {"width": [1.0, 0.5]}), DATA) == {"depth": 2, "width": 0.5}
    with pytest.raises(InputError, match="is not of this space"):
        options_of(some, spec, ({"depth": 3}, {"width": [1.0, 0.5]}), DATA)


def test_wider_students_are_proposed() -> None:
    base = Sized({"depth": 2}, (("depth", 2),), 20)
    found = proposed(family("width", "depth"), base, 20_000, {}, DATA, count)
    assert [one.options["depth"] for one in found] == [2, 2]
    for one, target in zip(found, steps(20_000, 20), strict=True):
        assert one.parameters == count(one.spec) == pytest.approx(target, rel=0.05)
    assert proposed(family("width"), Sized({}, (), 10), 100, {}, DATA, count) == ()


def test_members_of_the_space_where_none_can_be_wider() -> None:
    base = Sized({"depth": 1}, (("depth", 1),), 10)
    (one,) = proposed(family("depth"), base, 800, {"depth": [1, 8, 100]}, DATA, count)
    assert one.options == {"depth": 8} and one.parameters == 80
    with pytest.raises(InputError, match=r"(?s)no student of family made_up has about 89 parameters.*assistants = \[\{ … \}\]"):
        proposed(family("depth"), base, 800, {"depth": [1, 2]}, DATA, count)


def test_a_real_family() -> None:
    real = open_family("inverted_residual")
    options = {"stem": 8, "widths": [8, 12], "blocks": [1, 2], "strides": [1, 2]}
    spec = next(iter(real.candidates(options, {}, *DATA)))
    base = Sized(options, spec, parameters(real, spec))
    (one,) = proposed(real, base, base.parameters * 50, {}, DATA, lambda spec: parameters(real, spec))
    assert one.options["width"] > 1 and one.parameters == pytest.approx(base.parameters * math.sqrt(50), rel=0.1)
