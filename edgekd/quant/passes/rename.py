"""Other names for the tensors of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgekd.quant.graph import QuantGraph


def renamed(graph: QuantGraph, names: Mapping[str, str], operators: Mapping[str, str] | None = None) -> QuantGraph:
    """``graph`` with the tensors in ``names`` called anew, and so the ``operators``, in whose place ``names`` is read if there are none."""
    called = names if operators is None else operators

    def new(some: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names.get(name, name) for name in some)

    ops = tuple(replace(op, name=called.get(op.name, op.name), inputs=new(op.inputs), outputs=new(op.outputs)) for op in graph.ops)
    tensors = {names.get(name, name): replace(tensor, name=names.get(name, name)) for name, tensor in graph.tensors.items()}
    return replace(graph, ops=ops, tensors=tensors, inputs=new(graph.inputs), outputs=new(graph.outputs))
