"""Which units stay, so that a module has the MACs that were asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from edgekd.compress.units import Coupling
from edgekd.errors import InputError

#: Of a bundle this share stays at least: a layer that is removed whole cannot be trained back.
LEAST = 0.1


def evenly(known: Coupling, scores: np.ndarray, most: float, multiple: int) -> np.ndarray:
    """Of every bundle the same share, the best ones: how many stay depends on the module's shapes alone, not on its weights.

    ``most`` is the limit on MACs; counts are multiples of ``multiple``. Returns bool [count]. Raises InputError where that is out of reach.
    """
    ranked = [bundle[np.argsort(-scores[bundle], kind="stable")] for bundle in known.bundles]
    steps = [_step(known, bundle, multiple) for bundle in ranked]

    def counts(share: float) -> list[int]:
        return [_count(len(bundle), share, step) for bundle, step in zip(ranked, steps, strict=True)]

    def kept(wanted: list[int]) -> np.ndarray:
        found = _all(known)
        for bundle, count in zip(ranked, wanted, strict=True):
            found[bundle[count:]] = False
        return found

    low, high = 0.0, 1.0
    _check(known, least(known, multiple), most)
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if known.macs(kept(counts(middle))) <= most else (low, middle)
    found, above = counts(low), counts(high)
    for at, count in enumerate(above):  # bundles of one size are rounded at the same share: those that still fit are
        raised = [*found[:at], count, *found[at + 1 :]]
        if known.macs(kept(raised)) <= most:
            found = raised
    return kept(found)


def globally(known: Coupling, scores: np.ndarray, most: float, multiple: int, *, per_mac: bool) -> np.ndarray:
    """The least important units of the whole module go, ``multiple`` at a time, until its MACs are ``most`` at most.

    With ``per_mac`` it is the loss of importance for each MAC saved that is least, which is right where scores of layers compare.
    """
    found = _all(known)
    waiting = [list(_steps(bundle[np.argsort(scores[bundle], kind="stable")], _step(known, bundle, multiple))) for bundle in known.bundles]
    _check(known, least(known, multiple), most)
    prices = [_price(known, found, scores, steps, per_mac) for steps in waiting]
    while known.macs(found) > most:
        at = int(np.argmin(prices))
        found[waiting[at].pop(0)] = False
        # What a step saves elsewhere has become a little less; it is looked at anew when its own bundle is next.
        prices[at] = _price(known, found, scores, waiting[at], per_mac)
    return found


def least(known: Coupling, multiple: int) -> np.ndarray:
    """The fewest units that may stay, bool [count]."""
    found = _all(known)
    for bundle in known.bundles:
        found[bundle[_count(len(bundle), LEAST, _step(known, bundle, multiple)) :]] = False
    return found


def _all(known: Coupling) -> np.ndarray:
    return np.ones(known.count, bool)


def _step(known: Coupling, bundle: np.ndarray, multiple: int) -> int:
    """How many units leave at a time, so that channels left are multiples of ``multiple``."""
    return multiple // math.gcd(multiple, known.together(bundle))


def _count(n: int, share: float, multiple: int) -> int:
    """How many of ``n`` stay: the nearest multiple, but some, and never more than there are."""
    return min(n, max(multiple, round(n * max(share, LEAST) / multiple) * multiple))


def _steps(bundle: np.ndarray, multiple: int) -> Iterator[np.ndarray]:
    """What goes together, the least important first; after each step a multiple is left, and in the end LEAST."""
    least = _count(len(bundle), LEAST, multiple)
    first, at = len(bundle) % multiple, 0
    while at < len(bundle) - least:
        size = first if at == 0 and first else multiple
        yield bundle[at : at + size]
        at += size


def _price(known: Coupling, kept: np.ndarray, scores: np.ndarray, steps: list[np.ndarray], per_mac: bool) -> float:
    """What the next of ``steps`` costs in importance, for a MAC or for a unit."""
    if not steps:
        return np.inf
    without = kept.copy()
    without[steps[0]] = False
    return float(scores[steps[0]].sum()) / (max(known.macs(kept) - known.macs(without), 1) if per_mac else len(steps[0]))


def _check(known: Coupling, fewest: np.ndarray, most: float) -> None:
    if (reach := known.macs(fewest)) > most:
        whole = known.macs(_all(known))
        raise InputError(
            f"{reach:,} of {whole:,} MACs are left where every layer keeps {LEAST:.0%} of what can be removed; {most:,.0f} are asked for",
            where="compress.macs",
            expected=f"at least {reach / whole:.2f}",
            mend=f"macs = {min(1.0, reach / whole + 0.01):.2f}, or a smaller student",
        )
