"""Random networks for C, seeded: a dozen operators of all kinds, with branches, small and odd shapes, paddings that TFLite has not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from tests.c_layers import WEIGHTED
from tests.c_operators import operator
from tests.graph_cases import Builder
from tests.random_graphs import random_graph

ACTIVATIONS: tuple[ops.Activation, ...] = ("none", "relu", "relu6")


def chain(seed: int) -> QuantGraph:
    """Layers one after the other, some of them added to or joined with what came before; one or two outputs."""
    b = Builder(seed, symmetric=seed % 5 == 0, per_channel=seed % 3 != 0)
    rng = b.rng
    b.input((int(rng.integers(3, 13)), int(rng.integers(3, 13)), int(rng.integers(1, 9))), float(np.exp(rng.normal(-4, 1))))
    for _ in range(int(rng.integers(2, 9))):
        _step(b, rng, rng.choice(["conv", "conv", "point", "depth", "grouped", "pool", "add", "join", "act", "pad"]))
    early = b.last
    _end(b, rng)
    return b.graph(*((b.last, early) if rng.random() < 0.2 else ()))


def _step(b: Builder, rng: np.random.Generator, kind: str) -> None:
    height, width, channels = b.tensors[b.last].shape[1:]
    activation, gain = ACTIVATIONS[int(rng.integers(3))], float(np.exp(rng.normal(0, 0.7)))
    kernel = (int(rng.integers(1, min(4, height) + 1)), int(rng.integers(1, min(4, width) + 1)))
    stride = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
    if kind == "conv":
        dilation = (1, 1) if rng.random() < 0.8 else (2, 1)
        stride = stride if dilation == (1, 1) else (1, 1)
        options = {"padding": (0, 0, 0, 0)} if rng.random() < 0.3 and dilation == (1, 1) else {}
        b.conv(int(rng.integers(1, 14)), kernel, stride=stride, dilation=dilation, activation=activation, gain=gain, **options)
    elif kind == "point":
        b.conv(int(rng.integers(1, 21)), activation=activation, gain=gain, bias=bool(rng.random() < 0.8))
    elif kind == "depth":
        b.depthwise(kernel, stride=stride, multiplier=int(rng.choice([1, 1, 1, 2])), activation=activation, gain=gain)
    elif kind == "grouped":
        groups = int(rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
        b.conv(groups * int(rng.integers(1, 4)), kernel, groups=groups, activation=activation, gain=gain)
    elif kind == "pool":
        b.pool(str(rng.choice(["max", "average"])), kernel, stride=stride, activation=activation)
    elif kind in ("add", "join"):
        entry = b.last
        b.conv(channels, kernel, gain=gain)
        if kind == "add":
            b.add(entry, activation=activation)
        else:
            _join(b, entry)
    elif kind == "act":
        b.relu(activation if activation != "none" else "relu", scale=b.quantization()[0] * gain, zero_point=int(rng.integers(-128, 128)))
    else:
        b.pad(((int(rng.integers(0, 2)), 1), (1, int(rng.integers(0, 3))), (0, 0)))


def _join(b: Builder, entry: str) -> None:
    """Beside ``entry``, whose scale is brought to that of the tensor made last."""
    made, (scale, zero) = b.last, b.quantization()
    b.last = entry
    b.relu(scale=scale, zero_point=zero)
    b.concat(made)


def _end(b: Builder, rng: np.random.Generator) -> None:
    if rng.random() < 0.4:
        b.mean((1, 2), keepdims=bool(rng.random() < 0.3))
    if rng.random() < 0.7:
        b.reshape((int(np.prod(b.tensors[b.last].shape)),)).fully_connected(int(rng.integers(1, 13)))
        if rng.random() < 0.4 and b.quantization()[0] < 2:  # TFLM overflows at scales of thousands
            b.softmax() if rng.random() < 0.6 else b.logistic()


def graphs(first: int, count: int) -> Iterator[QuantGraph]:
    """``count`` graphs from the seed ``first`` on: layers of every kind in turn, chains, operators without weights, and
    networks with many branches."""
    makers: list[tuple[str, Callable[[int], QuantGraph]]] = [
        (f"{name}_{kind}", lambda seed, make=make, kind=kind: make(seed, kind))
        for name, (make, kinds) in WEIGHTED.items()
        for kind in kinds
    ]
    turns = [*makers, *([("chain", chain)] * 10), *([("operator", operator)] * 10), ("branches", lambda seed: random_graph(seed, 8))]
    for seed in range(first, first + count):
        name, make = turns[seed % len(turns)]
        yield replace(make(seed), name=f"{name}_{seed}")
