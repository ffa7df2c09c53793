"""Convolutions, matrix products, pooling and reductions of ONNX as operators of the waist; listed in READ."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgekd.importers.onnx_draft import Draft, with_full_rank
from edgekd.importers.onnx_file import Node
from edgekd.importers.onnx_fold import axes_of
from edgekd.quant import ops
from edgekd.quant.graph import Tensor

Numbers = tuple[int, ...]


def _pair(node: Node, key: str, spatial: int, default: int = 1) -> Numbers:
    found = tuple(node.attributes.get(key, ())) or (default,) * spatial
    if len(found) != spatial or any(v < 1 for v in found):
        raise node.refuse(f"{key} {list(found)}", f"{spatial} sizes of at least 1")
    return found


def _pads(node: Node, size: Numbers, kernel: Numbers, stride: Numbers, dilation: Numbers) -> list[int]:
    """[before, after] of each spatial axis, one after the other, as auto_pad or pads say."""
    automatic = node.attributes.get("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        amounts = []
        for extent, k, s, d in zip(size, kernel, stride, dilation, strict=True):
            total = max((-(-extent // s) - 1) * s + (k - 1) * d + 1 - extent, 0)
            less, more = total // 2, total - total // 2
            amounts += [less, more] if automatic == "SAME_UPPER" else [more, less]
        return amounts
    pads = tuple(node.attributes.get("pads", ())) if automatic == "NOTSET" else ()
    pads = pads or (0,) * (2 * len(kernel))
    if len(pads) != 2 * len(kernel) or min(pads) < 0:
        raise node.refuse(f"pads {list(pads)}", f"{2 * len(kernel)} amounts ≥ 0")
    return [pads[i + len(kernel) * end] for i in range(len(kernel)) for end in (0, 1)]


def _out(size: Numbers, kernel: Numbers, stride: Numbers, dilation: Numbers, pads: list[int]) -> Numbers:
    return tuple(
        (n + pads[2 * i] + pads[2 * i + 1] - (k - 1) * d - 1) // s + 1
        for i, (n, k, s, d) in enumerate(zip(size, kernel, stride, dilation, strict=True))
    )


def lift(draft: Draft, node: Node, x: Tensor) -> Tensor:
    """A signal [N, C, L] as an image of height 1."""
    if len(x.shape) != 3:
        return x
    shape = (*x.shape[:2], 1, x.shape[2])
    return draft.tensors[draft.emit(ops.Reshape, node, [x.name], shape, shape=shape, like=x.name)]


def lower(draft: Draft, node: Node, made: str, rank: int) -> None:
    """The image of height 1 as a signal again, which is the node's output."""
    if rank == 4:
        draft.finish(node, made)
        return
    n, c, _, length = draft.tensors[made].shape
    draft.finish(node, draft.emit(ops.Reshape, node, [made], (n, c, length), shape=(n, c, length), like=made, output=node.outputs[0]))


def _image(node: Node, x: Tensor) -> int:
    if len(x.shape) not in (3, 4):
        raise node.refuse(f"input of shape {list(x.shape)}", "a signal [N, C, L] or an image [N, C, H, W]")
    return len(x.shape)


def _weight(draft: Draft, node: Node) -> Tensor:
    weight = draft.tensor(node, 1)
    if weight.data is None:
        raise node.refuse("its weight is computed while it runs", "a constant weight")
    if len(weight.shape) == 3:
        q = weight.quantization
        if q is not None and q.axis == 2:
            raise node.refuse("weight scales along the kernel", "one scale, or one an output channel")
        shape = (*weight.shape[:2], 1, weight.shape[2])
        weight = draft.add_constant(weight.name, weight.data.reshape(shape), weight.dtype, q)
    return weight


def _conv(draft: Draft, node: Node) -> None:
    x, weight = draft.tensor(node, 0), _weight(draft, node)
    rank = _image(node, x)
    x = lift(draft, node, x)
    groups = int(node.attributes.get("group", 1))
    if len(weight.shape) != 4 or groups < 1 or weight.shape[1] * groups != x.shape[1] or weight.shape[0] % groups:
        raise node.refuse(f"weight {list(weight.shape)} in {groups} groups on {list(x.shape)}", "[out, in/groups, kh, kw]")
    kernel, size = weight.shape[2:], x.shape[2:]
    spatial = rank - 2
    stride, dilation = _pair(node, "strides", spatial), _pair(node, "dilations", spatial)
    pads = _pads(node, size[-spatial:], kernel[-spatial:], stride, dilation)
    if spatial == 1:
        stride, dilation, pads = (1, *stride), (1, *dilation), [0, 0, *pads]
    shape = (x.shape[0], weight.shape[0], *_out(size, kernel, stride, dilation, pads))
    inputs = [x.name, weight.name, *([draft.tensor(node, 2).name] if draft.has(node, 2) else [])]
    options = {"stride": stride, "dilation": dilation, "padding": tuple(pads)}
    output = node.outputs[0] if rank == 4 else None
    if groups == x.shape[1] and groups > 1:
        made = draft.emit(ops.DepthwiseConv2D, node, inputs, shape, **options, multiplier=weight.shape[0] // groups, output=output)
    else:
        made = draft.emit(ops.Conv2D, node, inputs, shape, **options, groups=groups, output=output)
    lower(draft, node, made, rank)


def _conv_transpose(draft: Draft, node: Node) -> None:
    x, weight = draft.tensor(node, 0), _weight(draft, node)
    rank = _image(node, x)
    x = lift(draft, node, x)
    spatial = rank - 2
    if node.attributes.get("group", 1) != 1 or any(d != 1 for d in node.attributes.get("dilations", ())):
        raise node.refuse("groups or dilation", "neither")
    if len(weight.shape) != 4 or weight.shape[0] != x.shape[1] or "output_shape" in node.attributes:
        raise node.refuse(f"weight {list(weight.shape)} on {list(x.shape)}", "[in, out, kh, kw], and no output_shape")
    stride = _pair(node, "strides", spatial)
    pads = _pads(node, x.shape[-spatial:], weight.shape[-spatial:], stride, (1,) * spatial)
    extra = tuple(node.attributes.get("output_padding", ())) or (0,) * spatial
    if node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or len(extra) != spatial or min(extra) < 0:
        raise node.refuse("automatic padding, or a bad output_padding", "pads")
    if spatial == 1:
        stride, pads, extra = (1, *stride), [0, 0, *pads], (0, *extra)
    sizes = [
        (n - 1) * s + k - pads[2 * i] - pads[2 * i + 1] + e
        for i, (n, s, k, e) in enumerate(zip(x.shape[2:], stride, weight.shape[2:], extra, strict=True))
    ]
    # Rows that are appended first take back what the padding cut off.
    for i in (0, 1):
        less = min(extra[i], pads[2 * i + 1])
        pads[2 * i + 1] -= less
        extra = tuple(e - less if i == j else e for j, e in enumerate(extra))
    inputs = [x.name, weight.name, *([draft.tensor(node, 2).name] if draft.has(node, 2) else [])]
    output = node.outputs[0] if rank == 4 else None
    shape = (x.shape[0], weight.shape[1], *sizes)
    lower(
        draft,
        node,
        draft.emit(ops.TransposeConv2D, node, inputs, shape, stride=stride, padding=tuple(pads), extra=extra, output=output),
        rank,
    )


def transposed(draft: Draft, tensor: Tensor) -> Tensor:
    """A constant matrix with its axes swapped."""
    assert tensor.data is not None
    q = tensor.quantization
    if q is not None and q.axis is not None:
        q = replace(q, axis=1 - q.axis)
    return draft.add_constant(tensor.name, tensor.data.T, tensor.dtype, q)


def _gemm(draft: Draft, node: Node) -> None:
    a = node.attributes
    x, weight = draft.tensor(node, 0), draft.tensor(node, 1)
    if weight.data is None or x.data is not None or len(x.shape) != 2 or len(weight.shape) != 2 or a.get("transA", 0):
        raise node.refuse(f"{list(x.shape)} by {list(weight.shape)}", "a vector [N, features] by a constant matrix")
    if a.get("alpha", 1.0) != 1.0 or (draft.has(node, 2) and a.get("beta", 1.0) != 1.0):
        raise node.refuse(f"alpha {a.get('alpha', 1.0)}, beta {a.get('beta', 1.0)}", "1 and 1")
    weight = weight if a.get("transB", 0) else transposed(draft, weight)
    _dense(draft, node, x, weight, [draft.tensor(node, 2)] if draft.has(node, 2) else [])


def _dense(draft: Draft, node: Node, x: Tensor, weight: Tensor, bias: list[Tensor]) -> None:
    if weight.shape[1] != x.shape[-1]:
        raise node.refuse(f"{list(x.shape)} by a weight of {list(weight.shape)}", "as many features")
    names = []
    for tensor in bias:
        if tensor.data is None or tensor.data.size not in (1, weight.shape[0]):
            raise node.refuse(f"bias {list(tensor.shape)}", f"a constant of {weight.shape[0]} values")
        if tensor.shape != (weight.shape[0],):
            if tensor.quantization is not None and tensor.quantization.axis is not None:
                raise node.refuse(f"bias {list(tensor.shape)} with a scale a channel", "a vector")
            tensor = draft.add_constant(
                tensor.name, np.broadcast_to(tensor.data.reshape(-1), weight.shape[:1]), tensor.dtype, tensor.quantization
            )
        names.append(tensor.name)
    shape = (*x.shape[:-1], weight.shape[0])
    draft.finish(node, draft.emit(ops.FullyConnected, node, [x.name, weight.name, *names], shape, output=node.outputs[0]))


def _matmul(draft: Draft, node: Node) -> None:
    a, b = draft.tensor(node, 0), draft.tensor(node, 1)
    if len(a.shape) < 2 or len(b.shape) < 2 or a.shape[-1] != b.shape[-2]:
        raise node.refuse(f"{list(a.shape)} by {list(b.shape)}", "[..., m, k] by [..., k, n]")
    if b.data is not None and a.data is None and math.prod(b.shape[:-2]) == 1:
        if len(b.shape) > 2:
            q = b.quantization
            if q is not None and q.axis is not None:
                q = replace(q, axis=q.axis - len(b.shape) + 2)
            b = draft.add_constant(b.name, b.data.reshape(b.shape[-2:]), b.dtype, q)
        _dense(draft, node, a, transposed(draft, b), [])
        return
    rank = max(len(a.shape), len(b.shape))
    names = [with_full_rank(draft, node, t, rank) for t in (a, b)]
    lead = np.broadcast_shapes(*(draft.tensors[name].shape[:-2] for name in names))
    draft.finish(node, draft.emit(ops.BatchMatMul, node, names, (*lead, a.shape[-2], b.shape[-1]), output=node.outputs[0]))


def _pool(draft: Draft, node: Node) -> None:
    x = draft.tensor(node, 0)
    rank = _image(node, x)
    if any(node.outputs[1:]):
        raise node.refuse("the positions of the largest values are an output", "only the values")
    x = lift(draft, node, x)
    spatial = rank - 2
    kernel, stride = _pair(node, "kernel_shape", spatial), _pair(node, "strides", spatial)
    if any(d != 1 for d in node.attributes.get("dilations", ())):
        raise node.refuse("a dilated window", "dilation 1")
    pads = _pads(node, x.shape[-spatial:], kernel, stride, (1,) * spatial)
    if spatial == 1:
        kernel, stride, pads = (1, *kernel), (1, *stride), [0, 0, *pads]
    average = node.kind == "AveragePool"
    if average and node.attributes.get("count_include_pad", 0) and any(pads):
        amounts = ((0, 0), (0, 0), (pads[0], pads[1]), (pads[2], pads[3]))
        shape = tuple(d + sum(pair) for d, pair in zip(x.shape, amounts, strict=True))
        x = draft.tensors[draft.emit(ops.Pad, node, [x.name], shape, amounts=amounts, like=x.name)]
        if node.attributes.get("ceil_mode", 0):
            raise node.refuse("ceil_mode together with count_include_pad", "one of them")
        pads = [0, 0, 0, 0]
    if node.attributes.get("ceil_mode", 0):
        for i, (n, k, s) in enumerate(zip(x.shape[2:], kernel, stride, strict=True)):
            out = -(-(n + pads[2 * i] + pads[2 * i + 1] - k) // s) + 1
            # A window that starts beyond the input and its padding does not count.
            out -= (out - 1) * s >= n + pads[2 * i]
            pads[2 * i + 1] = max(pads[2 * i + 1], (out - 1) * s + k - n - pads[2 * i])
    size = _out(x.shape[2:], kernel, stride, (1, 1), pads)
    output = node.outputs[0] if rank == 4 else None
    options: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": tuple(pads), "output": output}
    like = None if average else x.name
    made = draft.emit(ops.AveragePool2D if average else ops.MaxPool2D, node, [x.name], (*x.shape[:2], *size), like=like, **options)
    lower(draft, node, made, rank)


def _reduce(draft: Draft, node: Node) -> None:
    kind = {
        "ReduceMean": ops.Mean,
        "ReduceSum": ops.Sum,
        "ReduceMax": ops.ReduceMax,
        "GlobalAveragePool": ops.Mean,
        "GlobalMaxPool": ops.ReduceMax,
    }
    x = draft.tensor(node, 0)
    rank = len(x.shape)
    keep = bool(node.attributes.get("keepdims", 1))
    if node.kind.startswith("Global"):
        axes = list(range(2, rank))
    else:
        axes = axes_of(node, [None, draft.array(node, 1)], rank)
        axes = axes or list(range(rank))
    if (0 in axes and (rank == 1 or not keep)) or (0 in axes and x.shape[0] != 1):
        raise node.refuse(f"axes {axes} hold the batch", "axes of one sample")
    axes = sorted(a for a in axes if a)
    shape = tuple(1 if a in axes else d for a, d in enumerate(x.shape) if keep or a not in axes)
    like = x.name if kind[node.kind] is ops.ReduceMax else None
    draft.finish(
        node, draft.emit(kind[node.kind], node, [x.name], shape, axes=tuple(axes), keepdims=keep, like=like, output=node.outputs[0])
    )


READ: Mapping[str, Callable[[Draft, Node], None]] = {
    "Conv": _conv, "ConvTranspose": _conv_transpose, "Gemm": _gemm, "MatMul": _matmul, "MaxPool": _pool, "AveragePool": _pool,
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "GlobalAveragePool", "GlobalMaxPool"), _reduce),
}  # fmt: skip
