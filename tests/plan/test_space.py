from __future__ import annotations

import re
from typing import Any

import pytest

from edgekd.errors import InputError
from edgekd.plan.space import check_space, choices, draw


def test_a_draw_has_a_value_of_every_entry_and_one_a_stage() -> None:
    asked: list[str] = []

    def last(name: str, values: Any) -> Any:
        asked.append(name)
        return values[-1]

    made = draw({"stem": 8}, {"blocks[]": [1, 2], "strides": [[1, 2], [1, 2, 2]], "head": [0, 32]}, last)
    assert made == {"stem": 8, "blocks": [2, 2, 2], "strides": [1, 2, 2], "head": 32}
    assert asked == ["strides", "head", "blocks[0]", "blocks[1]", "blocks[2]"]


def test_all_that_a_draw_may_ask_for_is_known_before() -> None:
    space = {"blocks[]": [1, 2], "strides": [[1, 2], [1, 2, 2]], "head": [0, 32]}
    assert choices({}, space) == {
        "blocks[0]": [1, 2],
        "blocks[1]": [1, 2],
        "blocks[2]": [1, 2],
        "strides": space["strides"],
        "head": [0, 32],
    }
    assert list(choices({"strides": [1]}, {"blocks[]": [3]})) == ["blocks[0]"]


def test_widths_rise() -> None:
    values = iter([48, 8, 16])
    assert draw({"strides": [1, 1, 1]}, {"widths[]": [8, 16, 48]}, lambda *_: next(values))["widths"] == [8, 16, 48]


@pytest.mark.parametrize(
    ("options", "space", "message"),
    [
        ({}, {}, "nothing to choose from"),
        ({}, {"stem": []}, "stem = []"),
        ({}, {"stem": 8}, "stem = 8"),
        ({"stem": 8}, {"stem": [8]}, "fixed and free"),
        ({"blocks": [1]}, {"blocks[]": [1]}, "fixed and free"),
        ({}, {"blocks": [[1]], "blocks[]": [1]}, "fixed and free"),
    ],
)
def test_what_is_no_space(options: dict[str, Any], space: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        check_space(options, space, "recipe")


def test_stages_without_strides() -> None:
    with pytest.raises(InputError, match="without strides"):
        draw({}, {"blocks[]": [1]}, lambda _, values: values[0])
