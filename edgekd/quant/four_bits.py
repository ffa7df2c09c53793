"""Which layers of a graph may have weights of 4 bits."""

from __future__ import annotations

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.scheme import FOUR_BITS


def candidates(graph: QuantGraph) -> list[ops.Op]:
    """The operators that may have 4 bits, but for those that share their weights with another."""
    weighted = [op for op in graph.ops if isinstance(op, ops.WEIGHTED)]
    read = [op.inputs[1] for op in weighted]
    return [op for op in weighted if isinstance(op, FOUR_BITS) and read.count(op.inputs[1]) == 1]


def half(graph: QuantGraph) -> tuple[str, ...]:
    """The names of the largest of them, so many that they have half of all weights: what a plan counts on before it is known which."""
    sizes = {op.name: graph.tensor(op.inputs[1]).data.size for op in candidates(graph)}  # pyright: ignore[reportOptionalMemberAccess]
    taken: list[str] = []
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        if 2 * sum(sizes[one] for one in taken) >= sum(sizes.values()):
            break
        taken.append(name)
    return tuple(taken)
