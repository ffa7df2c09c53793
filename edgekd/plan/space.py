"""What a search chooses from: a space of options, and how one draw of it becomes a family's options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgekd.errors import InputError

#: Behind an option's name: its values are chosen for each stage by itself.
EACH = "[]"
#: (name of a choice, its values) → one of them.
Draw = Callable[[str, Sequence[Any]], Any]


def draw(options: Mapping[str, Any], space: Mapping[str, Sequence[Any]], choose: Draw) -> dict[str, Any]:
    """``options`` with a value of every entry of ``space``, each by ``choose``.

    An entry ``"blocks[]"`` is a list of one choice a stage; there are as many stages as ``strides`` has entries. ``"widths[]"`` alone is
    sorted: a stage that is narrower than the one before it loses what that one found.
    """
    made = dict(options)
    for name, values in space.items():
        if not name.endswith(EACH):
            made[name] = choose(name, values)
    for name, values in space.items():
        if name.endswith(EACH):
            key = name.removesuffix(EACH)
            every = [choose(f"{key}[{stage}]", values) for stage in range(_stages(made, name))]
            made[key] = sorted(every) if key == "widths" else every
    return made


def choices(options: Mapping[str, Any], space: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Every choice that a draw may ask for, by name: as many of an entry "blocks[]" as the most strides have."""
    strides = [options["strides"]] if "strides" in options else list(space.get("strides", ()))
    most = max((len(one) for one in strides if isinstance(one, list | tuple)), default=0)
    found: dict[str, Sequence[Any]] = {}
    for name, values in space.items():
        places = [f"{name.removesuffix(EACH)}[{stage}]" for stage in range(most)] if name.endswith(EACH) else [name]
        found |= dict.fromkeys(places, values)
    return found


def check_space(options: Mapping[str, Any], space: Mapping[str, Sequence[Any]], where: str) -> None:
    """Raises InputError for an entry that is no list of values, or that is fixed as well."""
    if not space:
        raise InputError("nothing to choose from", where=where, expected="a table of options, each with a list of values")
    for name, values in space.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"{name} = {values!r}", where=where, expected="a list of at least one value")
        if name.removesuffix(EACH) in options or (name.endswith(EACH) and name.removesuffix(EACH) in space):
            raise InputError(f"{name} is fixed and free at once", where=where, expected="it once, in options or in space")
        if name == f"widths{EACH}" and any(isinstance(value, bool) or not isinstance(value, int) for value in values):
            raise InputError(f"{name} = {values!r}", where=where, expected="whole numbers, which can rise")


def _stages(made: Mapping[str, Any], name: str) -> int:
    strides = made.get("strides")
    if not isinstance(strides, list | tuple):
        raise InputError(f"{name} without strides", where="search", expected="strides, in options or in space: one entry a stage")
    return len(strides)
