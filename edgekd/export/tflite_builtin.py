"""What the tables of TFLite operators share: how an operator is described to the file writer, and how one is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph

CODE = schema.BuiltinOperator
FUSED = {
    "none": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}


@dataclass(frozen=True, eq=False)
class Builtin:
    """``constants`` are read after the operator's own inputs, or before them where ``constants_first``; a 0-d one is a fill value in the
    first input's quantization."""

    code: int
    version: int = 1
    options: Any = None
    constants: tuple[np.ndarray, ...] = ()
    constants_first: bool = False


def is_integer(name: str, graph: QuantGraph) -> bool:
    return graph.tensor(name).dtype == "int8"


def integer_two(op: ops.Op, graph: QuantGraph) -> int:
    """Most operators took int8 in with their version 2."""
    return 2 if is_integer(op.inputs[0], graph) else 1


def refuse(op: ops.Op, graph: QuantGraph, what: str, expected: str) -> InputError:
    return InputError(what, where=f"graph {graph.name}, operator {op.name}", expected=expected)


def check_fixed_scale(op: ops.Op, graph: QuantGraph, fixed: tuple[float, int]) -> None:
    """Raises InputError where an int8 output does not carry the scale and zero point that TFLite prescribes."""
    quantization = graph.tensor(op.outputs[0]).quantization
    if is_integer(op.outputs[0], graph) and (quantization is None or quantization.single != fixed):
        found = "none" if quantization is None else quantization.single
        raise refuse(op, graph, f"output scale and zero point {found}", f"1/{round(1 / fixed[0])} and {fixed[1]}, as TFLite prescribes")
