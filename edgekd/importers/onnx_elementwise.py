"""ONNX operators that treat each value by itself, normalizations, and Quantize and Dequantize; listed in READ."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from onnx import TensorProto

from edgekd.importers.onnx_draft import Draft, with_full_rank
from edgekd.importers.onnx_file import TYPES, Node
from edgekd.quant import ops
from edgekd.quant.graph import Quantization, Tensor


def _chain(op: type[ops.Op]) -> Callable[[Draft, Node], None]:
    """An operator of two inputs, which ONNX allows to have more."""

    def read(draft: Draft, node: Node) -> None:
        if len(node.inputs) == 1:
            draft.finish(node, draft.tensor(node, 0).name)
            return
        last = draft.tensor(node, 0).name
        for at in range(1, len(node.inputs)):
            output = node.outputs[0] if at == len(node.inputs) - 1 else None
            last = binary(draft, node, op, last, draft.tensor(node, at).name, output)
        draft.finish(node, last)

    return read


def binary(draft: Draft, node: Node, op: type[ops.Op], a: str, b: str, output: str | None = None) -> str:
    rank = max(len(draft.tensors[name].shape) for name in (a, b))
    names = [with_full_rank(draft, node, draft.tensors[name], rank) for name in (a, b)]
    shape = np.broadcast_shapes(*(draft.tensors[name].shape for name in names))
    return draft.emit(op, node, names, shape, output=output)


def scalar(draft: Draft, node: Node, value: float, rank: int) -> str:
    return draft.add_constant(f"{node.outputs[0]}/{value:g}", np.full((1,) * rank, value, np.float32)).name


def _with_scalar(draft: Draft, node: Node, op: type[ops.Op], x: str, value: float, output: str | None = None) -> str:
    return binary(draft, node, op, x, scalar(draft, node, value, len(draft.tensors[x].shape)), output)


def _unary(op: type[ops.Op], **defaults: float | str) -> Callable[[Draft, Node], None]:
    def read(draft: Draft, node: Node) -> None:
        x = draft.tensor(node, 0)
        options = dict(defaults)
        if op is ops.LeakyRelu:
            options["alpha"] = float(node.attributes.get("alpha", 0.01))
        elif op is ops.Gelu:
            options["approximate"] = node.attributes.get("approximate", "none") == "tanh"
        draft.finish(node, draft.emit(op, node, [x.name], x.shape, output=node.outputs[0], **options))

    return read


def _div(draft: Draft, node: Node) -> None:
    divisor = draft.array(node, 1)
    x = draft.tensor(node, 0)
    if divisor is None or x.data is not None or not np.all(divisor):
        raise node.refuse("divides by what is computed while it runs, or by 0", "a constant divisor, or x / sqrt(y)")
    reciprocal = draft.add_constant(f"{node.outputs[0]}/reciprocal", (1 / divisor.astype(np.float64)).astype(np.float32))
    draft.finish(node, binary(draft, node, ops.Mul, x.name, reciprocal.name, node.outputs[0]))


def _neg(draft: Draft, node: Node) -> None:
    draft.finish(node, _with_scalar(draft, node, ops.Mul, draft.tensor(node, 0).name, -1.0, node.outputs[0]))


def _pow(draft: Draft, node: Node) -> None:
    exponent, x = draft.array(node, 1), draft.tensor(node, 0).name
    value = None if exponent is None or exponent.size != 1 else float(exponent.reshape(-1)[0])
    if value == 2:
        draft.finish(node, binary(draft, node, ops.Mul, x, x, node.outputs[0]))
    elif value == 3:
        draft.finish(node, binary(draft, node, ops.Mul, binary(draft, node, ops.Mul, x, x), x, node.outputs[0]))
    elif value == -0.5:
        draft.finish(node, draft.emit(ops.Rsqrt, node, [x], draft.tensors[x].shape, output=node.outputs[0]))
    else:
        raise node.refuse(f"to the power of {value}", "2, 3 or −0.5")


def _clip(draft: Draft, node: Node) -> None:
    low, high = (node.attributes.get(k) if k in node.attributes else draft.array(node, at) for k, at in (("min", 1), ("max", 2)))
    limits = [default if v is None else float(np.asarray(v).reshape(-1)[0]) for v, default in ((low, -math.inf), (high, math.inf))]
    if any(draft.has(node, at) and draft.array(node, at) is None for at in (1, 2)):
        raise node.refuse("limits that are computed while it runs", "constant limits")
    # The largest float stands for no limit.
    bottom, top = (math.copysign(math.inf, v) if abs(v) >= np.finfo(np.float32).max else v for v in limits)
    draft.finish(node, clamp(draft, node, draft.tensor(node, 0), bottom, top))


def clamp(draft: Draft, node: Node, x: Tensor, bottom: float, top: float) -> str:
    if bottom == 0 and top in (6, math.inf):
        return draft.emit(ops.Relu, node, [x.name], x.shape, activation="relu6" if top == 6 else "relu", output=node.outputs[0])
    last = x.name
    if bottom > -math.inf:
        last = _with_scalar(draft, node, ops.Maximum, last, bottom)
    return last if top == math.inf else _with_scalar(draft, node, ops.Minimum, last, top, node.outputs[0])


def _hard_sigmoid(draft: Draft, node: Node) -> None:
    alpha, beta = float(node.attributes.get("alpha", 0.2)), float(node.attributes.get("beta", 0.5))
    x = draft.tensor(node, 0)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        shifted = _with_scalar(draft, node, ops.Add, x.name, 3.0)
        six = draft.emit(ops.Relu, node, [shifted], x.shape, activation="relu6")
        draft.finish(node, _with_scalar(draft, node, ops.Mul, six, 1 / 6, node.outputs[0]))
        return
    line = _with_scalar(draft, node, ops.Add, _with_scalar(draft, node, ops.Mul, x.name, alpha), beta)
    draft.finish(node, clamp(draft, node, draft.tensors[line], 0.0, 1.0))


def _prelu(draft: Draft, node: Node) -> None:
    x, alpha = draft.tensor(node, 0), draft.tensor(node, 1)
    if alpha.data is None:
        raise node.refuse("slopes that are computed while it runs", "constant slopes")
    name = with_full_rank(draft, node, alpha, len(x.shape))
    draft.finish(node, draft.emit(ops.PRelu, node, [x.name, name], x.shape, output=node.outputs[0]))


def _softmax(draft: Draft, node: Node) -> None:
    x = draft.tensor(node, 0)
    rank = len(x.shape)
    axis = int(node.attributes.get("axis", 1 if draft.opset < 13 else -1))
    axis += rank if axis < 0 else 0
    if not 0 < axis < rank:
        raise node.refuse(f"axis {axis} of rank {rank}", "an axis after the batch")
    if axis == rank - 1:
        draft.finish(node, draft.emit(ops.Softmax, node, [x.name], x.shape, output=node.outputs[0]))
    elif draft.opset < 13:
        # Up to operator set 12 everything from the axis on is one vector.
        flat = (*x.shape[:axis], math.prod(x.shape[axis:]))
        made = draft.emit(ops.Reshape, node, [x.name], flat, shape=flat, like=x.name)
        made = draft.emit(ops.Softmax, node, [made], flat)
        draft.finish(node, draft.emit(ops.Reshape, node, [made], x.shape, shape=x.shape, output=node.outputs[0]))
    else:
        order = [i for i in range(rank) if i != axis] + [axis]
        turned = tuple(x.shape[i] for i in order)
        made = draft.emit(ops.Transpose, node, [x.name], turned, order=tuple(order), like=x.name)
        made = draft.emit(ops.Softmax, node, [made], turned)
        back = tuple(int(i) for i in np.argsort(order))
        draft.finish(node, draft.emit(ops.Transpose, node, [made], x.shape, order=back, output=node.outputs[0]))


def _batch_norm(draft: Draft, node: Node) -> None:
    """x · factor + offset a channel; ``absorb`` folds it into a float convolution before it."""
    x = draft.tensor(node, 0)
    gamma, beta, mean, variance = (
        draft.need(node, at, what).astype(np.float64) for at, what in enumerate(("scale", "bias", "mean", "variance"), 1)
    )
    if len(x.shape) < 2 or any(v.shape != x.shape[1:2] for v in (gamma, beta, mean, variance)) or (variance < 0).any():
        raise node.refuse(f"{gamma.size} channels on {list(x.shape)}", "one scale, bias, mean and variance a channel")
    factor = gamma / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
    shape = (1, -1, *(1,) * (len(x.shape) - 2))
    names = [
        draft.add_constant(f"{node.outputs[0]}/{what}", value.reshape(shape).astype(np.float32)).name
        for what, value in (("factor", factor), ("offset", beta - mean * factor))
    ]
    scaled = binary(draft, node, ops.Mul, x.name, names[0])
    draft.finish(node, binary(draft, node, ops.Add, scaled, names[1], node.outputs[0]))


def _layer_norm(draft: Draft, node: Node) -> None:
    """In float, value by value, since nothing states the scales in between."""
    x = draft.tensor(node, 0)
    rank = len(x.shape)
    axis = int(node.attributes.get("axis", -1))
    axes = tuple(range(axis + rank if axis < 0 else axis, rank))
    if not axes or axes[0] < 1:
        raise node.refuse(f"axis {axis} of rank {rank}", "an axis after the batch")
    left = (*x.shape[: axes[0]], *(1,) * len(axes))
    mean = draft.emit(ops.Mean, node, [x.name], left, axes=axes, keepdims=True)
    square = binary(draft, node, ops.SquaredDifference, x.name, mean)
    variance = draft.emit(ops.Mean, node, [square], left, axes=axes, keepdims=True)
    shifted = _with_scalar(draft, node, ops.Add, variance, float(node.attributes.get("epsilon", 1e-5)))
    inverse = draft.emit(ops.Rsqrt, node, [shifted], left)
    centred = binary(draft, node, ops.Sub, x.name, mean)
    last = binary(draft, node, ops.Mul, centred, inverse)
    for at, op in ((1, ops.Mul), (2, ops.Add)):
        if draft.has(node, at):
            last = binary(draft, node, op, last, draft.tensor(node, at).name)
    draft.finish(node, last)


def parameters(draft: Draft, node: Node, axis: int) -> tuple[Quantization, str]:
    """Scale and zero point of Quantize or Dequantize, and the integers' type: uint8 and uint16 become int8 and int16, shifted."""
    scale = draft.need(node, 1, "scale").astype(np.float32)
    element = node.attributes.get("output_dtype", 0) if node.kind == "QuantizeLinear" else 0
    zero = draft.array(node, 2)
    kind = str(zero.dtype) if zero is not None else np.dtype(TYPES[element][0]).name if element in TYPES else "uint8"
    nibble = draft.model.nibbles.get(node.inputs[2]) if draft.has(node, 2) else None
    if (
        node.attributes.get("block_size", 0)
        or scale.ndim > 1
        or scale.size == 0
        or nibble
        or element in (TensorProto.INT4, TensorProto.UINT4)
    ):
        raise node.refuse(f"scales of shape {list(scale.shape)}, in blocks or of 4 bits", "one scale, or one a channel")
    zeros = np.zeros(scale.shape, np.int64) if zero is None else zero.astype(np.int64)
    if zeros.shape != scale.shape and zeros.size != scale.size:
        raise node.refuse(f"{zeros.size} zero points for {scale.size} scales", "as many")
    shift = {"uint8": 128, "uint16": 32768}.get(kind, 0)
    values = Quantization(scale.reshape(-1), (zeros.reshape(-1) - shift).astype(np.int32), axis if scale.size > 1 else None)
    return values, kind.removeprefix("u")


def _quantize(draft: Draft, node: Node) -> None:
    x = draft.tensor(node, 0)
    q, dtype = parameters(draft, node, 1)
    if q.axis is not None or dtype not in ("int8", "int16") or x.dtype != "float32":
        raise node.refuse(
            f"an activation of {x.dtype} quantized to {dtype}, {len(q.scale)} scales", "one scale; 8 or 16 bits, of real values"
        )
    made = draft.emit(ops.Quantize, node, [x.name], x.shape, output=node.outputs[0])
    draft.tensors[made] = replace(draft.tensors[made], dtype=dtype, quantization=q)
    draft.finish(node, made)


def _dequantize(draft: Draft, node: Node) -> None:
    name = node.inputs[0]
    if name in draft.constants:
        _dequantize_constant(draft, node, draft.constants[name])
        return
    x = draft.tensor(node, 0)
    q, dtype = parameters(draft, node, 1)
    if q.axis is not None or x.dtype != dtype:
        raise node.refuse(f"{x.dtype} taken as {dtype}, {len(q.scale)} scales", "the type that it was quantized to, and one scale")
    if x.quantization is None:
        draft.tensors[x.name] = replace(x, quantization=q)
    elif not same(x.quantization, q):
        raise node.refuse(f"scale and zero point {q.single}", f"those that it was quantized with, {x.quantization.single}")
    made = draft.emit(ops.Dequantize, node, [x.name], x.shape, output=node.outputs[0], integers=True)
    draft.finish(node, made)


def same(a: Quantization | None, b: Quantization | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.axis == b.axis and np.array_equal(a.scale, b.scale) and np.array_equal(a.zero_point, b.zero_point)


def _dequantize_constant(draft: Draft, node: Node, data: np.ndarray) -> None:
    if data.dtype.kind not in "iu":
        raise node.refuse(f"dequantizes a constant of {data.dtype}", "integers")
    axis = int(node.attributes.get("axis", 1))
    q, _ = parameters_of_constant(draft, node, axis + data.ndim if axis < 0 else axis, data)
    kind = draft.model.nibbles.get(node.inputs[0], str(data.dtype)).lower()
    shift = {"uint8": 128, "uint16": 32768, "uint4": 8}.get(kind, 0)
    if q.axis is not None and (q.axis >= data.ndim or data.shape[q.axis] != len(q.scale)):
        raise node.refuse(f"{len(q.scale)} scales along axis {q.axis} of {list(data.shape)}", "one scale a channel")
    narrow = np.dtype({"uint8": "int8", "uint16": "int16", "uint4": "int8", "int4": "int8"}.get(kind, kind))
    if narrow.name not in ("int8", "int16", "int32"):
        raise node.refuse(f"a constant of {kind}", "4, 8, 16 or 32 bits")
    values = (data.astype(np.int32) - shift).astype(narrow) if shift else data.astype(narrow, copy=False)
    dtype = "int4" if kind in ("int4", "uint4") else narrow.name
    draft.values[node.outputs[0]] = draft.add_constant(node.inputs[0], values, dtype, q).name


def parameters_of_constant(draft: Draft, node: Node, axis: int, data: np.ndarray) -> tuple[Quantization, str]:
    """As ``parameters``, where the zero point may have 4 bits or 32, or be left out: then it is 0 of the constant's own type."""
    scale, zero = draft.need(node, 1, "scale").astype(np.float32), draft.array(node, 2)
    if node.attributes.get("block_size", 0) or scale.ndim > 1 or scale.size == 0:
        raise node.refuse(f"scales of shape {list(scale.shape)}", "one scale, or one a channel: not in blocks")
    kind = draft.model.nibbles.get(node.inputs[0], str(data.dtype)).lower()
    zeros = np.zeros(scale.size, np.int64) if zero is None else zero.astype(np.int64).reshape(-1)
    if zeros.size != scale.size:
        raise node.refuse(f"{zeros.size} zero points for {scale.size} scales", "as many")
    shift = {"uint8": 128, "uint16": 32768, "uint4": 8}.get(kind, 0)
    return Quantization(scale.reshape(-1), (zeros - shift).astype(np.int32), axis if scale.size > 1 else None), kind


READ: Mapping[str, Callable[[Draft, Node], None]] = {
    "Add": _chain(ops.Add), "Sum": _chain(ops.Add), "Sub": _chain(ops.Sub), "Mul": _chain(ops.Mul), "Max": _chain(ops.Maximum),
    "Min": _chain(ops.Minimum), "Div": _div, "Neg": _neg, "Pow": _pow, "Relu": _unary(ops.Relu, activation="relu"), "Clip": _clip,
    "LeakyRelu": _unary(ops.LeakyRelu), "PRelu": _prelu, "HardSwish": _unary(ops.HardSwish), "HardSigmoid": _hard_sigmoid,
    "Sigmoid": _unary(ops.Logistic), "Tanh": _unary(ops.Tanh), "Gelu": _unary(ops.Gelu), "Rsqrt": _unary(ops.Rsqrt), "Softmax": _softmax,
    "BatchNormalization": _batch_norm, "LayerNormalization": _layer_norm, "QuantizeLinear": _quantize, "DequantizeLinear": _dequantize,
}  # fmt: skip
