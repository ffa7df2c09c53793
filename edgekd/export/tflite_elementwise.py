"""Operators that treat each value by itself, in TFLite; listed in BUILTINS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekd.export.tflite_builtin import CODE, FUSED, Builtin, check_fixed_scale, integer_two, is_integer, refuse
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph


def _check_shapes(op: ops.Op, graph: QuantGraph) -> None:
    """Raises InputError unless the operands broadcast to the output's shape, and go on doing so with another batch."""
    tensors = [graph.tensor(name) for name in op.inputs]
    shapes, out = [t.shape for t in tensors], graph.tensor(op.outputs[0]).shape
    try:
        together = np.broadcast_shapes(*shapes)
    except ValueError:
        together = None
    if together != out:
        raise refuse(op, graph, f"shapes {' and '.join(map(str, shapes))} to {out}", "shapes that broadcast to the output's")
    for tensor in tensors:
        if not tensor.is_constant and len(tensor.shape) != len(out):
            raise refuse(op, graph, f"{tensor.name!r} of shape {tensor.shape} to {out}", "as many axes as the output: a Reshape before it")
        if tensor.is_constant and len(tensor.shape) == len(out) and tensor.shape[0] != 1:
            raise refuse(op, graph, f"constant {tensor.name!r} of shape {tensor.shape}", "a constant without a batch")


def _scales(op: ops.Op, graph: QuantGraph) -> list[float]:
    """float32 scales of inputs and output; none for a float operator."""
    found = [graph.tensor(name).quantization for name in (*op.inputs, *op.outputs)]
    return [q.single[0] for q in found if q is not None] if is_integer(op.outputs[0], graph) else []


def _fused(code: int, options: Callable[..., Any]) -> Callable[[Any, QuantGraph], Builtin]:
    """An operator of two operands with a fused activation."""

    def make(op: ops.Add | ops.Sub | ops.Mul, graph: QuantGraph) -> Builtin:
        _check_shapes(op, graph)
        version = integer_two(op, graph, {CODE.MUL: 4, CODE.SUB: 5}.get(code, 3))
        sixteen = graph.tensor(op.inputs[0]).dtype == "int16"
        scales = _scales(op, graph)
        if code == CODE.MUL and scales and not sixteen and scales[0] * scales[1] / scales[2] >= 1:
            version = 3
        bits = 15 if sixteen else 20
        if code != CODE.MUL and scales and 2 * max(scales[:2]) / ((1 << bits) * scales[2]) >= 1:
            raise refuse(op, graph, f"output scale {scales[2]:.6g}", f"above {2 * max(scales[:2]) / (1 << bits):.6g}: TFLite's fixed point")
        made = options(FUSED[op.activation])
        if code != CODE.MUL:
            made.potScaleInt16 = not sixteen  # which the schema takes for granted, and only int16 reads
        return Builtin(code, version, made)

    return make


def _extreme(code: int) -> Callable[[Any, QuantGraph], Builtin]:
    def make(op: ops.Maximum | ops.Minimum, graph: QuantGraph) -> Builtin:
        _check_shapes(op, graph)
        return Builtin(code, integer_two(op, graph, 4), schema.MaximumMinimumOptionsT())

    return make


def _squared_difference(op: ops.SquaredDifference, graph: QuantGraph) -> Builtin:
    _check_shapes(op, graph)
    scales = _scales(op, graph)
    if scales:
        least = (2 * max(scales[:2])) ** 2 / (1 << 14)
        if scales[2] <= least:  # LiteRT ends the process
            raise refuse(op, graph, f"output scale {scales[2]:.6g}", f"above {least:.6g}: TFLite's fixed point")
    return Builtin(CODE.SQUARED_DIFFERENCE, integer_two(op, graph), schema.SquaredDifferenceOptionsT())


def _prelu(op: ops.PRelu, graph: QuantGraph) -> Builtin:
    if not graph.tensor(op.inputs[1]).is_constant:
        raise refuse(op, graph, f"alpha {op.inputs[1]!r} is computed", "a constant")
    _check_shapes(op, graph)
    if graph.tensor(op.inputs[0]).shape != graph.tensor(op.outputs[0]).shape:
        raise refuse(op, graph, f"alpha {graph.tensor(op.inputs[1]).shape}", "a shape that broadcasts over x")
    return Builtin(CODE.PRELU)


def _leaky_relu(op: ops.LeakyRelu, graph: QuantGraph) -> Builtin:
    return Builtin(CODE.LEAKY_RELU, 2 if graph.tensor(op.inputs[0]).dtype == "int16" else 1, schema.LeakyReluOptionsT(op.alpha))


def _hard_swish(op: ops.HardSwish, graph: QuantGraph) -> Builtin:
    scales = _scales(op, graph)
    if scales and scales[0] / 128 / scales[1] >= 1:
        raise refuse(op, graph, f"output scale {scales[1]:.6g}", f"above {scales[0] / 128:.6g}, as TFLite wants it")
    return Builtin(CODE.HARD_SWISH, 1, schema.HardSwishOptionsT())


def _tanh(op: ops.Tanh, graph: QuantGraph) -> Builtin:
    check_fixed_scale(op, graph, (1 / 128, 0))
    return Builtin(CODE.TANH, integer_two(op, graph))


def _gelu(op: ops.Gelu, graph: QuantGraph) -> Builtin:
    return Builtin(CODE.GELU, integer_two(op, graph), schema.GeluOptionsT(op.approximate))


def _rsqrt(op: ops.Rsqrt, graph: QuantGraph) -> Builtin:
    return Builtin(CODE.RSQRT, integer_two(op, graph))


def _quantize(op: ops.Quantize, graph: QuantGraph) -> Builtin:
    kinds = [graph.tensor(name).dtype for name in (*op.inputs, *op.outputs)]
    if not is_integer(op.outputs[0], graph) or kinds[0] not in ("int8", "int16", "float16", "float32"):
        raise refuse(op, graph, " to ".join(kinds), "float, int8 or int16 to int8 or int16")
    return Builtin(CODE.QUANTIZE, 2 if "int16" in kinds else 1, schema.QuantizeOptionsT())


def _dequantize(op: ops.Dequantize, graph: QuantGraph) -> Builtin:
    if not is_integer(op.inputs[0], graph) or graph.tensor(op.outputs[0]).dtype not in ("float16", "float32"):
        kinds = [graph.tensor(name).dtype for name in (*op.inputs, *op.outputs)]
        raise refuse(op, graph, " to ".join(kinds), "int8 or int16 to float")
    return Builtin(CODE.DEQUANTIZE, integer_two(op, graph), schema.DequantizeOptionsT())


BUILTINS: dict[type[ops.Op], Callable[[Any, QuantGraph], Builtin]] = {
    ops.Add: _fused(CODE.ADD, schema.AddOptionsT),
    ops.Sub: _fused(CODE.SUB, schema.SubOptionsT),
    ops.Mul: _fused(CODE.MUL, schema.MulOptionsT),
    ops.Maximum: _extreme(CODE.MAXIMUM),
    ops.Minimum: _extreme(CODE.MINIMUM),
    ops.SquaredDifference: _squared_difference,
    ops.PRelu: _prelu,
    ops.LeakyRelu: _leaky_relu,
    ops.HardSwish: _hard_swish,
    ops.Tanh: _tanh,
    ops.Gelu: _gelu,
    ops.Rsqrt: _rsqrt,
    ops.Quantize: _quantize,
    ops.Dequantize: _dequantize,
}
