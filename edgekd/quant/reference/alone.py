"""One operator of a graph by itself, on whatever its inputs hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Op
from edgekd.quant.reference import engine, onnxruntime
from edgekd.quant.reference.memory import Memory

#: Samples at a time.
BATCH = 8


def alone(graph: QuantGraph, op: Op, values: Mapping[str, np.ndarray], profile: str) -> np.ndarray:
    """The output [N, ...] of ``op`` under ``profile``, whose activations hold ``values`` ([N, ...], as engine.run takes and gives them).

    Raises InputError if a value is missing, or if the profile has no such operator.
    """
    entries = tuple(dict.fromkeys(name for name in op.inputs if not graph.tensor(name).is_constant))
    if missing := [name for name in entries if name not in values]:
        raise InputError(f"no values of {missing[0]!r}", where=f"operator {op.name}", expected="values of all that it reads")
    scheme = graph.metadata.get("scheme") or {"symmetric_activations": onnxruntime.symmetric(graph)}  # of the graph, not of one operator
    single = replace(graph, ops=(op,), inputs=entries, outputs=op.outputs, metadata={**graph.metadata, "scheme": scheme})
    (step,) = engine.compile_graph(single, profile)
    constants = {t.name: engine.enter(t, np.asarray(t.data)) for t in engine.constants_of(single)}
    result = graph.tensor(op.outputs[0])
    count = len(values[entries[0]]) if entries else 1
    out = np.empty((count, *result.shape[1:]), engine.outside(result))
    for start in range(0, count, BATCH):
        part = slice(start, min(start + BATCH, count))
        held = {**constants, **{name: engine.enter(graph.tensor(name), values[name][part]) for name in entries}}
        engine.execute(step, Memory(), held)
        engine.leave(result, held[result.name], out[part])
    return out
