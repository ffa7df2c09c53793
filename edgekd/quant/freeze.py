"""A trained QatModule becomes the integers that every runtime will compute with. Nothing is recalibrated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.passes.channels_last import channels_last
from edgekd.quant.prepare import WEIGHT_LEVELS, QatModule

_WEIGHTED = (ops.Conv2D, ops.DepthwiseConv2D, ops.FullyConnected)


@torch.no_grad()
def freeze(module: QatModule) -> QuantGraph:
    """The channels-last QuantGraph of a trained module: int8 with its learned scales, or float where the scheme is.

    Raises InputError if a bias does not fit 32 bits at its scale.
    """
    graph = module.graph
    tensors = dict(graph.tensors)
    if module.scheme.is_integer:
        for name, index in module.group_of.items():
            tensors[name] = replace(tensors[name], dtype="int8", quantization=_activation(module, index))
        for op in graph.ops:
            if isinstance(op, _WEIGHTED):
                _freeze_constants(op, module, tensors)
    else:
        dtype = np.float16 if module.scheme.numeric == "float16" else np.float32
        for name, value in module.values.items():
            data = value.detach().numpy().astype(dtype)
            tensors[name] = replace(tensors[name], dtype=module.scheme.numeric, data=data)
    return channels_last(replace(graph, tensors=tensors))


def _activation(module: QatModule, index: int) -> Quantization:
    if (fixed := module.groups[index].fixed) is not None:
        return fixed
    scale = torch.exp2(module.steps[index]).numpy().astype(np.float32)
    return Quantization(scale, np.array([int(module.zero_points[index])], np.int32))  # pyright: ignore[reportIndexIssue]


def _freeze_constants(op: ops.Op, module: QatModule, tensors: dict[str, Tensor]) -> None:
    name, bias = op.inputs[1:]
    source = tensors[op.inputs[0]].quantization
    assert source is not None
    step = torch.exp2(module.weight_steps[name])
    levels = torch.clamp(torch.round(module.values[name] * step.reciprocal()), *WEIGHT_LEVELS)
    scale = step.reshape(-1).numpy().astype(np.float32)
    per_channel = module.scheme.per_channel_weights
    weight_scale = Quantization.per_channel(scale, 0) if per_channel else Quantization(scale, np.zeros(1, np.int32))
    tensors[name] = replace(tensors[name], dtype="int8", quantization=weight_scale, data=levels.numpy().astype(np.int8))
    bias_scale = np.float32(source.single[0]) * scale
    exact = np.rint(module.values[bias].detach().double().numpy() / bias_scale.astype(np.float64))
    if np.abs(exact).max(initial=0) >= 2**31:
        raise InputError(f"the bias of {op.name} does not fit 32 bits at scale {bias_scale.min():g}", where=module.graph.name)
    bias_quantization = Quantization(bias_scale, np.zeros(len(bias_scale), np.int32), 0 if per_channel else None)
    tensors[bias] = replace(tensors[bias], dtype="int32", quantization=bias_quantization, data=exact.astype(np.int32))
