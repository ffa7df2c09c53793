"""ATen operators, as ``torch.export`` gives them, into ours: which function does it, and what to take where there is none."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from torch import fx

from edgekd.quant import aten_elementwise as each
from edgekd.quant import aten_norm as norm
from edgekd.quant import aten_shape as shape
from edgekd.quant import aten_weighted as weighted
from edgekd.quant import aten_windows as windows
from edgekd.quant import ops
from edgekd.quant.aten_builder import Builder

__all__ = ["HANDLERS", "INSTEAD", "Builder", "instead"]


def _taken(builder: Builder, node: fx.Node) -> None:
    """``operator.getitem``: a part of what came apart."""
    whole: Any = node.args[0]
    if not node.users:
        return
    name = str(whole.target).removeprefix("aten.")
    take = windows.largest if name.startswith("max") else windows.adaptive_max if name.startswith("adaptive") else shape.part
    take(builder, node)


def _nothing(_: Builder, node: fx.Node) -> None:
    """Stands before a conversion, which ``same`` then judges, or asserts what the capture fixes."""


def _pool_or_max(builder: Builder, node: fx.Node) -> None:
    """``max`` of two tensors is ``maximum``."""
    if len(node.args) > 1 and isinstance(node.args[1], fx.Node):
        each.binary(ops.Maximum)(builder, node)
    else:
        windows.maximum_along(builder, node)


HANDLERS: dict[str, Callable[[Builder, fx.Node], None]] = {
    **dict.fromkeys(("relu", "relu_"), each.relu),
    **dict.fromkeys(("relu6", "relu6_", "hardtanh", "hardtanh_", "clamp", "clamp_", "clamp_min", "clamp_min_"), each.clamp),
    **dict.fromkeys(("add", "add_"), each.binary(ops.Add)),
    **dict.fromkeys(("sub", "sub_"), each.binary(ops.Sub)),
    **dict.fromkeys(("mul", "mul_"), each.binary(ops.Mul)),
    **dict.fromkeys(("div", "div_"), each.divide),
    **dict.fromkeys(("silu", "silu_"), each.silu),
    **dict.fromkeys(("hardswish", "hardswish_"), each.unary(ops.HardSwish)),
    **dict.fromkeys(("hardsigmoid", "hardsigmoid_"), each.hard_sigmoid),
    **dict.fromkeys(("leaky_relu", "leaky_relu_"), each.leaky_relu),
    **dict.fromkeys(("sigmoid", "sigmoid_"), each.unary(ops.Logistic)),
    **dict.fromkeys(("tanh", "tanh_"), each.unary(ops.Tanh)),
    **dict.fromkeys(("view", "reshape", "flatten", "_unsafe_view", "squeeze", "unsqueeze", "unflatten"), shape.reshape),
    **dict.fromkeys(("pad", "constant_pad_nd"), shape.pad),
    **dict.fromkeys(("transpose", "t", "mT", "swapaxes"), shape.transpose),
    **dict.fromkeys(("split", "split_with_sizes", "chunk", "unbind", "tensor_split", "unsafe_chunk", "unsafe_split"), shape.split),
    **dict.fromkeys(("expand", "expand_as", "broadcast_to", "repeat"), shape.expand),
    **dict.fromkeys(
        (
            "dropout",
            "dropout_",
            "feature_dropout",
            "clone",
            "contiguous",
            "alias",
            "detach",
            "detach_",
            "to",
            "_to_copy",
            "lift_fresh_copy",
        ),
        each.same,
    ),
    **dict.fromkeys(("conv1d", "conv2d"), weighted.convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), weighted.transposed_convolution),
    **dict.fromkeys(("matmul", "bmm", "mm"), weighted.matmul),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d"), windows.adaptive_average),
    **dict.fromkeys(("_assert_tensor_metadata", "sym_constrain_range_for_size", "_assert_scalar"), _nothing),
    "addmm": weighted.addmm,
    "linear": weighted.linear,
    "embedding": weighted.embedding,
    "scaled_dot_product_attention": weighted.attention,
    "batch_norm": norm.batch_norm,
    "layer_norm": norm.layer_norm,
    "group_norm": norm.group_norm,
    "mean": windows.reduce(ops.Mean, "mean"),
    "sum": windows.reduce(ops.Sum, "sum"),
    "amax": windows.reduce(ops.ReduceMax, "max"),
    "max": _pool_or_max,
    **dict.fromkeys(("adaptive_max_pool1d", "adaptive_max_pool2d"), windows.apart),
    "avg_pool2d": windows.pool(ops.AveragePool2D),
    "max_pool2d": windows.pool(ops.MaxPool2D),
    "upsample_nearest2d": windows.resize_nearest,
    "upsample_bilinear2d": windows.resize_bilinear,
    "cat": shape.concat,
    "concat": shape.concat,
    "stack": shape.stack,
    "permute": shape.permute,
    "slice": shape.slice_,
    "narrow": shape.narrow,
    "select": shape.select,
    "roll": shape.roll,
    "getitem": _taken,
    "rsub": each.reverse_subtract,
    "neg": each.negate,
    "pow": each.power,
    "square": each.square,
    "rsqrt": each.unary(ops.Rsqrt),
    "maximum": each.binary(ops.Maximum),
    "minimum": each.binary(ops.Minimum),
    "gelu": each.gelu,
    "prelu": each.prelu,
    "softmax": each.softmax,
}

#: What to write in place of what has no operator here.
INSTEAD = {
    "abs": "torch.maximum(x, -x)",
    "argmax": "the logits: argmax runs outside of the student",
    "celu": "leaky_relu",
    "cumsum": "a linear layer with a triangular weight",
    "einsum": "matmul",
    "elu": "leaky_relu",
    "erf": "gelu",
    "exp": "softmax or sigmoid",
    "gru": "conv1d over the sequence",
    "index": "slice, narrow or embedding",
    "instance_norm": "group_norm, or batch_norm",
    "linalg_vector_norm": "mean of the square, and rsqrt",
    "log": "the logits: a loss takes their logarithm",
    "log_sigmoid": "sigmoid",
    "log_softmax": "the logits, or softmax",
    "lstm": "conv1d over the sequence",
    "mish": "hardswish",
    "multi_head_attention_forward": "scaled_dot_product_attention",
    "pixel_shuffle": "view, permute, view; or conv_transpose2d",
    "prod": "mul",
    "relu_squared": "relu(x) * relu(x)",
    "rms_norm": "layer_norm",
    "selu": "leaky_relu",
    "softplus": "relu",
    "softsign": "tanh",
    "sqrt": "x * rsqrt(x)",
    "std": "mean and rsqrt",
    "upsample_bicubic2d": "upsample_bilinear2d",
    "var": "mean of the squared difference",
    "where": "maximum, minimum or mul by a constant mask",
}


def instead(operator: str) -> str | None:
    """The nearest supported alternative to an ATen operator that is not supported; None where nothing is near."""
    key = operator.removeprefix("aten.").partition(".")[0].strip("_")
    if key in INSTEAD:
        return INSTEAD[key]
    return next(iter(difflib.get_close_matches(key, list(HANDLERS), n=1, cutoff=0.6)), None)
