"""Let a graph answer probabilities instead of logits, after training: a loss wants logits."""

from __future__ import annotations

from dataclasses import replace

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.grid import probabilities
from edgekd.quant.ops import Softmax


def append_softmax(graph: QuantGraph, *, symmetric: bool) -> QuantGraph:
    """
    Given   … → logits [1, classes]
    Result  … → logits → Softmax → probabilities, in int8 under the scale that is prescribed for them

    Raises InputError if the graph ends with a softmax already, or not with one vector.
    """
    logits = graph.tensor(graph.outputs[0])
    if isinstance(graph.producer(logits.name), Softmax) or len(graph.outputs) != 1 or len(logits.shape) != 2:
        raise InputError(
            f"softmax = true, but the student ends with {len(graph.outputs)} x {logits.shape}, or with a softmax of its own",
            where="recipe, student",
            expected="logits [1, classes]",
            mend="softmax = false",
        )
    name = "probabilities"
    while name in graph.tensors:
        name += "_"
    quantization = probabilities(symmetric=symmetric) if logits.dtype == "int8" else None
    tensors = {**graph.tensors, name: Tensor(name, logits.dtype, logits.shape, quantization)}
    return replace(graph, tensors=tensors, ops=(*graph.ops, Softmax(name, (logits.name,), (name,))), outputs=(name,))
