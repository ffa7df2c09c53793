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

    A file of another tool names its tensors. In edgekd's, those between the borders have no names, so they are found by the order of the
    operators. Raises InputError if the file has no such tensor and its operators are not those of the graph.
    """
    model: Any = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    subgraph = model.subgraphs[0]
    named = [number for number, entry in enumerate(subgraph.tensors) if entry.name == tensor.encode()]
    makers = [i for i, op in enumerate(subgraph.operators) if len(named) == 1 and named[0] in list(op.outputs)]
    if len(makers) == 1:
        last, outputs = makers[0], named
    else:
        last = _by_order(model, graph, tensor, path)
        outputs = subgraph.operators[last].outputs
    subgraph.operators = subgraph.operators[: last + 1]
    subgraph.outputs = outputs
    model.signatureDefs = None  # they name the old output
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    out = folder / "cut.tflite"
    out.write_bytes(bytes(builder.Output()))
    return out


def _by_order(model: Any, graph: QuantGraph, tensor: str, path: Path) -> int:
    """The place among the file's operators of the one that writes ``tensor``."""
    constant = [schema.BuiltinOperator.DEQUANTIZE]  # of float16 weights: no operator of the graph
    operators = model.subgraphs[0].operators
    computing = [i for i, op in enumerate(operators) if model.operatorCodes[op.opcodeIndex].builtinCode not in constant]
    names = [op.outputs[0] for op in explicit_padding(graph).ops]
    if len(names) != len(computing) or tensor not in names:
        raise InputError(f"{len(computing)} operators, none named {tensor!r}", where=str(path), expected=f"{len(names)}, as in the graph")
    return computing[names.index(tensor)]
