"""What specs of several families have in common: numbers are checked, written as JSON and read again in one way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any, TypeVar

from edgekd.errors import InputError

#: Channels are multiples of this: the vector kernels of every target take four int8 values at a time.
DIVISOR = 4
#: Of channels, layers and pixels of a side: far beyond any edge device, and small enough to be counted at once.
LARGEST = 1 << 13

S = TypeVar("S")


def whole(name: str, value: Any, least: int, where: str) -> int:
    """``value``, a whole number from ``least`` to LARGEST. Raises InputError if it is another."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST:
        raise InputError(f"{name} = {value!r}", where=where, expected=f"a whole number from {least} to {LARGEST}")
    return value


def wholes(name: str, values: Any, least: int, where: str, *, count: int | None = None) -> tuple[int, ...]:
    """A tuple of whole numbers, ``count`` of them where that is given, else one at least. Raises InputError if they are others."""
    if not isinstance(values, list | tuple) or not values or (count is not None and len(values) != count):
        raise InputError(f"{name} = {values!r}", where=where, expected=f"a list of {count or 'at least one'} whole numbers")
    return tuple(whole(name, value, least, where) for value in values)


def multiplier(name: str, value: Any, where: str) -> float:
    """A positive factor. Raises InputError if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 100:
        raise InputError(f"{name} = {value!r}", where=where, expected="a positive multiplier")
    return value


def channels(wanted: float) -> int:
    """The nearest multiple of DIVISOR, at least one, and never less than 90 % of what was wanted (Sandler et al. 2018)."""
    nearest = max(DIVISOR, int(wanted + DIVISOR / 2) // DIVISOR * DIVISOR)
    return nearest if nearest >= 0.9 * wanted else nearest + DIVISOR


def chosen(options: Mapping[str, Any], defaults: Mapping[str, Any], family: str, where: str) -> dict[str, Any]:
    """``options`` over ``defaults``. Raises InputError for a key that is not among these."""
    for key in options:
        if key not in defaults:
            raise InputError(f"{key!r} is not an option of {family}", where=where, expected=", ".join(defaults))
    return {**defaults, **options}


def distinct(combinations: Iterable[Mapping[str, Any]], spec_from: Callable[[Mapping[str, Any]], S]) -> Iterator[S]:
    """The spec of every combination, each once."""
    seen: set[S] = set()
    for options in combinations:
        if (spec := spec_from(options)) not in seen:
            seen.add(spec)
            yield spec


def describe(spec: Any) -> dict[str, Any]:
    """The spec, a dataclass of numbers and tuples, as JSON.

    A field that has a default came later than students that were trained: where it says nothing new it is left out, and these are found.
    """
    new = {f.name: f.default for f in fields(spec) if f.default is not MISSING}
    kept = {key: value for key, value in asdict(spec).items() if key not in new or value != new[key]}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in kept.items()}


def restored(cls: Callable[..., S], body: Mapping[str, Any], where: str) -> S:
    """The spec that ``describe`` wrote. Raises InputError if keys are missing or unknown; the spec itself checks the values."""
    names = {f.name: f.default is MISSING for f in fields(cls)}  # type: ignore[arg-type] -- a dataclass
    if wrong := [name for name in {**body, **names} if name not in names or (names[name] and name not in body)]:
        raise InputError(f"keys {sorted(wrong)}", where=where, expected=", ".join(sorted(names)))
    return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in body.items()})


def resolution(spec: Any) -> tuple[int, int]:
    """Height and width, of sounds frames and frequencies, that the student is fed."""
    return spec.height, spec.width
