"""A trained QatModule becomes the integers that every runtime will compute with. Nothing is recalibrated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import STORAGE, QuantGraph, Quantization, Tensor
from edgekd.quant.passes.borders import FINER, borders
from edgekd.quant.passes.channels_last import channels_last
from edgekd.quant.prepare import WEIGHT_LEVELS, QatModule, weight_axis

#: Largest bias, in steps: the sums that are added to it need room in 32 bits as well.
BIAS_REACH = 2**30
#: The same beside 16-bit activations, whose sums have 64 bits, of which TFLite scales 47.
BIAS_REACH_16 = 2**44
#: XNNPACK loads no convolution whose s_x·s_w/s_y is outside (xnn_create_convolution2d_nhwc_qs8_qc8w, as in ai-edge-litert 2.3).
MULTIPLIER = (2.0**-32, 256.0)
#: TFLite wants less of 16-bit activations (MultiplyByQuantizedMultiplier of 64-bit sums, 2026).
MULTIPLIER_16 = 128.0


@torch.no_grad()
def freeze(module: QatModule) -> QuantGraph:
    """The channels-last QuantGraph of a trained module: int8 (int16 where the scheme says so) with its learned scales, or float.

    Raises InputError if a parameter is not finite, a bias does not fit 32 bits at its scale or a scale is beyond what XNNPACK loads.
    """
    graph = module.graph
    for name, value in module.state_dict().items():
        if not torch.isfinite(value).all():
            raise InputError(
                f"{name} is not finite", where=graph.name, mend="lower learning_rate or qat_learning_rate in the recipe's preset"
            )
    tensors = dict(graph.tensors)
    if module.scheme.is_integer:
        for name, index in module.group_of.items():
            dtype = "int16" if module.groups[index].bits == 16 else "int8"
            data = _levels(module, name, index).astype(STORAGE[dtype]) if tensors[name].is_constant else None
            tensors[name] = replace(tensors[name], dtype=dtype, quantization=_activation(module, index), data=data)
        for op in graph.ops:
            if isinstance(op, ops.WEIGHTED):
                _freeze_constants(op, module, tensors)
        return borders(channels_last(replace(graph, tensors=tensors)))
    dtype = np.float16 if module.scheme.numeric == "float16" else np.float32
    for name, value in module.values.items():
        if float(value.abs().max()) > float(np.finfo(dtype).max):
            raise InputError(
                f"{name} reaches {float(value.abs().max()):g}", where=graph.name, expected=f"parameters within {module.scheme.numeric}"
            )
        data = value.detach().numpy().astype(dtype)
        tensors[name] = replace(tensors[name], dtype=module.scheme.numeric, data=data)
    return channels_last(replace(graph, tensors=tensors))


def _activation(module: QatModule, index: int) -> Quantization:
    if (fixed := module.groups[index].fixed) is not None:
        return fixed
    scale = torch.exp2(module.steps[index]).numpy().astype(np.float32)
    return Quantization(scale, np.array([int(module.zero_points[index])], np.int32))  # pyright: ignore[reportIndexIssue]


def _levels(module: QatModule, name: str, index: int) -> np.ndarray:
    """A constant that is read as an activation, in its group's integers."""
    quantization = _activation(module, index)
    low, high = module.levels(index)
    steps = torch.clamp(torch.round(module.values[name] * torch.exp2(module.steps[index]).reciprocal()), low, high)
    return steps.numpy() + quantization.single[1]


def _freeze_constants(op: ops.Op, module: QatModule, tensors: dict[str, Tensor]) -> None:
    name, values = op.inputs[1], module.values[op.inputs[1]]
    bits, per_channel = module.scheme_of(name)
    step = _legal_step(op, module, tensors)
    levels = torch.clamp(torch.round(values * step.reciprocal()), *WEIGHT_LEVELS[bits])
    scale = step.reshape(-1).numpy().astype(np.float32)
    axis = weight_axis(module.graph, name)
    weight_scale = Quantization.per_channel(scale, axis) if per_channel else Quantization(scale, np.zeros(1, np.int32))
    dtype = "int4" if bits == 4 else "int8"
    tensors[name] = replace(tensors[name], dtype=dtype, quantization=weight_scale, data=levels.numpy().astype(np.int8))
    if (bias := module.bias(op)) is None:
        return
    bias_scale = np.float32(_scale(tensors[op.inputs[0]])) * scale
    exact = np.rint(bias.detach().double().numpy() / bias_scale.astype(np.float64))
    wide = _is_wide(op, tensors)
    if np.abs(exact).max(initial=0) >= (2**47 if wide else 2**31):
        raise InputError(
            f"the bias of {op.name} does not fit {47 if wide else 32} bits at scale {bias_scale.min():g}", where=module.graph.name
        )
    bias_quantization = Quantization(bias_scale, np.zeros(len(bias_scale), np.int32), 0 if per_channel else None)
    kind = "int64" if wide else "int32"
    tensors[op.inputs[2]] = replace(tensors[op.inputs[2]], dtype=kind, quantization=bias_quantization, data=exact.astype(STORAGE[kind]))


def _legal_step(op: ops.Op, module: QatModule, tensors: dict[str, Tensor]) -> torch.Tensor:
    """The weights' learned steps, larger where a channel has next to no weights: its bias would not fit, or XNNPACK not load it.

    Rounding them to larger steps then changes the sum by less than n · 2⁻²³ of the bias, or of an output step, n being a channel's weights.
    """
    step = torch.exp2(module.weight_steps[op.inputs[1]])
    source, result, wide = _scale(tensors[op.inputs[0]]), _scale(tensors[op.outputs[0]]), _is_wide(op, tensors)
    if wide and tensors[op.outputs[0]].dtype == "int8":
        result /= FINER  # see borders
    least = torch.full((step.numel(),), MULTIPLIER[0] * result / source)
    bias = module.bias(op)
    if bias is not None and module.scheme_of(op.inputs[1])[1]:
        least = torch.maximum(least, bias.abs() / ((BIAS_REACH_16 if wide else BIAS_REACH) * source))
    step = torch.maximum(step, least.reshape(step.shape))
    largest = float(step.max()) * source / result
    most, whose = (MULTIPLIER_16, "TFLite") if wide else (MULTIPLIER[1], "XNNPACK")
    if largest >= most:
        raise InputError(
            f"{op.name} multiplies its sums by {largest:g}: the step of its output, {result:g}, has become too small",
            where=module.graph.name,
            expected=f"below {most:g}, or {whose} does not load it",
            mend="lower qat_learning_rate in the recipe's preset",
        )
    return step


def _is_wide(op: ops.Op, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a weighted operator computes with 16-bit activations."""
    return "int16" in (tensors[op.inputs[0]].dtype, tensors[op.outputs[0]].dtype)


def _scale(tensor: Tensor) -> float:
    assert tensor.quantization is not None
    return tensor.quantization.single[0]
