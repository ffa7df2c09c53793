from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
import torch

from edgekd.errors import InputError
from edgekd.plan.space import check_space, draw
from edgekd.quant.scheme import Scheme
from edgekd.quant.size import macs
from edgekd.students import STUDENTS
from edgekd.students.family import Family, combinations, open_family
from edgekd.students.inverted_residual import FAMILY

MODULE = """
from torch import nn

def make(*, channels, classes, hidden=4):
    return nn.Sequential(nn.Conv2d(channels, hidden, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(hidden, classes))

def bare(hidden):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(hidden))

def wrong(**options):
    return "a student"

number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_students.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_students", raising=False)
    return "own_students"


def only(family: Family, options: dict[str, object]) -> object:
    (spec,) = family.candidates(options, {}, (8, 8, 3), 5)
    return spec


def test_a_family_of_the_table() -> None:
    assert open_family("inverted_residual") is FAMILY
    assert open_family("edgekd.students.inverted_residual:FAMILY") is FAMILY
    with pytest.raises(InputError, match=r"'inverted_residuals' is not known(.|\n)*perhaps 'inverted_residual'"):
        open_family("inverted_residuals")


def test_a_users_function_is_given_what_it_takes(own: str) -> None:
    family = open_family(f"{own}:make")
    specs = list(family.candidates({}, {"hidden": [2, 6]}, (8, 8, 3), 5))
    assert len(set(specs)) == 2
    net = family.build(specs[1])
    assert net(torch.zeros(1, 3, 8, 8)).shape == (1, 5)
    assert sum(p.numel() for p in net.parameters()) == 6 * 28 + 5 * 7
    assert family.sketch is None
    assert family.resolution(specs[0]) == (8, 8)
    assert family.restore(json.loads(json.dumps(family.describe(specs[0])))) == specs[0]
    bare = open_family(f"{own}:bare")
    assert bare.build(only(bare, {"hidden": 5}))(torch.zeros(1, 3, 8, 8)).shape == (1, 5)


def test_a_users_mistake_is_told(own: str) -> None:
    family = open_family(f"{own}:make")
    with pytest.raises(InputError, match=r"does not take these options: got an unexpected keyword argument 'hiden'"):
        family.build(only(family, {"hiden": 3}))
    wrong = open_family(f"{own}:wrong")
    with pytest.raises(InputError, match="returned a str"):
        wrong.build(only(wrong, {}))
    with pytest.raises(InputError, match="is a int"):
        open_family(f"{own}:number")
    with pytest.raises(InputError, match="has no 'mke'"):
        open_family(f"{own}:mke")


def test_combinations() -> None:
    assert list(combinations({"a": 1}, {"b": [1, 2], "c": [3]})) == [{"a": 1, "b": 1, "c": 3}, {"a": 1, "b": 2, "c": 3}]
    with pytest.raises(InputError, match=r"b = \[\]"):
        list(combinations({}, {"b": []}))
    with pytest.raises(InputError, match="a is fixed and free at once"):
        list(combinations({"a": 1}, {"a": [1]}))


@pytest.mark.parametrize("name", sorted(STUDENTS))
@pytest.mark.parametrize("shape", [(28, 28, 1), (39, 24, 1), (12, 12, 3)])
def test_draws_of_the_wide_space_are_students(name: str, shape: tuple[int, int, int]) -> None:
    """Not all: fused stages may be more than there are, kernels larger than what is left. But most, and they differ."""
    family = open_family(name)
    assert family.wide is not None and family.sketch is not None
    options, space = family.wide(shape)
    check_space(options, space, "wide")
    drawn, rng = {}, random.Random(0)
    for _ in range(40):
        chosen = draw(options, space, lambda _, values: rng.choice(values))
        try:
            (spec,) = family.candidates(chosen, {}, shape, 5)
        except InputError:
            continue
        drawn[spec] = macs(family.sketch(spec, Scheme()))
        assert family.restore(family.describe(spec)) == spec
    assert len(drawn) >= 20 and max(drawn.values()) > 4 * min(drawn.values())
