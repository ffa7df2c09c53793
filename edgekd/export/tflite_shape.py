"""Operators that move, reduce, resize or multiply whole tensors, in TFLite; listed in BUILTINS.

The batch is left open wherever TFLite can say so, and LiteRT resizes it. SLICE (whose output must keep the size that the file states) and
TRANSPOSE_CONV (whose output's shape is a constant) cannot: a file that holds one of them runs with a batch of 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekd.export.tflite_builtin import CODE, FUSED, Builtin, integer_two, refuse
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.passes.explicit_padding import same_or_valid_transpose

#: Ranks that LiteRT has kernels for; reference/limits.py says where TFLM has fewer.
RANKS: dict[type[ops.Op], int] = {ops.Slice: 5, ops.Transpose: 6, ops.BatchMatMul: 5}
#: Of TFLM's STRIDED_SLICE.
STRIDED_RANK = 4


def _shapes(op: ops.Op, graph: QuantGraph) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of the first input and the output."""
    x, y = graph.tensor(op.inputs[0]).shape, graph.tensor(op.outputs[0]).shape
    if len(x) > RANKS.get(type(op), 8):
        raise refuse(op, graph, f"rank {len(x)}", f"at most {RANKS[type(op)]}")
    return x, y


def _slice(op: ops.Slice, graph: QuantGraph) -> Builtin:
    x, y = _shapes(op, graph)
    ends = [begin + (size - 1) * step + 1 for begin, size, step in zip(op.begin, op.size, op.step, strict=True)]
    if len(op.begin) != len(x) or op.size != y or any(end > size for end, size in zip(ends, x, strict=True)):
        raise refuse(
            op, graph, f"from {op.begin}, {op.size} values {op.step} apart of {x} to {y}", "a part of the input, as large as the output"
        )
    if (op.begin[0], op.step[0]) != (0, 1) or x[0] != y[0]:
        raise refuse(op, graph, "a slice of the batch", "all of it")
    begin = np.array(op.begin, np.int32)
    step = np.array([1 if size == 1 else step for size, step in zip(op.size, op.step, strict=True)], np.int32)
    if len(x) > STRIDED_RANK and step.max() == 1:
        return Builtin(CODE.SLICE, integer_two(op, graph, 4), schema.SliceOptionsT(), (begin, np.array(op.size, np.int32)))
    # Also where every step is 1: XNNPACK takes it with an open batch, which SLICE cannot have.
    options = schema.StridedSliceOptionsT(beginMask=1, endMask=1)
    return Builtin(CODE.STRIDED_SLICE, integer_two(op, graph, 2), options, (begin, np.array(ends, np.int32), step))


def _transpose(op: ops.Transpose, graph: QuantGraph) -> Builtin:
    x, y = _shapes(op, graph)
    if len(op.order) != len(x) or y != tuple(x[axis] for axis in op.order):
        raise refuse(op, graph, f"order {op.order} from {x} to {y}", "an order of all axes, and the output's shape as it follows")
    return Builtin(CODE.TRANSPOSE, integer_two(op, graph, 5), schema.TransposeOptionsT(), (np.array(op.order, np.int32),))


def _gather(op: ops.Gather, graph: QuantGraph) -> Builtin:
    table, indices = (graph.tensor(name) for name in op.inputs)
    x, y = _shapes(op, graph)
    if indices.dtype != "int32" or not table.is_constant or y != (*indices.shape, *x[1:]):
        raise refuse(op, graph, f"{indices.dtype} indices {indices.shape} into {x} to {y}", "int32 indices into a constant table")
    return Builtin(CODE.GATHER, integer_two(op, graph, 4), schema.GatherOptionsT(0))


def _reduce(op: ops.Sum | ops.ReduceMax, graph: QuantGraph) -> Builtin:
    x, y = _shapes(op, graph)
    axes = sorted({axis % len(x) for axis in op.axes})
    left = tuple(1 if axis in axes else size for axis, size in enumerate(x) if op.keepdims or axis not in axes)
    if not axes or axes[0] == 0 or y != left:
        raise refuse(op, graph, f"over axes {op.axes} from {x} to {y}", f"axes other than the batch; to {left}")
    code, sixteen = (CODE.SUM, 2) if isinstance(op, ops.Sum) else (CODE.REDUCE_MAX, 3)
    return Builtin(code, integer_two(op, graph, sixteen), schema.ReducerOptionsT(op.keepdims), (np.array(axes, np.int32),))


def _resize(op: ops.ResizeNearest | ops.ResizeBilinear, graph: QuantGraph) -> Builtin:
    x, y = _shapes(op, graph)
    if len(x) != 4 or y != (x[0], *op.size, x[3]):
        raise refuse(op, graph, f"size {op.size} from {x} to {y}", "[N, H, W, C] to [N, height, width, C]")
    size = (np.array(op.size, np.int32),)
    version = max(3 if op.half_pixel_centers else 1, integer_two(op, graph, 4))
    if isinstance(op, ops.ResizeNearest):
        options = schema.ResizeNearestNeighborOptionsT(op.align_corners, op.half_pixel_centers)
        return Builtin(CODE.RESIZE_NEAREST_NEIGHBOR, version, options, size)
    return Builtin(CODE.RESIZE_BILINEAR, version, schema.ResizeBilinearOptionsT(op.align_corners, op.half_pixel_centers), size)


def _batch_matmul(op: ops.BatchMatMul, graph: QuantGraph) -> Builtin:
    a, y = _shapes(op, graph)
    b = graph.tensor(op.inputs[1]).shape
    depth, columns = (b[-1], b[-2]) if op.adjoint_b else (b[-2], b[-1])
    if len(a) < 2 or a[-1] != depth or y != (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], columns):
        raise refuse(op, graph, f"{a} by {b} to {y}", "[..., m, k] by [..., k, n] to [..., m, n]")
    _check_multiplier(op, graph)
    return Builtin(CODE.BATCH_MATMUL, integer_two(op, graph), schema.BatchMatMulOptionsT(adjX=False, adjY=op.adjoint_b))


def _check_multiplier(op: ops.BatchMatMul, graph: QuantGraph) -> None:
    """LiteRT hands a product by a constant of zero point 0 to XNNPACK, and dies where XNNPACK then refuses the multiplier."""
    q_a, q_b, q_y = (graph.tensor(name).quantization for name in (*op.inputs, *op.outputs))
    if q_a is None or q_b is None or q_y is None or not graph.tensor(op.inputs[1]).is_constant or q_b.single[1]:
        return
    multiplier = q_a.single[0] * q_b.single[0] / q_y.single[0]
    if multiplier >= 256:
        raise refuse(op, graph, f"scales make a multiplier of {multiplier:.4g} beside a constant", "below 256: LiteRT dies of others")


def _transpose_conv(op: ops.TransposeConv2D, graph: QuantGraph) -> Builtin:
    x, y = _shapes(op, graph)
    weight = graph.tensor(op.inputs[1]).shape
    if len(x) != 4 or len(weight) != 4 or weight[3] != x[3] or weight[0] != y[3]:
        raise refuse(op, graph, f"weight {weight} from {x} to {y}", "[out, kh, kw, in]")
    padding = same_or_valid_transpose(op, graph)
    if padding is None:
        raise refuse(op, graph, f"padding {op.padding} is neither SAME nor VALID", "a graph that went through explicit_padding")
    kind = schema.Padding.SAME if padding == "SAME" else schema.Padding.VALID
    options = schema.TransposeConvOptionsT(kind, op.stride[1], op.stride[0], FUSED[op.activation])
    plain = integer_two(op, graph)
    version = max(4 if op.activation != "none" else 3 if len(op.inputs) > 2 else 1, plain)
    return Builtin(CODE.TRANSPOSE_CONV, version, options, (np.array(y, np.int32),), constants_first=True)


BUILTINS: dict[type[ops.Op], Callable[[Any, QuantGraph], Builtin]] = {
    ops.Slice: _slice,
    ops.Transpose: _transpose,
    ops.Gather: _gather,
    ops.Sum: _reduce,
    ops.ReduceMax: _reduce,
    ops.ResizeNearest: _resize,
    ops.ResizeBilinear: _resize,
    ops.BatchMatMul: _batch_matmul,
    ops.TransposeConv2D: _transpose_conv,
}
