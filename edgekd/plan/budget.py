"""The budgets of one build, each with who set it: the command line, else the recipe's table for the target, else the profile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgekd.errors import InputError
from edgekd.profile.schema import Profile
from edgekd.recipe.schema import Recipe

#: Every budget, in the order in which it is shown, and its unit. ``max_macs`` limits the figure ``macs``.
UNITS = {"model_bytes": "B", "peak_ram_bytes": "B", "max_macs": "MAC", "latency_ms": "ms", "accuracy_drop_pp": "pp"}


@dataclass(frozen=True)
class Budget:
    """``name`` is a key of UNITS; ``source`` says who set the limit, in words."""

    name: str
    limit: float
    unit: str
    source: str


def budgets(profile: Profile, recipe: Recipe, preset: str, overrides: Mapping[str, float] | None = None) -> tuple[Budget, ...]:
    """The budgets in force; ``overrides`` are the command line's, by the keys of UNITS.

    Of the recipe's two caps on MACs, its table's for the target and its preset's, the smaller holds. Raises InputError for an unknown
    budget or preset, a limit that is no positive number, and a limit beyond the board's own memory.
    """
    overrides = overrides or {}
    for name in overrides:
        if name not in UNITS:
            raise InputError(f"there is no budget {name!r}", where="command line", expected=", ".join(UNITS))
    if preset not in recipe.presets:
        raise InputError(f"recipe {recipe.name} has no preset {preset!r}", where="preset", expected=", ".join(recipe.presets))
    made = [_budget(name, profile, recipe, preset, overrides) for name in UNITS]
    return tuple(b for b in made if b is not None)


def _budget(name: str, profile: Profile, recipe: Recipe, preset: str, overrides: Mapping[str, float]) -> Budget | None:
    table = recipe.targets.get(profile.name)
    stated: list[tuple[float, str]] = []
    if name in overrides:
        stated.append((overrides[name], "command line"))
    else:
        own = getattr(table, name) if table is not None else None
        if own is not None:
            stated.append((own, f"recipe, targets.{profile.name}"))
        cap = recipe.presets[preset].max_macs if name == "max_macs" else None
        if cap is not None:
            stated.append((cap, f"recipe, presets.{preset}"))
        if not stated and name != "max_macs":
            stated.append((getattr(profile.budgets, name), f"profile {profile.name}"))
    if not stated:
        return None
    limit, source = min(stated)
    _check(name, limit, source, profile)
    return Budget(name, limit, UNITS[name], source)


def _check(name: str, limit: float, source: str, profile: Profile) -> None:
    least = 0.0 if name == "accuracy_drop_pp" else math.ulp(0.0)
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not least <= limit < math.inf:
        raise InputError(f"{name} = {limit!r}", where=source, expected=f"a positive number of {UNITS[name]}")
    has = {"model_bytes": profile.device.flash_bytes, "peak_ram_bytes": profile.device.ram_bytes}.get(name)
    if has is not None and limit > has:
        raise InputError(
            f"{name} = {limit:,.0f}",
            where=source,
            expected=f"at most the {has:,} B that {profile.device.board} has",
            mend=f"{name} = {has}",
        )
