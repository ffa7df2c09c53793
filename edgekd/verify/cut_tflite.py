"""A TFLite file cut off after one tensor, everything before it as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph
from edgekd.quant.passes.explicit_padding import explicit_padding


def cut(path: Path, graph: QuantGraph, tensor: str, folder: Path) -> Path:
    """Write ``folder``/cut.tflite, whose only output is ``tensor``.

    Tensors between the borders have no names in the file, so they are found by the order of the operators. Raises InputError if the file's
    operators are not those of the graph.
    """
    model: Any = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    subgraph = model.subgraphs[0]
    constant = [schema.BuiltinOperator.DEQUANTIZE]  # of float16 weights: no operator of the graph
    computing = [i for i, op in enumerate(subgraph.operators) if model.operatorCodes[op.opcodeIndex].builtinCode not in constant]
    names = [op.outputs[0] for op in explicit_padding(graph).ops]
    if len(names) != len(computing):
        raise InputError(f"{len(computing)} operators", where=str(path), expected=f"{len(names)}, as in the graph")
    last = computing[names.index(tensor)]
    subgraph.operators = subgraph.operators[: last + 1]
    subgraph.outputs = subgraph.operators[last].outputs
    model.signatureDefs = None  # they name the old output
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    out = folder / "cut.tflite"
    out.write_bytes(bytes(builder.Output()))
    return out
