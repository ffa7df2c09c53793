"""What a C library of a graph calls, in which order, and where in its arena everything lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgekd.errors import InputError
from edgekd.export.c_base import Call, Kernel
from edgekd.export.c_ops import calls_of
from edgekd.export.c_sets import CORES, choose, scratch
from edgekd.quant.arena import Lifetime, Placement
from edgekd.quant.arena_lifetimes import aligned
from edgekd.quant.arena_search import best_of
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Op
from edgekd.quant.passes.reorder import reorder


@dataclass(frozen=True, eq=False)
class Layer:
    """An operator that is computed: its calls, each with its kernel, and the bytes of scratch that they share."""

    op: Op
    calls: tuple[tuple[Call, Kernel], ...]
    scratch_bytes: int

    @property
    def scratch_name(self) -> str:
        return f"{self.op.name}/scratch"


@dataclass(frozen=True, eq=False)
class Plan:
    """``layers`` in the order in which they run. ``roots``: the tensor whose memory each tensor is. ``placement`` has the offset of each
    root that is no constant, and of each layer's scratch, by ``scratch_name``."""

    graph: QuantGraph
    layers: tuple[Layer, ...]
    roots: Mapping[str, str]
    placement: Placement

    def offset(self, name: str) -> int | None:
        """Bytes from the arena's start; None for a constant."""
        return self.placement.offsets.get(self.roots[name])


def plan(graph: QuantGraph, kernels: str, core: str | None) -> Plan:
    """The plan with the smallest arena of the graph's own order and of the one that keeps least alive.

    Raises InputError for what C cannot state.
    """
    if graph.layout != "channels_last":
        raise InputError(
            f"layout {graph.layout}", where=f"graph {graph.name}", expected="channels_last", mend="run the pass to_channels_last first"
        )
    if len(graph.inputs) != 1:
        raise InputError(f"{len(graph.inputs)} inputs", where=f"graph {graph.name}", expected="one: the reference knows no other graphs")
    if core is not None and core not in CORES:
        raise InputError(f"core {core!r}", where="--core", expected=", ".join(CORES))
    own = _placed(graph, kernels, core)
    moved = reorder(graph)
    if moved is graph or (own.placement.optimal and own.placement.total_bytes <= _least(own)):
        return own
    return min(own, _placed(moved, kernels, core), key=lambda p: p.placement.total_bytes)


def _least(placed: Plan) -> int:
    """What no order can go below: what some operator reads and writes."""
    graph = placed.graph
    sums = [0]
    for layer in placed.layers:
        names = {placed.roots[name] for call, _ in layer.calls for name in (*call.inputs, call.output)}
        sums.append(sum(aligned(graph.tensor(n).nbytes) for n in names if not graph.tensor(n).is_constant) + aligned(layer.scratch_bytes))
    return max(sums)


def _placed(graph: QuantGraph, kernels: str, core: str | None) -> Plan:
    layers: list[Layer] = []
    roots = {name: name for name, tensor in graph.tensors.items() if tensor.is_constant or name in graph.inputs}
    for op in graph.ops:
        calls = tuple((call, choose(kernels, call, core)) for call in calls_of(op, graph))
        roots[op.outputs[0]] = op.outputs[0] if calls else roots[op.inputs[0]]
        if calls:
            layers.append(Layer(op, calls, max(scratch(kernel, call, core) for call, kernel in calls)))
    return Plan(graph, tuple(layers), roots, best_of(_lifetimes(graph, layers, roots)))


def _lifetimes(graph: QuantGraph, layers: list[Layer], roots: Mapping[str, str]) -> list[Lifetime]:
    """Of every tensor that has memory of its own, from the layer that writes it to the last that reads it or what lies in it; and of
    scratch. Layers count from 1."""
    first = dict.fromkeys(graph.inputs, 0)
    last = dict.fromkeys(graph.inputs, 0)
    brief: list[Lifetime] = []
    for at, layer in enumerate(layers, start=1):
        for call, _ in layer.calls:
            first.setdefault(roots[call.output], at)
            for name in (*call.inputs, call.output):
                last[roots[name]] = at
        if layer.scratch_bytes:
            brief.append(Lifetime(layer.scratch_name, aligned(layer.scratch_bytes), at, at))
    for name in graph.outputs:
        last[roots[name]] = len(layers)
    return [Lifetime(name, aligned(graph.tensor(name).nbytes), start, last[name]) for name, start in first.items()] + brief
