"""One output a task: a student is built, and learns, as if all classes of all tasks were one vector; what is frozen has a head for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.passes.rename import renamed

#: What may stand between the last weights and the logits: it treats each channel by itself.
_AFTER = (ops.Mean, ops.AveragePool2D, ops.MaxPool2D, ops.Reshape, ops.Relu)


def split_heads(graph: QuantGraph, sizes: Mapping[str, int], *, alike: bool = True) -> QuantGraph:
    """
    Given   … → FullyConnected (or Conv2D) [10 + 6] → logits
    Result  … → FullyConnected [10] → digit
              └ FullyConnected [6] → speaker            sizes = {"digit": 10, "speaker": 6}

    ``graph`` is float or quantized, in either layout, of one output [1, classes of all tasks]. A quantized one keeps its scale in
    every head: the same integers; where not ``alike``, as for a sketch that stands for scales that are learned apart, each head gets
    another one. Pools, means and reshapes behind the last weights are repeated for each head. Of one task nothing changes. Raises
    InputError if the graph does not end so, or its classes are not those.
    """
    if len(sizes) < 2:
        return graph
    total = sum(sizes.values())
    if len(graph.outputs) != 1 or graph.tensor(graph.outputs[0]).shape != (1, total):
        found = [list(graph.tensor(name).shape) for name in graph.outputs]
        raise _refusal(graph, f"the student answers {found}", f"[1, {total}], the classes of {', '.join(sizes)} side by side")
    chain = _chain(graph)
    last = chain[-1].outputs[0]
    graph = _make_room(graph, {*sizes} - {last})
    chain = _chain(graph)
    gone = {name for op in chain for name in (op.name, *op.outputs)}
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name not in gone}
    heads: list[ops.Op] = []
    start = 0
    for number, (task, size) in enumerate(sizes.items()):
        read, apart = chain[0].inputs[0], 0 if alike else number
        for op in chain:
            made = task if op is chain[-1] else _free(tensors, f"{op.outputs[0]}_{task}")
            constants = [_part(tensors, graph.tensor(name), slice(start, start + size), (task, apart)) for name in op.inputs[1:]]
            copy = replace(op, name=made, inputs=(read, *constants), outputs=(made,))
            if isinstance(copy, ops.Reshape):
                copy = replace(copy, shape=_narrow(copy.shape, total, size))
            heads.append(copy)
            shape = graph.tensor(op.outputs[0]).shape
            first = len(shape) == 4 and graph.layout == "channels_first"
            shape = (shape[0], size, *shape[2:]) if first else (*shape[:-1], size)
            tensors[made] = replace(_apart(graph.tensor(op.outputs[0]), apart), name=made, shape=shape)
            read = made
        start += size
    used = {name for op in (*graph.ops, *heads) if op not in chain for name in (*op.inputs, *op.outputs)} | {*graph.inputs}
    rest = tuple(op for op in graph.ops if op not in chain)
    return replace(graph, ops=(*rest, *heads), tensors={n: t for n, t in tensors.items() if n in used}, outputs=tuple(sizes))


def _chain(graph: QuantGraph) -> list[ops.Op]:
    """The last weighted operator and what follows it, in order."""
    chain: list[ops.Op] = []
    name = graph.outputs[0]
    while True:
        op = graph.producer(name)
        if op is None or (chain and len(graph.consumers(name)) > 1):
            break
        chain.append(op)
        whole = isinstance(op, ops.Conv2D) and op.groups == 1
        if isinstance(op, ops.FullyConnected) or whole:
            return chain[::-1]
        if not isinstance(op, _AFTER) or not _keeps_channels(op, graph):
            break
        name = op.inputs[0]
    kinds = " → ".join(type(op).__name__ for op in chain[::-1]) or "its input"
    raise _refusal(graph, f"the student ends with {kinds}", "a linear layer, or a convolution and a global mean, last: one row a class")


def _keeps_channels(op: ops.Op, graph: QuantGraph) -> bool:
    """Whether each channel that ``op`` writes is made of the same one that it reads: a reshape may only add or drop sizes of 1."""
    shapes = [graph.tensor(name).shape for name in (op.inputs[0], op.outputs[0])]
    if isinstance(op, ops.Reshape):
        return all([size for size in shape if size > 1] == [max(shape)] for shape in shapes)
    channels = 1 if len(shapes[0]) == 4 and graph.layout == "channels_first" else len(shapes[0]) - 1
    return not isinstance(op, ops.Mean) or all(axis % len(shapes[0]) != channels for axis in op.axes)


def _narrow(shape: tuple[int, ...], total: int, size: int) -> tuple[int, ...]:
    """``shape`` with ``size`` channels instead of all."""
    at = len(shape) - 1 - shape[::-1].index(total)
    return (*shape[:at], size, *shape[at + 1 :])


def _apart(tensor: Tensor, number: int) -> Tensor:
    """``tensor`` with the ``number``-th other scale and zero point; a symmetric one stays so."""
    if tensor.quantization is None or tensor.quantization.axis is not None or not number:
        return tensor
    scale, zero = tensor.quantization.single
    return replace(tensor, quantization=Quantization.per_tensor(scale * (1 + number / 64), zero and (zero + 128 + 7 * number) % 255 - 127))


def _part(tensors: dict[str, Tensor], tensor: Tensor, rows: slice, head: tuple[str, int]) -> str:
    """File the ``rows`` of a constant, those of its scales included, for a ``head`` (task, which other scale); returns its name."""
    assert tensor.data is not None
    name, q = _free(tensors, f"{tensor.name}_{head[0]}"), _apart(tensor, head[1]).quantization
    if q is not None and q.axis == 0:
        q = Quantization(q.scale[rows].copy(), q.zero_point[rows].copy(), 0)
    data = np.ascontiguousarray(tensor.data[rows])
    tensors[name] = Tensor(name, tensor.dtype, data.shape, q, data)
    return name


def _make_room(graph: QuantGraph, wanted: set[str]) -> QuantGraph:
    """``graph`` with other names for those of its tensors that are called as a task is."""
    return renamed(graph, {name: _free(graph.tensors, f"{name}_inner") for name in graph.tensors if name in wanted})


def _free(tensors: Mapping[str, Tensor], stem: str) -> str:
    name, count = stem, 0
    while name in tensors:
        count += 1
        name = f"{stem}{count}"
    return name


def _refusal(graph: QuantGraph, what: str, expected: str) -> InputError:
    return InputError(what, where=f"student of several tasks, graph {graph.name}", expected=expected)
