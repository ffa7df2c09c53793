"""Operators of the waist as calls of C kernels: one line an operator's file."""

from __future__ import annotations

from edgekd.export import c_binary, c_elementwise, c_matmul, c_shape, c_tables, c_weighted, c_windows
from edgekd.export.c_base import Build, Call
from edgekd.export.c_base import lacks as lacks
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph

#: Operator → a function (op, graph) that returns its calls. Raises InputError for what it cannot state.
BUILD: dict[type[ops.Op], Build] = {
    **c_weighted.BUILD,
    **c_matmul.BUILD,
    **c_windows.BUILD,
    **c_binary.BUILD,
    **c_elementwise.BUILD,
    **c_tables.BUILD,
    **c_shape.BUILD,
}
#: Operators whose output lies where their input lies: nothing is called.
ALIASES: tuple[type[ops.Op], ...] = (ops.Reshape,)


def calls_of(op: ops.Op, graph: QuantGraph) -> list[Call]:
    """The calls that compute ``op``; none where its output is its input. Raises InputError for an operator that C has not."""
    if isinstance(op, ALIASES):
        return []
    if type(op) not in BUILD:
        raise lacks(op, graph, "yet")
    return BUILD[type(op)](op, graph)
