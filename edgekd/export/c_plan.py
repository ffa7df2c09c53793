"""What a C library of a graph calls, in which order, and where in its arena everything lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgekd.errors import InputError
from edgekd.export.c_base import Call, Kernel
from edgekd.export.c_ops import calls_of
from edgekd.export.c_sets import check, choose, scratch
from edgekd.quant.arena import Lifetime, Placement
from edgekd.quant.arena_lifetimes import aligned
from edgekd.quant.arena_search import best_of
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Op
from edgekd.quant.passes.reorder import reorder

#: Kinds of calls whose portable kernels read the value at a place before they write the one there, and no value twice: what such a call
#: reads for the last time may be overwritten by what it writes.
IN_PLACE = frozenset(
    f"{name}_{suffix}"
    for name in ("add", "sub", "mul", "maximum", "minimum", "squared_difference", "prelu", "clamp", "lookup", "logistic", "tanh")
    for suffix in ("s8", "s16")
) | {"rescale_s8_s8", "rescale_s16_s16"}


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
    """``layers`` in the order in which they run. ``roots``: the tensor in whose memory each tensor lies, itself or another. ``placement``
    has the offset of each root that is no constant, and of each layer's scratch, by ``scratch_name``."""

    graph: QuantGraph
    layers: tuple[Layer, ...]
    roots: Mapping[str, str]
    placement: Placement

    def offset(self, name: str) -> int | None:
        """Bytes from the arena's start; None for a constant."""
        return self.placement.offsets.get(self.roots[name])


def plan(graph: QuantGraph, kernels: str, core: str | None) -> Plan:
    """The plan with the smallest arena: of the graph's own order and of the one that keeps least alive, each with values overwritten
    where they are read for the last time, and without.

    Raises InputError for what C cannot state.
    """
    if graph.layout != "channels_last":
        raise InputError(
            f"layout {graph.layout}", where=f"graph {graph.name}", expected="channels_last", mend="run the pass to_channels_last first"
        )
    if len(graph.inputs) != 1:
        raise InputError(f"{len(graph.inputs)} inputs", where=f"graph {graph.name}", expected="one: the reference knows no other graphs")
    check(kernels, core)
    found = _placed(graph, kernels, core)
    moved = reorder(graph)
    if moved is not graph and not (found[0].placement.optimal and found[0].placement.total_bytes <= _least(found[0])):
        found += _placed(moved, kernels, core)
    return min(found, key=lambda p: p.placement.total_bytes)


def _least(placed: Plan) -> int:
    """What no order can go below: what some operator reads and writes."""
    graph = placed.graph
    sums = [0]
    for layer in placed.layers:
        names = {placed.roots[name] for call, _ in layer.calls for name in (*call.inputs, call.output)}
        sums.append(sum(aligned(graph.tensor(n).nbytes) for n in names if not graph.tensor(n).is_constant) + aligned(layer.scratch_bytes))
    return max(sums)


def _placed(graph: QuantGraph, kernels: str, core: str | None) -> list[Plan]:
    """With values overwritten, where there are such, and without."""
    layers: list[Layer] = []
    roots = {name: name for name, tensor in graph.tensors.items() if tensor.is_constant or name in graph.inputs}
    for op in graph.ops:
        calls = tuple((call, choose(kernels, call, core)) for call in calls_of(op, graph))
        roots[op.outputs[0]] = op.outputs[0] if calls else roots[op.inputs[0]]
        if calls:
            layers.append(Layer(op, calls, max(scratch(kernel, call, core) for call, kernel in calls)))
    shared = _overwritten(graph, layers, roots)
    every = [roots] if shared == roots else [shared, roots]
    return [Plan(graph, tuple(layers), some, best_of(_lifetimes(graph, layers, some))) for some in every]


def _overwritten(graph: QuantGraph, layers: list[Layer], roots: Mapping[str, str]) -> dict[str, str]:
    """``roots`` with what a layer of IN_PLACE writes in the memory of what it reads for the last time."""
    last = {roots[name]: len(layers) for name in graph.outputs}
    for at, layer in enumerate(layers):
        for call, _ in layer.calls:
            last |= {roots[name]: max(at, last.get(roots[name], 0)) for name in (*call.inputs, call.output)}
    moved: dict[str, str] = {}
    for at, layer in enumerate(layers):
        (call, kernel), *others = layer.calls
        if others or call.kind not in IN_PLACE or not kernel.file.startswith("portable/"):
            continue
        out = graph.tensor(call.output)
        for name in call.inputs:
            x, root = graph.tensor(name), _followed(moved, roots[name])
            alike = all(graph.tensor(n).shape == x.shape for n in call.inputs if _followed(moved, roots[n]) == root)
            whole = (x.dtype, x.nbytes) == (out.dtype, out.nbytes)
            if whole and alike and last[root] == at and not graph.tensor(root).is_constant:
                moved[call.output] = root
                last[root] = last[call.output]
                break
    return {name: _followed(moved, root) for name, root in roots.items()}


def _followed(moved: Mapping[str, str], root: str) -> str:
    return _followed(moved, moved[root]) if root in moved else root


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
