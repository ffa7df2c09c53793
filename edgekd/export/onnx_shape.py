"""Operators that move values, resize or reduce, in ONNX; listed in OPERATORS. Batches stay free: no size of theirs is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd.quant import ops

if TYPE_CHECKING:
    from edgekd.export.onnx_nodes import Nodes


def _numbers(nodes: Nodes, name: str, values: list[int]) -> str:
    return nodes.constant(name, np.array(values, np.int64))


def _reshape(nodes: Nodes, op: Any, output: str) -> None:
    # 0 copies the batch, which stays free.
    shape = _numbers(nodes, f"{op.name}/shape", [0, *op.shape[1:]])
    nodes.node("Reshape", [nodes.read(op.inputs[0]), shape], output)


def _transpose(nodes: Nodes, op: Any, output: str) -> None:
    nodes.node("Transpose", [nodes.read(op.inputs[0])], output, {"perm": list(op.order)})


def _concat(nodes: Nodes, op: Any, output: str) -> None:
    nodes.node("Concat", [nodes.read(name) for name in op.inputs], output, {"axis": op.axis})


def _slice(nodes: Nodes, op: Any, output: str) -> None:
    """Only the axes that lose something are written, and never the batch."""
    x = nodes.graph.tensor(op.inputs[0]).shape
    axes = [a for a in range(1, len(x)) if (op.begin[a], op.size[a], op.step[a]) != (0, x[a], 1)] or [len(x) - 1]
    limits = (
        ("starts", [op.begin[a] for a in axes]),
        ("ends", [op.begin[a] + (op.size[a] - 1) * op.step[a] + 1 for a in axes]),
        ("axes", axes),
        ("steps", [op.step[a] for a in axes]),
    )
    nodes.node("Slice", [nodes.read(op.inputs[0]), *(_numbers(nodes, f"{op.name}/{what}", v) for what, v in limits)], output)


def _gather(nodes: Nodes, op: Any, output: str) -> None:
    nodes.node("Gather", [nodes.read(name) for name in op.inputs], output, {"axis": 0})


def _pad(nodes: Nodes, op: Any, output: str) -> None:
    amounts = [before for before, _ in op.amounts] + [after for _, after in op.amounts]
    # Quantizing the lowest number saturates at the lowest integer.
    fill = 0.0 if op.fill == "zero" else float(np.finfo(nodes.float_type).min)
    value = nodes.constant("pad/0" if op.fill == "zero" else "pad/lowest", np.array(fill, nodes.float_type))
    nodes.node("Pad", [nodes.read(op.inputs[0]), _numbers(nodes, f"{op.name}/pads", amounts), value], output)


def _resize(nodes: Nodes, op: Any, output: str) -> None:
    """Coordinates as TFLite has them; its nearest rounds half up with aligned corners and half pixels, else down."""
    where = "align_corners" if op.align_corners else "half_pixel" if op.half_pixel_centers else "asymmetric"
    nearest = isinstance(op, ops.ResizeNearest)
    attributes: dict[str, Any] = {"mode": "nearest" if nearest else "linear", "coordinate_transformation_mode": where}
    if nearest:
        attributes["nearest_mode"] = "floor" if where == "asymmetric" else "round_prefer_ceil"
    # Scales for all axes, not sizes for two: the batch stays free, and onnxruntime may move a Transpose past it.
    scales = [1.0, 1.0, *(_scale(a, b) for a, b in zip(nodes.graph.tensor(op.inputs[0]).shape[2:], op.size, strict=True))]
    name = nodes.constant(f"{op.name}/scales", np.array(scales, np.float32))
    nodes.node("Resize", [nodes.read(op.inputs[0]), "", name], output, attributes)


def _scale(size: int, wanted: int) -> np.float32:
    """The float32 by which ``size`` comes to ``wanted``, rounded down as ONNX does."""
    scale = np.float32(wanted / size)
    return scale if int(np.floor(np.float32(size) * scale)) == wanted else np.nextafter(scale, np.float32(np.inf))


def _reduce(kind: str) -> Callable[[Nodes, Any, str], None]:
    def write(nodes: Nodes, op: Any, output: str) -> None:
        axes = _numbers(nodes, f"{op.name}/axes", list(op.axes))
        nodes.node(kind, [nodes.read(op.inputs[0]), axes], output, {"keepdims": int(op.keepdims)})

    return write


def _mean(nodes: Nodes, op: Any, output: str) -> None:
    x = nodes.graph.tensor(op.inputs[0])
    if len(x.shape) != 4 or set(op.axes) != {2, 3}:
        _reduce("ReduceMean")(nodes, op, output)
        return
    if op.keepdims:
        nodes.node("GlobalAveragePool", [nodes.read(op.inputs[0])], output)
        return
    pooled = nodes.node("GlobalAveragePool", [nodes.read(op.inputs[0])], f"{op.name}/pooled")
    y = nodes.graph.tensor(op.outputs[0])
    if y.quantization is not None:
        # Quantized before it is flattened: a pool between Dequantize and Quantize is an integer kernel, pool and reshape together are none.
        pooled = nodes.quantize(pooled, y, f"{op.name}/pooled/q", f"{op.name}/pooled/value")
    nodes.node("Flatten", [pooled], output, {"axis": 1})


OPERATORS: dict[type[ops.Op], Callable[[Nodes, Any, str], None]] = {
    ops.Reshape: _reshape,
    ops.Transpose: _transpose,
    ops.Concat: _concat,
    ops.Slice: _slice,
    ops.Gather: _gather,
    ops.Pad: _pad,
    ops.ResizeNearest: _resize,
    ops.ResizeBilinear: _resize,
    ops.Mean: _mean,
    ops.Sum: _reduce("ReduceSum"),
    ops.ReduceMax: _reduce("ReduceMax"),
}
