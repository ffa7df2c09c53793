"""A residual int8 graph of seven operators, made by hand, and samples for it."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.ops import Add, Conv2D, DepthwiseConv2D, FullyConnected, Mean, Op

CLASSES = 5


def graph(seed: int = 0, *, symmetric: bool = False) -> QuantGraph:
    """x ─ stem ─┬─ depth ─ point ─ sum ─ mean ─ logits, the other branch of the sum from the stem; scales that use most of int8's range."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, Tensor] = {}
    ops: list[Op] = []

    def activation(name: str, shape: tuple[int, ...], scale: float, zero: int) -> str:
        tensors[name] = Tensor(name, "int8", shape, Quantization.per_tensor(scale, 0 if symmetric else zero))
        return name

    def weights(name: str, x: str, shape: tuple[int, ...], axis: int) -> tuple[str, str, str]:
        scale = rng.uniform(0.01, 0.02, shape[axis]).astype(np.float32)
        tensors[f"{name}.w"] = Tensor(
            f"{name}.w", "int8", shape, Quantization.per_channel(scale, axis), rng.integers(-127, 128, shape).astype(np.int8)
        )
        s = np.float32(tensors[x].quantization.single[0])  # type: ignore[union-attr]
        bias = rng.integers(-400, 400, shape[axis]).astype(np.int32)
        tensors[f"{name}.b"] = Tensor(f"{name}.b", "int32", (shape[axis],), Quantization.per_channel(s * scale, 0), bias)
        return x, f"{name}.w", f"{name}.b"

    x = activation("x", (1, 8, 8, 2), 1 / 128, 0)
    stem = activation("stem", (1, 8, 8, 6), 0.02, -128)
    ops.append(Conv2D("stem", weights("stem", x, (6, 3, 3, 2), 0), (stem,), padding=(1, 1, 1, 1), activation="relu"))
    depth = activation("depth", (1, 8, 8, 6), 0.05, -128)
    ops.append(DepthwiseConv2D("depth", weights("depth", stem, (1, 3, 3, 6), 3), (depth,), padding=(1, 1, 1, 1), activation="relu6"))
    point = activation("point", (1, 8, 8, 6), 0.25, 5)
    ops.append(Conv2D("point", weights("point", depth, (6, 1, 1, 6), 0), (point,)))
    ops.append(Add("sum", (point, stem), (activation("sum", (1, 8, 8, 6), 0.26, 3),)))
    ops.append(Mean("mean", ("sum",), (activation("mean", (1, 6), 0.15, -3),), axes=(1, 2)))
    logits = activation("logits", (1, CLASSES), 0.4, -5)
    ops.append(FullyConnected("logits", weights("logits", "mean", (CLASSES, 6), 0), (logits,)))
    metadata: dict[str, Any] = {"labels": [str(i) for i in range(CLASSES)], "scheme": {"symmetric_activations": symmetric}}
    return QuantGraph("small", "channels_last", tensors, tuple(ops), (x,), (logits,), metadata)


def real(whole: QuantGraph, dtype: str) -> QuantGraph:
    """The same network on real values: "float32", or "float16" constants with float32 activations."""
    tensors = {}
    for t in whole.tensors.values():
        data = None
        if t.data is not None and t.quantization is not None:
            q = t.quantization
            shape = [-1 if axis == q.axis else 1 for axis in range(t.data.ndim)]
            data = (t.data * q.scale.reshape(shape)).astype(dtype)
        tensors[t.name] = Tensor(t.name, dtype if data is not None else "float32", t.shape, None, data)  # type: ignore[arg-type]
    return replace(whole, tensors=tensors)


def samples(n: int, seed: int = 1) -> np.ndarray:
    """int8 [n, 8, 8, 2]: smooth, so that the logits differ from sample to sample."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(-128, 128, (n, 2, 2, 2))
    return (coarse.repeat(4, 1).repeat(4, 2) + rng.integers(-20, 20, (n, 8, 8, 2))).clip(-128, 127).astype(np.int8)


def corrupt(whole: QuantGraph, tensor: str, factor: float) -> QuantGraph:
    """The same graph with one scale off by ``factor``."""
    old = whole.tensor(tensor)
    assert old.quantization is not None
    wrong = replace(old, quantization=replace(old.quantization, scale=old.quantization.scale * np.float32(factor)))
    return replace(whole, tensors={**whole.tensors, tensor: wrong})


def dies(path: Path, *, threads: int = 1) -> None:
    """Opens nothing: a runtime that crashes."""
    os.kill(os.getpid(), signal.SIGSEGV)


def sleeps(path: Path, *, threads: int = 1) -> None:
    """Opens nothing: a runtime that never ends."""
    time.sleep(600)
