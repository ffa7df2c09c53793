"""What a refusal says of patch-wise execution, and a plan of TFLM's own bytes."""

from __future__ import annotations

import re

import pytest

from edgekd.errors import DoesNotFit
from edgekd.plan.budget import Budget
from edgekd.plan.choose import choose
from edgekd.plan.estimate import cost, in_patches
from edgekd.profile.schema import Profile
from edgekd.quant.scheme import Scheme
from edgekd.students.inverted_residual import FAMILY, candidates, sketch

SPECS = tuple(candidates({"stem_stride": 1, "expansion": 4}, {}, (28, 28, 1), 10))


def refusal(profile: Profile, ram: float) -> str:
    limits = (Budget("peak_ram_bytes", ram, "B", "command line"),)
    with pytest.raises(DoesNotFit) as caught:
        choose(profile, FAMILY, SPECS, limits, lambda spec: sketch(spec, Scheme()), None)
    return str(caught.value)


def test_a_refusal_says_what_patches_would_do(profile: Profile) -> None:
    said = refusal(profile, 90_000)
    found = re.search(r"peak_ram_bytes: would fit in (\d)×\1 patches of the first \d+ operators, \+\d+ % MAC: ([\d,]+) B", said)
    assert found
    assert int(found[2].replace(",", "")) <= 90_000
    assert said.endswith("to mend:  smaller values in the recipe's student.space, or a wider budget")
    assert "peak_ram_bytes: would not fit patch-wise either: " in refusal(profile, 20_000)


def test_elsewhere_than_in_an_arena_nothing_is_said(phone: Profile) -> None:
    assert in_patches(sketch(SPECS[0], Scheme()), phone, 1000) == ""


def test_a_plan_says_what_tflm_adds(profile: Profile) -> None:
    limits = (Budget("peak_ram_bytes", 200_000, "B", "command line"),)
    plan = choose(profile, FAMILY, SPECS, limits, lambda spec: sketch(spec, Scheme()), None)
    counted = cost(SPECS[0], sketch(SPECS[0], Scheme()), profile)
    placed = counted.ram_bytes - counted.runtime_bytes
    assert placed % 16 == 0
    assert f"({placed:,} and {counted.runtime_bytes:,} B)" in plan.figures["peak_ram_bytes"].where
