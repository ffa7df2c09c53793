from __future__ import annotations

import pytest

from edgekd.errors import InputError
from edgekd.plan.budget import budgets
from edgekd.profile.schema import Profile
from edgekd.recipe.schema import Recipe


def test_command_line_before_recipe_before_profile(profile: Profile, recipe: Recipe) -> None:
    found = {b.name: (b.limit, b.unit, b.source) for b in budgets(profile, recipe, "best", {"latency_ms": 7.5})}
    assert found == {
        "model_bytes": (65_536, "B", "recipe, targets.board"),
        "peak_ram_bytes": (200_000, "B", "profile board"),
        "max_macs": (4_000_000, "MAC", "recipe, targets.board"),
        "latency_ms": (7.5, "ms", "command line"),
        "accuracy_drop_pp": (3.0, "pp", "profile board"),
    }


def test_of_two_caps_the_smaller_holds(profile: Profile, recipe: Recipe) -> None:
    found = {b.name: b for b in budgets(profile, recipe, "demo")}
    assert (found["max_macs"].limit, found["max_macs"].source) == (3_000_000, "recipe, presets.demo")
    found = {b.name: b for b in budgets(profile, recipe, "demo", {"max_macs": 9_000_000})}
    assert (found["max_macs"].limit, found["max_macs"].source) == (9_000_000, "command line")


def test_without_a_cap_there_is_no_budget_of_macs(profile: Profile, recipe: Recipe) -> None:
    recipe = recipe.model_copy(update={"targets": {}})
    found = {b.name: b.source for b in budgets(profile, recipe, "best")}
    assert "max_macs" not in found
    assert found["model_bytes"] == "profile board"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"flash": 1}, "there is no budget 'flash'"),
        ({"model_bytes": 0}, "model_bytes = 0"),
        ({"latency_ms": -1.0}, r"latency_ms = -1\.0"),
        ({"max_macs": float("nan")}, "max_macs = nan"),
        ({"max_macs": float("inf")}, "max_macs = inf"),
        ({"model_bytes": 1_000_001}, r"model_bytes = 1,000,001(.|\n)*at most the 1,000,000 B that Board One has"),
        ({"peak_ram_bytes": 400_000}, "at most the 300,000 B"),
    ],
)
def test_an_impossible_budget_is_refused(profile: Profile, recipe: Recipe, overrides: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        budgets(profile, recipe, "demo", overrides)


def test_an_unknown_preset_is_refused(profile: Profile, recipe: Recipe) -> None:
    with pytest.raises(InputError, match=r"recipe shapes has no preset 'fast'(.|\n)*demo, best"):
        budgets(profile, recipe, "fast")
