"""Cut a graph off at one of its tensors.

Given                                    prefix(g, "b")
x ─► conv ─► a ─► add ─► b ─► fc ─► y    x ─► conv ─► a ─► add ─► b
     └────────────────┘                       └────────────────┘
"""

from __future__ import annotations

from dataclasses import replace

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Op


def prefix(graph: QuantGraph, name: str) -> QuantGraph:
    """The graph whose only output is tensor ``name``: the operators and constants that it depends on, and no others.

    Raises InputError if no operator of ``graph`` writes ``name``.
    """
    if graph.producer(name) is None:
        raise InputError(f"no operator writes {name!r}", where=f"graph {graph.name}", expected="the output of an operator")
    ops = needed(graph, name)
    used = {key for op in ops for key in (*op.inputs, *op.outputs)}
    return replace(
        graph,
        ops=ops,
        tensors={key: tensor for key, tensor in graph.tensors.items() if key in used},
        inputs=tuple(key for key in graph.inputs if key in used),
        outputs=(name,),
        # The class names belong to the logits; an exporter may refuse them on a feature map.
        metadata={key: value for key, value in graph.metadata.items() if key not in ("labels", "tasks")},
    )


def needed(graph: QuantGraph, *names: str) -> tuple[Op, ...]:
    """The operators that ``names`` (or the outputs, where none is given) depend on, in the order in which they run."""
    wanted, found = set(names or graph.outputs), []
    for op in reversed(graph.ops):
        if wanted.intersection(op.outputs):
            wanted.update(op.inputs)
            found.append(op)
    return tuple(found[::-1])
