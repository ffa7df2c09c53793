"""Peak RAM read off a graph: what a TFLite file of it takes in TensorFlow Lite Micro's arena, and the least that it could take.

The placement of activations and scratch is exact. What TFLM keeps beside it (its own structures, per-channel multipliers) is
modelled from the sizes of its structures on a 64-bit host, where a report can be had; a 32-bit core needs 1–3 % less in all.
No operator works in place, Reshape included: its output has its own bytes.

TFLM places buffers greedily, the largest first, where the file holds no plan of its own. `arrange` says what the TFLite exporter writes:
another order of operators, or a plan, where that makes the arena smaller. Kernels that need scratch of their own (CMSIS-NN's) get it
around the plan: at most as much above it as the largest of them asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from edgekd.quant.arena_lifetimes import ALIGNMENT, Lifetime, Placement, lifetimes, most_alive, place_lifetimes
from edgekd.quant.arena_search import STEPS, best_of
from edgekd.quant.arena_tflm import has_model, persistent_bytes
from edgekd.quant.graph import QuantGraph
from edgekd.quant.passes.explicit_padding import explicit_padding
from edgekd.quant.passes.reorder import reorder

#: The key of a graph's metadata that says "none" where the file must carry no plan: for compilers that write their own (Vela).
MEMORY_PLAN = "memory_plan"
#: A plan is written where it saves more than it takes in the file, or this share of what the greedy placement needs.
WORTH = 0.005
#: Bytes of a plan in the file: each tensor's offset, and what holds them.
_OFFSET_BYTES, _PLAN_BYTES = 4, 112


@dataclass(frozen=True)
class Arranged:
    """``graph``: the operators as they will run, padding explicit. ``placement``: where TFLM puts each buffer then. ``plan``: offsets of
    tensors that the file prescribes, None where TFLM's own placement stays. ``greedy_bytes``: the peak with neither plan nor reordering."""

    graph: QuantGraph
    placement: Placement
    plan: Mapping[str, int] | None
    greedy_bytes: int


def place(graph: QuantGraph) -> Placement:
    """Greedy placement of the graph's activations and scratch in its own order, equal to TFLM's without a plan."""
    return place_lifetimes(lifetimes(graph))


def place_best(graph: QuantGraph, *, limit_s: float | None = None, steps: int = STEPS) -> Placement:
    """The smallest placement found for the graph's own order of operators, never larger than `place`'s.

    ``bound`` is proven: nothing is smaller than it, and ``optimal`` says that the placement reaches it. Without ``limit_s`` the same graph
    always gets the same placement; with it the search also ends after that many seconds.
    """
    return best_of(lifetimes(graph), steps=steps, limit_s=limit_s)


def arrange(graph: QuantGraph) -> Arranged:
    """What is exported for TFLM: operators reordered and tensors placed where that makes the arena smaller, else as they are.

    ``graph`` is channels last. Raises InputError for padding that TFLM cannot be given.
    """
    padded = explicit_padding(graph)
    greedy = place(padded)
    moved = reorder(padded)
    if greedy.optimal and moved is padded:
        return Arranged(padded, greedy, None, greedy.total_bytes)
    tried = [padded, moved] if moved is not padded else [padded]
    found = [_planned(candidate) for candidate in tried]
    best = min(found, key=lambda a: a.placement.total_bytes)  # of equals the graph's own order
    return replace(best, greedy_bytes=greedy.total_bytes)


def arena_total(graph: QuantGraph) -> int:
    """Bytes of arena that the file of the channels-last ``graph`` needs under TFLM with reference kernels on a 64-bit host: a prediction.

    Raises InputError for padding that TFLM cannot be given, and for an operator that it has not.
    """
    arranged = arrange(graph)
    return arranged.placement.total_bytes + persistent_bytes(arranged.graph)


def _planned(graph: QuantGraph) -> Arranged:
    """``graph`` in its own order, with a plan where that is worth it."""
    alive = lifetimes(graph)
    greedy = place_lifetimes(alive)
    unplanned = Arranged(graph, greedy, None, greedy.total_bytes)
    if greedy.optimal or not has_model(graph) or graph.metadata.get(MEMORY_PLAN) == "none":
        return unplanned
    tensors = {life.name for life in alive if life.name in graph.tensors}
    offsets = {name: at for name, at in _searched(alive).offsets.items() if name in tensors}
    # Scratch is placed by TFLM when it loads the file, around what the plan fixes.
    placed = place_lifetimes(alive, offsets)
    saved = greedy.total_bytes - placed.total_bytes
    if saved <= 0 or (saved < WORTH * greedy.total_bytes and saved < _PLAN_BYTES + _OFFSET_BYTES * len(graph.tensors)):
        return unplanned
    return Arranged(graph, placed, offsets, greedy.total_bytes)


@lru_cache(maxsize=256)
def _searched(alive: tuple[Lifetime, ...]) -> Placement:
    return best_of(alive)


__all__ = [
    "ALIGNMENT", "MEMORY_PLAN", "Arranged", "Lifetime", "Placement", "arena_total", "arrange", "lifetimes", "most_alive",
    "persistent_bytes", "place", "place_best", "place_lifetimes",
]  # fmt: skip
