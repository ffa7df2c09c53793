"""Cut a graph off at one of its tensors.

Given                                    prefix(g, "b")
x ─► conv ─► a ─► add ─► b ─► fc ─► y    x ─► conv ─► a ─► add ─► b
     └────────────────┘                       └────────────────┘
"""

from __future__ import annotations

from dataclasses import replace

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph


def prefix(graph: QuantGraph, name: str) -> QuantGraph:
    """The graph whose only output is tensor ``name``: the operators and constants that it depends on, and no others.

    Raises InputError if no operator of ``graph`` writes ``name``.
    """
    if graph.producer(name) is None:
        raise InputError(f"no operator writes {name!r}", where=f"graph {graph.name}", expected="the output of an operator")
    needed, ops = {name}, []
    for op in reversed(graph.ops):
        if needed.intersection(op.outputs):
            needed.update(op.inputs)
            ops.append(op)
    return replace(
        graph,
        ops=tuple(reversed(ops)),
        tensors={key: tensor for key, tensor in graph.tensors.items() if key in needed},
        inputs=tuple(key for key in graph.inputs if key in needed),
        outputs=(name,),
        # The class names belong to the logits; an exporter may refuse them on a feature map.
        metadata={key: value for key, value in graph.metadata.items() if key != "labels"},
    )
