"""How long each buffer of a graph lives, in operator order, and TensorFlow Lite Micro's greedy placement of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph

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
    """Where each buffer lies: ``total_bytes`` is the peak, ``bound`` what no placement of these buffers can go below, as far as proven."""

    offsets: Mapping[str, int]
    total_bytes: int
    bound: int

    @property
    def optimal(self) -> bool:
        """Proven, that is: a placement may be the best without anyone having shown it."""
        return self.total_bytes == self.bound


def lifetimes(graph: QuantGraph) -> tuple[Lifetime, ...]:
    """Lifetime of every activation, in the order in which a file lists them, then of every operator's scratch (``name/what``).

    Operators count from 1. An output of the graph lives to the end; what nobody reads dies where it is made.
    """
    first = dict.fromkeys(graph.inputs, 0)
    last = dict.fromkeys(graph.inputs, 0)
    brief: list[Lifetime] = []
    for at, op in enumerate(graph.ops, start=1):
        for name in op.outputs:
            first[name] = at
        for name in (*op.inputs, *op.outputs):
            last[name] = at
        brief += [Lifetime(f"{op.name}/{what}", aligned(nbytes), at, at) for what, nbytes in scratch(graph, op).items()]
    for name in graph.outputs:
        last[name] = len(graph.ops)
    made = [Lifetime(name, aligned(graph.tensor(name).nbytes), start, last[name]) for name, start in first.items()]
    return (*made, *brief)


def place_lifetimes(wanted: Iterable[Lifetime], fixed: Mapping[str, int] | None = None) -> Placement:
    """The largest first (of equals, the later one), each into the lowest gap between what is alive with it.

    Buffers named in ``fixed`` lie at those offsets, whatever else is alive, and the others go around them: TFLM's offline plan.
    """
    fixed = fixed or {}
    buffers = tuple(wanted)
    placed = [b for b in buffers if b.name in fixed]
    offsets = {b.name: fixed[b.name] for b in placed}
    free = [b for b in buffers if b.name not in fixed]
    for buffer in sorted(free, key=lambda b: b.nbytes)[::-1]:  # sorted is stable, so of equals the later one comes first
        alive = sorted((offsets[p.name], p.nbytes) for p in placed if p.meets(buffer))
        at = 0
        for start, size in alive:
            if start - at >= buffer.nbytes:
                break
            at = max(at, start + size)
        offsets[buffer.name] = at
        placed.append(buffer)
    return Placement(offsets, max((offsets[b.name] + b.nbytes for b in buffers), default=0), most_alive(buffers))


def most_alive(buffers: Iterable[Lifetime]) -> int:
    """The most bytes that are alive at one time: no placement can go below."""
    buffers = tuple(buffers)
    moments = {b.first for b in buffers}
    return max((sum(b.nbytes for b in buffers if b.first <= t <= b.last) for t in moments), default=0)


def aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def scratch(graph: QuantGraph, op: ops.Op) -> dict[str, int]:
    """Bytes that ``op`` needs only while it runs."""
    if isinstance(op, ops.Mean | ops.Sum | ops.ReduceMax):
        x, y = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
        # An index and the axes, and under integers one int32 sum for each output.
        sums = {"sums": 4 * math.prod(y.shape)} if x.dtype in ("int8", "int16") and not isinstance(op, ops.ReduceMax) else {}
        return {**sums, "index": 4 * len(x.shape), "axes": 4 * len(op.axes)}
    if isinstance(op, ops.TransposeConv2D) and graph.tensor(op.inputs[0]).dtype in ("int8", "int16"):
        wide = 8 if graph.tensor(op.inputs[0]).dtype == "int16" else 4  # a sum for each output
        return {"sums": wide * math.prod(graph.tensor(op.outputs[0]).shape)}
    if isinstance(op, ops.WEIGHTED) and graph.tensor(op.inputs[1]).dtype == "int4":  # unpacked
        return {"weights": math.prod(graph.tensor(op.inputs[1]).shape)}
    return {}
