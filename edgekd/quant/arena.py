"""Peak RAM read off a graph: lifetimes in operator order, and greedy placement as TensorFlow Lite Micro's planner does it.

The placement of activations and scratch is exact. What TFLM keeps beside it (its own structures, per-channel multipliers) is
modelled from the sizes of its structures on a 64-bit host, where a report can be had; a 32-bit core needs 1–3 % less in all.
No operator works in place, Reshape included: its output has its own bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Mean

#: Every buffer of the arena starts at a multiple of this (TFLM's MicroArenaBufferAlignment).
ALIGNMENT = 16


@dataclass(frozen=True)
class Lifetime:
    """``nbytes`` (aligned) must stay from operator ``first`` to operator ``last``, both included; the input is there from 0 on."""

    name: str
    nbytes: int
    first: int
    last: int

    def meets(self, other: Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Placement:
    """Where each buffer lies: ``total_bytes`` is the peak, ``lower_bound`` what no placement can go below."""

    offsets: Mapping[str, int]
    total_bytes: int
    lower_bound: int


def lifetimes(graph: QuantGraph) -> tuple[Lifetime, ...]:
    """Lifetime of every activation, in the graph's order of tensors, then of every operator's scratch (``name/scratch``).

    Operators count from 1. An output of the graph lives to the end; what nobody reads dies where it is made.
    """
    first = dict.fromkeys(graph.inputs, 0)
    last = dict.fromkeys(graph.inputs, 0)
    scratch: list[Lifetime] = []
    for at, op in enumerate(graph.ops, start=1):
        for name in op.outputs:
            first[name] = at
        for name in (*op.inputs, *op.outputs):
            last[name] = at
        if isinstance(op, Mean) and graph.tensor(op.inputs[0]).dtype in ("int8", "int16"):
            # The integer mean sums into one int32 for each output.
            elements = graph.tensor(op.outputs[0]).nbytes * (1 if graph.tensor(op.outputs[0]).dtype == "int8" else 2)
            scratch.append(Lifetime(f"{op.name}/scratch", _aligned(4 * elements), at, at))
    for name in graph.outputs:
        last[name] = len(graph.ops)
    made = [Lifetime(n, _aligned(t.nbytes), first[n], last[n]) for n, t in graph.tensors.items() if not t.is_constant and n in first]
    return (*made, *scratch)


def place(graph: QuantGraph) -> Placement:
    """Greedy placement of the graph's activations and scratch, equal to TFLM's."""
    return place_lifetimes(lifetimes(graph))


def place_lifetimes(wanted: Iterable[Lifetime]) -> Placement:
    """The largest first (of equals, the later one), each into the lowest gap between what is alive with it."""
    buffers = tuple(wanted)
    offsets: dict[str, int] = {}
    placed: list[Lifetime] = []
    for buffer in sorted(buffers, key=lambda b: b.nbytes)[::-1]:  # sorted is stable, so of equals the later one comes first
        alive = sorted((offsets[p.name], p.nbytes) for p in placed if p.meets(buffer))
        at = 0
        for start, size in alive:
            if start - at >= buffer.nbytes:
                break
            at = max(at, start + size)
        offsets[buffer.name] = at
        placed.append(buffer)
    total = max((offsets[b.name] + b.nbytes for b in buffers), default=0)
    moments = {b.first for b in buffers}
    bound = max((sum(b.nbytes for b in buffers if b.first <= t <= b.last) for t in moments), default=0)
    return Placement(offsets, total, bound)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
