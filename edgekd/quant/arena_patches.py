"""What a graph would need if its first operators ran patch by patch (MCUNetV2, Lin et al. 2021): a report, nothing executes it.

The first feature maps of a network of images are its largest. Cut where a single tensor goes on, the operators before the cut can run
n×n times, each time on the part of every map that one patch of the cut tensor depends on. The parts overlap by the windows' reach, and
what overlaps is computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from edgekd.quant import ops
from edgekd.quant.arena_lifetimes import Lifetime, aligned, lifetimes, most_alive
from edgekd.quant.arena_search import best_of
from edgekd.quant.graph import BITS, QuantGraph
from edgekd.quant.size import count

#: Patches along each side that are tried.
SIDES = (2, 3, 4)
_WINDOWS = (ops.Conv2D, ops.DepthwiseConv2D, ops.MaxPool2D, ops.AveragePool2D)
_EACH = (
    ops.Add, ops.Sub, ops.Mul, ops.SquaredDifference, ops.Maximum, ops.Minimum, ops.Relu, ops.LeakyRelu, ops.PRelu, ops.HardSwish,
    ops.Gelu, ops.Rsqrt, ops.Logistic, ops.Tanh, ops.Quantize, ops.Dequantize,
)  # fmt: skip
#: The first row (or column) of a tensor that is needed, and the first behind them.
_Span = tuple[int, int]


@dataclass(frozen=True)
class Option:
    """The operators up to ``until`` run in ``side`` × ``side`` patches, the rest as ever.

    ``peak_bytes``: activations and scratch of the whole graph then, the input and the cut tensor in memory as wholes; ``macs``: of all
    operators, ``more`` the share by which that exceeds the graph's own.
    """

    side: int
    until: str
    operators: int
    peak_bytes: int
    macs: int
    more: float

    def __str__(self) -> str:
        return f"{self.side}×{self.side} patches of the first {self.operators} operators, {100 * self.more:+.0f} % MAC"


def patchwise(graph: QuantGraph, limit: int | None = None) -> tuple[Option, ...]:
    """For each count of patches the best cut of the channels-last ``graph``, where that lowers the peak; none for a graph of no images.

    Best is the least peak; with ``limit`` (bytes of activations and scratch), of the cuts that stay within it the one with the fewest MACs.
    """
    if graph.layout != "channels_last" or len(graph.inputs) != 1 or len(graph.tensor(graph.inputs[0]).shape) != 4:
        return ()
    whole = best_of(lifetimes(graph)).total_bytes
    own = sum(cost.macs for cost in count(graph))
    found: list[Option] = []
    for side in SIDES:
        # Where all must be alive at once is quickly said; where it lies, only of the best.
        cuts = [(most_alive(alive), macs, at, alive) for at, macs, alive in _cuts(graph, side)]
        fitting = [cut for cut in cuts if limit is not None and cut[0] <= limit]
        ordered = sorted(fitting, key=lambda c: c[1:3]) + sorted(cuts, key=lambda c: c[:3])
        options = [
            Option(side, graph.ops[at - 1].name, at, best_of(alive).total_bytes, macs, (macs - own) / own if own else 0.0)
            for _, macs, at, alive in ordered[:3]
        ]
        within = [option for option in options if limit is not None and option.peak_bytes <= limit]
        best = within[0] if within else min(options, key=lambda o: (o.peak_bytes, o.macs), default=None)
        if best is not None and best.peak_bytes < whole:
            found.append(best)
    return tuple(found)


def _cuts(graph: QuantGraph, side: int) -> Iterator[tuple[int, int, list[Lifetime]]]:
    """For each operator (from 1) after which a graph can be cut: itself, the MACs of all, and the lifetimes with parts for wholes."""
    costs = {cost.name: cost.macs for cost in count(graph)}
    rest = sum(costs.values())
    alive = lifetimes(graph)
    last = {life.name: life.last for life in alive}
    for at, op in enumerate(graph.ops, start=1):
        if not _spatial(op, graph):
            return
        rest -= costs[op.name]
        (cut,) = op.outputs
        made = {name for before in graph.ops[:at] for name in before.outputs} | set(graph.inputs)
        if min(graph.tensor(cut).shape[1:3]) < side or any(last[name] > at for name in made if name != cut):
            continue
        rows, columns = (_spans(graph, at, axis, side) for axis in (1, 2))
        macs = rest
        for before in graph.ops[:at]:
            (name,) = before.outputs
            _, height, width, _ = graph.tensor(name).shape
            macs += round(costs[before.name] * _total(rows, name) * _total(columns, name) / (height * width))
        yield at, macs, [_part(life, graph, at, cut, _largest(rows), _largest(columns)) for life in alive]


def _spatial(op: ops.Op, graph: QuantGraph) -> bool:
    """Whether each part of the output depends on a part of the inputs alone."""
    read = [graph.tensor(name) for name in op.inputs]
    if any(len(t.shape) != 4 for t in (*read, graph.tensor(op.outputs[0])) if not t.is_constant):
        return False
    if isinstance(op, _WINDOWS):
        return True
    if isinstance(op, ops.Pad):
        return not any(op.amounts[0]) and not any(op.amounts[3])
    size = graph.tensor(op.outputs[0]).shape[1:3]
    if isinstance(op, ops.Concat):
        return op.axis in (-1, 3) and all(t.shape[1:3] == size for t in read)
    return isinstance(op, _EACH) and all(t.shape[1:3] == size if not t.is_constant else t.shape[-3:-1] in ((), (1, 1)) for t in read)


def _spans(graph: QuantGraph, at: int, axis: int, side: int) -> list[dict[str, _Span]]:
    """For each of the ``side`` strips along ``axis`` what is needed of every tensor before the cut."""
    (cut,) = graph.ops[at - 1].outputs
    size = graph.tensor(cut).shape[axis]
    strips: list[dict[str, _Span]] = []
    for k in range(side):
        needed = {cut: (k * size // side, (k + 1) * size // side)}
        for op in reversed(graph.ops[:at]):
            out = needed.get(op.outputs[0])
            if out is None:  # nobody needs it
                needed[op.outputs[0]] = (0, 0)
                continue
            for name in op.inputs:
                tensor = graph.tensor(name)
                if tensor.is_constant:
                    continue
                low, high = _reads(op, graph, axis, out)
                low, high = min(max(low, 0), tensor.shape[axis]), max(min(high, tensor.shape[axis]), 0)
                before = needed.get(name, (low, high))
                needed[name] = (min(low, before[0]), max(high, before[1], low))
        strips.append(needed)
    return strips


def _reads(op: ops.Op, graph: QuantGraph, axis: int, out: _Span) -> _Span:
    """What of the input ``out`` of the output depends on; beyond the input's edges is padding."""
    if out[0] >= out[1]:
        return out[0], out[0]
    if isinstance(op, ops.Pad):
        return out[0] - op.amounts[axis][0], out[1] - op.amounts[axis][0]
    if not isinstance(op, _WINDOWS):
        return out
    if isinstance(op, ops.MaxPool2D | ops.AveragePool2D):
        extent = op.kernel[axis - 1]
    else:
        extent = (graph.tensor(op.inputs[1]).shape[axis] - 1) * op.dilation[axis - 1] + 1
    stride, before = op.stride[axis - 1], op.padding[2 * (axis - 1)]
    return out[0] * stride - before, (out[1] - 1) * stride - before + extent


def _total(strips: list[dict[str, _Span]], name: str) -> int:
    return sum(strip[name][1] - strip[name][0] for strip in strips)


def _largest(strips: list[dict[str, _Span]]) -> Mapping[str, int]:
    return {name: max(strip[name][1] - strip[name][0] for strip in strips) for name in strips[0]}


def _part(life: Lifetime, graph: QuantGraph, at: int, cut: str, rows: Mapping[str, int], columns: Mapping[str, int]) -> Lifetime:
    """A lifetime under patches: input and cut tensor stay through all of them, what lies between is as large as its largest part."""
    if life.name in graph.inputs:
        return replace(life, last=max(life.last, at))
    if life.name == cut:
        return replace(life, first=1)
    if life.first > at or life.name not in graph.tensors:
        return life
    tensor = graph.tensor(life.name)
    bits = rows[life.name] * columns[life.name] * tensor.shape[3] * BITS[tensor.dtype]
    return replace(life, nbytes=aligned((bits + 7) // 8))
