"""Integers of 8 and of 16 bits in one graph: every operator computes in one of them, so what comes from the other is quantized anew.

Given                                      borders(g)
x int8 ─► conv ─► y int16 ─► fc ─► z int8  x ─► Quantize ─► int16 ─► conv ─► y ─► fc ─► int16 ─► Quantize ─► z
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.grid import FIXED_OUTPUT_16

#: An operator of 16 bits writes what then gets 8 in so many times finer steps: int16 reaches as far as int8 does from any zero point.
FINER = 128


def borders(graph: QuantGraph) -> QuantGraph:
    """An operator that reads or writes an int16 tensor reads and writes none of int8: Quantize stands before and after it.

    On the way up nothing is lost: int16 has the same scale, and zero point 0. Constants that are read as activations are converted.
    """
    tensors, made = dict(graph.tensors), _Made(graph)
    steps: list[ops.Op] = []
    for op in graph.ops:
        if isinstance(op, ops.Quantize | ops.Dequantize) or not reads_or_writes(op, graph):
            steps.append(op)
            continue
        read = _read(op)
        inputs: list[str] = []
        for name in read:
            if graph.tensor(name).dtype != "int8":
                inputs.append(name)
                continue
            wide, before = made.raised(name)
            steps += before
            inputs.append(wide.name)
            tensors[wide.name] = wide
        inputs += op.inputs[len(read) :]
        (name,) = op.outputs
        if graph.tensor(name).dtype != "int8":
            steps.append(replace(op, inputs=tuple(inputs)))
            continue
        wide = made.finer(op)
        tensors[wide.name] = wide
        narrow = ops.Quantize(f"{op.name}_8_bits", (wide.name,), (name,))
        steps += [replace(op, inputs=tuple(inputs), outputs=(wide.name,)), narrow]
    return replace(graph, tensors=tensors, ops=tuple(steps))


def reads_or_writes(op: ops.Op, graph: QuantGraph) -> bool:
    """Whether one of its activations is int16."""
    return any(graph.tensor(name).dtype == "int16" for name in (*_read(op), *op.outputs))


def _read(op: ops.Op) -> tuple[str, ...]:
    return op.inputs[:1] if isinstance(op, ops.WEIGHTED) else op.inputs


class _Made:
    """The tensors of 16 bits that stand for ones of 8; each is raised once, however many read it."""

    def __init__(self, graph: QuantGraph) -> None:
        self.graph = graph
        self.names = {*graph.tensors}
        self.wide: dict[str, Tensor] = {}

    def raised(self, name: str) -> tuple[Tensor, list[ops.Op]]:
        """``name`` in 16 bits, and what makes it where nothing did yet."""
        if name in self.wide:
            return self.wide[name], []
        tensor = self.graph.tensor(name)
        assert tensor.quantization is not None
        scale, zero_point = tensor.quantization.single
        data = None if tensor.data is None else (tensor.data.astype(np.int16) - np.int16(zero_point))
        wide = Tensor(self._free(f"{name}_16_bits"), "int16", tensor.shape, Quantization.per_tensor(scale), data)
        self.wide[name] = wide
        return wide, [] if tensor.is_constant else [ops.Quantize(wide.name, (name,), (wide.name,))]

    def finer(self, op: ops.Op) -> Tensor:
        """What ``op`` writes before it becomes its int8 output."""
        tensor = self.graph.tensor(op.outputs[0])
        assert tensor.quantization is not None
        fixed = isinstance(op, ops.Softmax | ops.Logistic | ops.Tanh)
        scale = FIXED_OUTPUT_16 if fixed else Quantization.per_tensor(tensor.quantization.single[0] / FINER)
        return Tensor(self._free(f"{tensor.name}_finer"), "int16", tensor.shape, scale)

    def _free(self, name: str) -> str:
        while name in self.names:
            name += "_"
        self.names.add(name)
        return name
