"""Constants of an operator on integers: weights without zero point, biases at the product of the scales, operands with one scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekd.errors import InputError
from edgekd.importers.onnx_draft import real_values
from edgekd.importers.onnx_net import Net
from edgekd.quant import ops
from edgekd.quant.graph import Quantization, Tensor
from edgekd.quant.ops import Op

#: Output channels of a channels-first weight.
CHANNEL: dict[type[Op], int] = {ops.Conv2D: 0, ops.DepthwiseConv2D: 0, ops.TransposeConv2D: 1, ops.FullyConnected: 0}
#: Biases whose scale is s_x·s_w but for float32's rounding are taken as they are.
SAME_SCALE = 1e-5
#: Further than this from a whole number (in units of s_x·s_w), a bias is said to be rounded.
WHOLE = 1e-3


def integer_weight(net: Net, op: Op) -> str | None:
    """The name of the operator's weight with zero points of 0, or None where it is real.

    Raises InputError for a zero point that cannot be taken off, or scales along another axis than the output channels.
    """
    weight = net.tensors[op.inputs[1]]
    q = weight.quantization
    if isinstance(op, ops.DepthwiseConv2D) and q is None and weight.data is not None and weight.shape[1:] == (1, 1, 1):
        return _one_value_a_channel(net, weight)
    if q is None or weight.data is None or weight.dtype not in ("int8", "int4"):
        return None
    where = f"{type(op).__name__} {op.name}"
    if q.axis is not None and q.axis != CHANNEL[type(op)]:
        raise InputError(f"weight scales along axis {q.axis}", where=where, expected="one scale, or one an output channel")
    if not q.zero_point.any():
        return weight.name
    shape = [1] * weight.data.ndim
    if q.axis is not None:
        shape[q.axis] = -1
    moved = weight.data.astype(np.int32) - q.zero_point.reshape(shape)
    low, high = (-8, 7) if weight.dtype == "int4" else (-128, 127)
    if moved.min() < low or moved.max() > high:
        raise InputError(
            f"weight zero points (such as {int(q.zero_point[np.argmax(np.abs(q.zero_point))])}) that do not fit {weight.dtype} less them",
            where=where,
            expected="symmetric weights",
            mend="quantize the weights symmetrically (onnxruntime: weight_type=QInt8, or WeightSymmetric)",
        )
    name = net.free(weight.name)
    net.tensors[name] = replace(
        weight, name=name, data=moved.astype(np.int8), quantization=replace(q, zero_point=np.zeros_like(q.zero_point))
    )
    return name


def _one_value_a_channel(net: Net, weight: Tensor) -> str | None:
    """A factor a channel as ±127, exact in the scales."""
    values = np.asarray(weight.data, np.float64).reshape(-1)
    scale = np.where(values == 0, 1, np.abs(values) / 127).astype(np.float32)
    if not ((scale > 0).all() and np.isfinite(scale).all()):
        return None
    name = net.free(weight.name)
    data = (np.sign(values) * 127).astype(np.int8).reshape(weight.shape)
    net.tensors[name] = Tensor(name, "int8", weight.shape, Quantization.per_channel(scale, 0), data)
    return name


def integer_bias(net: Net, op: Op, x: Tensor, weight: Tensor) -> str:
    """The name of the bias as int32 (int64 beside int16 activations) at s_x·s_w; a note says how far it had to be rounded."""
    bias = net.tensors[op.inputs[2]]
    assert x.quantization is not None and weight.quantization is not None
    where = f"{type(op).__name__} {op.name}"
    if bias.data is None:
        raise InputError(f"bias {bias.name!r} is computed while it runs", where=where, expected="a constant bias")
    scale = x.quantization.scale * weight.quantization.scale
    found, exact = bias.quantization, bias.dtype in ("int32", "int8", "int16")
    own = None if found is None else np.broadcast_to(found.scale, max(len(found.scale), len(scale)))
    exact = (
        exact
        and own is not None
        and bool((np.abs(own / scale - 1) <= SAME_SCALE).all())
        and found is not None
        and not found.zero_point.any()
    )
    if exact:
        whole = bias.data.astype(np.int64)
    else:
        quotient = real_values(bias).astype(np.float64) / np.broadcast_to(scale, bias.shape).astype(np.float64)
        if bias.dtype == "int32" and found is not None and own is not None:
            quotient = (bias.data - found.zero_point.astype(np.float64)) * own.astype(np.float64) / scale
        whole = np.rint(quotient).astype(np.int64)
        distance = float(np.abs(quotient - whole).max(initial=0.0))
        if distance > max(WHOLE, 1e-6 * float(np.abs(quotient).max(initial=0.0))):
            net.notes["biases that are no whole multiples of s_x·s_w were rounded to them"] = None
    wide = x.dtype == "int16"
    if not wide and np.abs(whole).max(initial=0) >= 1 << 31:
        raise InputError(
            "a bias beyond 32 bits", where=where, expected=f"|bias| < 2^31 · {scale.min():.3g}", mend="quantize with larger weight scales"
        )
    dtype = "int64" if wide else "int32"
    name = net.free(bias.name)
    quantization = Quantization(
        scale.astype(np.float32), np.zeros(len(scale), np.int32), 0 if weight.quantization.axis is not None else None
    )
    net.tensors[name] = Tensor(name, dtype, bias.shape, quantization, whole.astype(dtype))
    return name


def integer_constant(net: Net, op: Op, name: str, like: Tensor) -> str | None:
    """The name of an operand as integers of ``like``'s type with one scale, or None where that would lose anything.

    A real constant of one value c is ±1 at scale |c|: exact. Those of several values are left real: nothing says their scale.
    """
    x = net.tensors[name]
    q = x.quantization
    if q is not None:
        return x.name if q.axis is None and x.dtype == like.dtype else None
    if x.data is None or x.data.dtype.kind != "f" or x.data.size == 0:
        return None
    value = float(x.data.reshape(-1)[0])
    if isinstance(op, (ops.Maximum, ops.Minimum)):
        return x.name if x.data.size == 1 or bool((x.data == value).all()) else None
    if not np.isfinite(value) or not (x.data == value).all():
        return None
    made = net.free(f"{name}/q")
    scale = Quantization.per_tensor(abs(value) if value else 1.0)
    data = np.full(x.shape, np.sign(value), np.int8 if like.dtype == "int8" else np.int16)
    net.tensors[made] = Tensor(made, like.dtype, x.shape, scale, data)
    return made
