"""Students with random weights, quantized and frozen, and what of a graph a sketch has to have in common with them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from edgekd.quant.capture import capture
from edgekd.quant.freeze import freeze
from edgekd.quant.graph import QuantGraph
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme

#: What an operator is set to, where it has such a setting.
SETTINGS = ("stride", "padding", "activation", "axes", "keepdims", "groups", "multiplier", "adjoint_b", "amounts", "order", "begin", "size")


def frozen(net: nn.Module, shape: tuple[int, ...], scheme: Scheme) -> QuantGraph:
    """``net`` as it would be exported under ``scheme``, calibrated on noise in −1…1 of ``shape`` [C, H, W]."""
    module = QatModule(capture(net, shape), scheme)
    if scheme.is_integer:
        module.calibrate([torch.rand(4, *shape) * 2 - 1])
    return freeze(module)


def anatomy(graph: QuantGraph) -> list[tuple[Any, ...]]:
    """All of ``graph`` but the values of its weights and scales, and the names of its tensors."""
    return [
        (
            type(op).__name__,
            [getattr(op, name, None) for name in SETTINGS],
            [(t.dtype, t.shape, t.is_constant) for t in map(graph.tensor, (*op.inputs, *op.outputs))],
            [None if (q := graph.tensor(n).quantization) is None else (q.axis, len(q.scale)) for n in (*op.inputs, *op.outputs)],
        )
        for op in graph.ops
    ]
