"""Normalizations of ATen: batch norm as a convolution that ``fuse`` folds, the others step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.aten_builder import Builder, arguments, shape_of
from edgekd.quant.aten_weighted import as_image, from_image


def batch_norm(builder: Builder, node: fx.Node) -> None:
    """As a depthwise 1x1 convolution; the pass ``fuse`` then folds it into the convolution before it, where there is one."""
    x, gamma, beta, mean, variance, training, _, eps = arguments(node, *[None] * 8)[:8]
    mu, var = builder.value(mean), builder.value(variance)
    if mu is None or var is None or training:
        raise InputError("a batch norm without running statistics", where=node.name, expected="track_running_stats=True")
    one, zero = np.ones_like(mu), np.zeros_like(mu)
    g, b = builder.value(gamma), builder.value(beta)
    factor = (one if g is None else g).astype(np.float64) / np.sqrt(var.astype(np.float64) + eps)
    offset = (zero if b is None else b) - mu * factor
    sequence = len(shape_of(node)) == 3 and builder.batch[x.name] == 0
    source = as_image(builder, x) if sequence else builder.name_of(x)
    names = (
        source,
        builder.constant(f"{node.name}_weight", factor.reshape(-1, 1, 1, 1)),
        builder.constant(f"{node.name}_bias", offset),
    )
    if sequence:
        n, c, length = shape_of(node)
        name = f"{node.name}_image"
        from_image(builder, node, builder.step(ops.DepthwiseConv2D(name, names, (name,)), (n, c, 1, length)))
    else:
        builder.emit(node, ops.DepthwiseConv2D(node.name, names, (node.name,)))


def layer_norm(builder: Builder, node: fx.Node) -> None:
    """(x − mean)/√(variance + eps) · gamma + beta over the last axes (Ba et al. 2016)."""
    x, shape, gamma, beta, eps = arguments(node, None, None, None, None, 1e-5)[:5]
    source = builder.name_of(x)
    batch = builder.batch[x.name]
    rank = len(builder.tensors[source].shape)
    normal = tuple(range(rank - len(shape), rank))
    if 0 in normal or (batch is not None and batch >= len(shape_of(node)) - len(shape)):
        raise InputError("a norm over the batch", where=node.name, expected="a norm over the axes of one sample")
    _normalize(builder, node, source, normal, eps)
    _affine(builder, node, gamma, beta, batch)


def group_norm(builder: Builder, node: fx.Node) -> None:
    """As layer norm, over groups of channels (Wu and He 2018)."""
    x, groups, gamma, beta, eps = arguments(node, None, None, None, None, 1e-5)[:5]
    source, shape = builder.name_of(x), shape_of(node)
    if builder.batch[x.name] != 0:
        raise InputError("a norm over merged samples", where=node.name, expected="[N, C, …]")
    if groups == 1:
        _normalize(builder, node, source, tuple(range(1, len(shape))), eps)
    else:
        split = (1, groups, shape[1] // groups, *shape[2:])
        _normalize(builder, node, builder.reshaped(source, split), tuple(range(2, len(split))), eps)
        builder.bind(node, builder.reshaped(builder.names[node.name], shape), 0)
    count = len(shape) - 2
    values = [builder.value(each) for each in (gamma, beta)]
    _affine(builder, node, *(None if v is None else v.reshape(1, -1, *[1] * count) for v in values), batch=0)


def _normalize(builder: Builder, node: fx.Node, source: str, axes: tuple[int, ...], eps: float) -> None:
    """``node`` becomes (source − mean)/√(variance + eps)."""
    shape = builder.tensors[source].shape
    small = tuple(1 if i in axes else d for i, d in enumerate(shape))
    n = node.name
    mean = builder.step(ops.Mean(f"{n}_mean", (source,), (f"{n}_mean",), axes, keepdims=True), small)
    square = builder.step(ops.SquaredDifference(f"{n}_square", (source, mean), (f"{n}_square",)), shape)
    variance = builder.step(ops.Mean(f"{n}_variance", (square,), (f"{n}_variance",), axes, keepdims=True), small)
    least = builder.constant(f"{n}_eps", np.full((1,) * len(shape), eps))
    positive = builder.step(ops.Add(f"{n}_positive", (variance, least), (f"{n}_positive",)), small)
    inverse = builder.step(ops.Rsqrt(f"{n}_inverse", (positive,), (f"{n}_inverse",)), small)
    centred = builder.step(ops.Sub(f"{n}_centred", (source, mean), (f"{n}_centred",)), shape)
    normal = builder.step(ops.Mul(f"{n}_normal", (centred, inverse), (f"{n}_normal",)), shape)
    builder.bind(node, normal, builder.batch_of(node, node.args[0]))


def _affine(builder: Builder, node: fx.Node, gamma: Any, beta: Any, batch: int | None) -> None:
    """``node`` times gamma plus beta, where they are given."""
    name = builder.names[node.name]
    for what, kind, argument in (("gamma", ops.Mul, gamma), ("beta", ops.Add, beta)):
        if argument is None:
            continue
        if isinstance(argument, np.ndarray):
            constant = builder.constant(f"{node.name}_{what}", argument)
        else:
            constant = builder.operand(argument, node, batch, suffix=what)
        result = f"{node.name}_scaled" if what == "gamma" and beta is not None else node.name
        name = builder.step(kind(result, (name, constant), (result,)), builder.tensors[name].shape)
    builder.bind(node, name, batch)
