"""The part of a graph after one of its tensors.

Given                                    suffix(g, "b")
x ─► conv ─► a ─► add ─► b ─► fc ─► y    b ─► fc ─► y
     └────────────────┘
"""

from __future__ import annotations

from dataclasses import replace

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph


def suffix(graph: QuantGraph, name: str) -> QuantGraph:
    """The graph whose only input is tensor ``name``: the operators that depend on it.

    Raises InputError if one of them also reads something that was computed before, so that ``name`` alone does not suffice, or if an output
    of ``graph`` does not depend on it.
    """
    made, ops = {name}, []
    for op in graph.ops:
        if made.intersection(op.inputs):
            ops.append(op)
            made.update(op.outputs)
    read = {key for op in ops for key in op.inputs}
    constants = {key for key in read if graph.tensor(key).is_constant}
    if missing := sorted((read | set(graph.outputs)) - made - constants):
        raise InputError(
            f"what follows {name!r} also needs {missing[0]!r}",
            where=f"graph {graph.name}",
            expected="a tensor that all the rest goes through",
        )
    tensors = {key: tensor for key, tensor in graph.tensors.items() if key in made | constants}
    return replace(graph, ops=tuple(ops), tensors=tensors, inputs=(name,))
