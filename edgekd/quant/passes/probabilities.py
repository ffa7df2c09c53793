"""Let a graph answer probabilities instead of logits, after training: a loss wants logits."""

from __future__ import annotations

from dataclasses import replace

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.grid import probabilities
from edgekd.quant.ops import Softmax
from edgekd.quant.passes.rename import renamed


def append_softmax(graph: QuantGraph, *, symmetric: bool) -> QuantGraph:
    """
    Given   … → logits [1, classes]
    Result  … → logits → Softmax → probabilities, in int8 under the scale that is prescribed for them

    Of several outputs (tasks) each gets its own, which takes over its name. Raises InputError if an output is a softmax already, or no
    vector.
    """
    for name in graph.outputs:
        if isinstance(graph.producer(name), Softmax) or len(graph.tensor(name).shape) != 2:
            raise InputError(
                f"softmax = true, but the student ends with {graph.tensor(name).shape}, or with a softmax of its own",
                where="recipe, student",
                expected="logits [1, classes]",
                mend="softmax = false",
            )
    if len(graph.outputs) == 1:
        return _append(graph, graph.outputs[0], _free(graph, "probabilities"), symmetric=symmetric)
    for task in graph.outputs:
        logits = _free(graph, f"{task}_logits")
        graph = _append(renamed(graph, {task: logits}), logits, task, symmetric=symmetric)
    return graph


def _append(graph: QuantGraph, logits: str, name: str, *, symmetric: bool) -> QuantGraph:
    """The output ``logits`` goes through a softmax, whose output ``name`` takes its place."""
    tensor = graph.tensor(logits)
    quantization = probabilities(symmetric=symmetric) if tensor.dtype == "int8" else None
    tensors = {**graph.tensors, name: Tensor(name, tensor.dtype, tensor.shape, quantization)}
    outputs = tuple(name if output == logits else output for output in graph.outputs)
    return replace(graph, tensors=tensors, ops=(*graph.ops, Softmax(name, (logits,), (name,))), outputs=outputs)


def _free(graph: QuantGraph, name: str) -> str:
    while name in graph.tensors:
        name += "_"
    return name
