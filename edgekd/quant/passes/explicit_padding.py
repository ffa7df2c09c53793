"""Padding that a runtime with only SAME and VALID cannot state becomes an operator of its own.

Given   x ── Conv2D 3x3, stride 2, padding (1, 1, 1, 1) ── y              x 28x28
Result  x ── Pad (0,0) (1,0) (1,0) (0,0) ── p ── Conv2D 3x3, stride 2, padding 0 ── y

Given   x ── Conv2D 3x3, stride 1, padding (1, 1, 1, 1) ── y
Result  the same: these amounts are SAME

Given   x ── TransposeConv2D 3x3, stride 2, padding (1, 1, 1, 1), extra (1, 1) ── y                      y 28x28
Result  x ── TransposeConv2D 3x3, stride 2, padding 0, extra 0 ── w ── Slice from (1, 1), 28x28 ── y     w 29x29
"""

from __future__ import annotations

from dataclasses import replace

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.ops import AveragePool2D, Conv2D, DepthwiseConv2D, MaxPool2D, Op, Pad, Padding, Slice, TransposeConv2D

Windowed = Conv2D | DepthwiseConv2D | AveragePool2D | MaxPool2D


def explicit_padding(graph: QuantGraph) -> QuantGraph:
    """``graph`` (channels last) with Pad before each window whose padding is neither SAME nor VALID; operators reading the same padded
    tensor share one Pad. Rows and columns that no window reaches are not padded. A max pool's Pad is filled with the lowest value.
    A transposed convolution computes its full size, and a Slice cuts it.

    Raises InputError for an average pool that would need a Pad (its padding does not count, so nothing can be filled in), and for a
    transposed convolution whose ``extra`` reaches its stride.
    """
    tensors = dict(graph.tensors)
    padded: dict[tuple[str, Padding, str], str] = {}
    ops: list[Op] = []
    for op in graph.ops:
        if isinstance(op, TransposeConv2D):
            ops += _cropped(op, graph, tensors)
            continue
        if not isinstance(op, Windowed) or same_or_valid(op, graph) is not None:
            ops.append(op)
            continue
        if isinstance(op, AveragePool2D):
            raise InputError(
                f"padding {op.padding} of an average pool is neither SAME nor VALID",
                where=f"graph {graph.name}, operator {op.name}",
                expected="padding as TFLite's SAME or VALID",
            )
        amounts = reached_padding(op, graph)
        fill = "lowest" if isinstance(op, MaxPool2D) else "zero"
        key = (op.inputs[0], amounts, fill)
        if key not in padded:
            x = tensors[op.inputs[0]]
            name = _free(f"{op.name}.padded", graph, tensors)
            top, bottom, left, right = amounts
            n, h, w, c = x.shape
            tensors[name] = Tensor(name, x.dtype, (n, h + top + bottom, w + left + right, c), x.quantization)
            ops.append(Pad(f"{op.name}.pad", (x.name,), (name,), ((0, 0), (top, bottom), (left, right), (0, 0)), fill))
            padded[key] = name
        ops.append(replace(op, inputs=(padded[key], *op.inputs[1:]), padding=(0, 0, 0, 0)))
    return replace(graph, tensors=tensors, ops=tuple(ops))


def _free(name: str, graph: QuantGraph, tensors: dict[str, Tensor]) -> str:
    if name in tensors:
        raise InputError(
            f"the tensor name {name!r} is taken", where=f"graph {graph.name}", expected=f"names that do not end in .{name.split('.')[-1]}"
        )
    return name


def same_or_valid_transpose(op: TransposeConv2D, graph: QuantGraph) -> str | None:
    """ "VALID" or "SAME" where a transposed convolution cuts as TFLite does for its output's size, else None.

    VALID cuts nothing and may append less than a stride; SAME is the padding of the convolution whose gradient it is, from the output's
    size to the input's. XNNPACK takes SAME only where no axis has a stride above the kernel, and miscounts VALID where it cuts.
    """
    sizes, kernel = graph.tensor(op.inputs[0]).shape[1:3], graph.tensor(op.inputs[1]).shape[1:3]
    outs = graph.tensor(op.outputs[0]).shape[1:3]
    valid = same = True
    for axis, (size, k, stride, out) in enumerate(zip(sizes, kernel, op.stride, outs, strict=True)):
        before, after = op.padding[2 * axis : 2 * axis + 2]
        more = op.extra[axis] - after
        full = (size - 1) * stride + k
        if out != full - before + more:
            raise InputError(
                f"output size {outs}",
                where=f"graph {graph.name}, operator {op.name}",
                expected=f"{full - before + more} along axis {1 + axis}",
            )
        valid = valid and before == 0 and 0 <= more < stride
        same = same and -(-out // stride) == size and k >= stride and before == (full - out) // 2
    return "VALID" if valid else "SAME" if same else None


def _cropped(op: TransposeConv2D, graph: QuantGraph, tensors: dict[str, Tensor]) -> list[Op]:
    """The operator as it is, or at its full size with a Slice behind it, whose tensor is added to ``tensors``."""
    if same_or_valid_transpose(op, graph) is not None:
        return [op]
    sizes, kernel = graph.tensor(op.inputs[0]).shape[1:3], graph.tensor(op.inputs[1]).shape[1:3]
    y = tensors[op.outputs[0]]
    more = (max(op.extra[0] - op.padding[1], 0), max(op.extra[1] - op.padding[3], 0))
    if more[0] >= op.stride[0] or more[1] >= op.stride[1]:
        raise InputError(
            f"extra {op.extra} beyond padding {op.padding}",
            where=f"graph {graph.name}, operator {op.name}",
            expected=f"less than {op.stride}",
        )
    height, width = ((size - 1) * stride + k + m for size, k, stride, m in zip(sizes, kernel, op.stride, more, strict=True))
    name = _free(f"{op.name}.full", graph, tensors)
    tensors[name] = Tensor(name, y.dtype, (y.shape[0], height, width, y.shape[3]), y.quantization)
    begin = (0, op.padding[0], op.padding[2], 0)
    return [
        replace(op, outputs=(name,), padding=(0, 0, 0, 0), extra=more),
        Slice(f"{op.name}.crop", (name,), op.outputs, begin, y.shape, (1, 1, 1, 1)),
    ]


def same_or_valid(op: Windowed, graph: QuantGraph) -> str | None:
    """ "SAME" or "VALID" where the operator's padding is that for its input's size, else None.

    SAME as TensorFlow defines it: ceil(in / stride) outputs, the padding split evenly, the odd one at the end.
    """
    sizes = graph.tensor(op.inputs[0]).shape[1:3]
    amounts = reached_padding(op, graph)
    if not any(amounts):
        return "VALID"
    outputs = tuple(-(-size // stride) for size, stride in zip(sizes, op.stride, strict=True))
    if outputs != graph.tensor(op.outputs[0]).shape[1:3]:
        return None
    same: list[int] = []
    for size, stride, extent, out in zip(sizes, op.stride, _extents(op, graph), outputs, strict=True):
        total = max((out - 1) * stride + extent - size, 0)
        same += [total // 2, total - total // 2]
    return "SAME" if tuple(same) == amounts else None


def reached_padding(op: Windowed, graph: QuantGraph) -> Padding:
    """The operator's padding without what lies beyond its last window. Raises InputError where the output's shape does not follow."""
    x, y = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0])
    if graph.layout != "channels_last" or len(x.shape) != 4 or len(y.shape) != 4:
        raise InputError(
            f"{x.shape} to {y.shape} in {graph.layout}", where=f"graph {graph.name}, operator {op.name}", expected="[N, H, W, C]"
        )
    reached: list[int] = []
    for axis, (stride, extent) in enumerate(zip(op.stride, _extents(op, graph), strict=True)):
        before, after = op.padding[2 * axis : 2 * axis + 2]
        size, out = x.shape[1 + axis], y.shape[1 + axis]
        want = (size + before + after - extent) // stride + 1
        if want != out:
            raise InputError(
                f"output size {y.shape[1:3]}", where=f"graph {graph.name}, operator {op.name}", expected=f"{want} along axis {1 + axis}"
            )
        reached += [before, min(after, max((out - 1) * stride + extent - size - before, 0))]
    return (reached[0], reached[1], reached[2], reached[3])


def _extents(op: Windowed, graph: QuantGraph) -> tuple[int, int]:
    """Rows and columns that one window spans, dilation included."""
    if isinstance(op, (AveragePool2D, MaxPool2D)):
        return op.kernel
    kernel = graph.tensor(op.inputs[1]).shape[1:3]
    return ((kernel[0] - 1) * op.dilation[0] + 1, (kernel[1] - 1) * op.dilation[1] + 1)
