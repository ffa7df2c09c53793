"""Chains of operators that treat each value by itself, in OpenVINO: what the plugin fuses must not leave out a rounding between two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekd.export.openvino import export
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.reference import run
from edgekd.runtimes.openvino import open_model

SHAPE = (4, 3, 20)
TWO = {"add": (ops.Add, np.add), "sub": (ops.Sub, np.subtract), "mul": (ops.Mul, np.multiply)}
CONSTANTS = {"channel": (1, 1, 1, 20), "one": (1, 1, 1, 1), "full": (1, *SHAPE)}
LINK = st.tuples(st.sampled_from([*TWO, "silu", "gate"]), st.sampled_from([*CONSTANTS, "first", "self"]))


class Chain:
    """Int8 tensors whose scales come from the samples that are run along."""

    def __init__(self, seed: int, *, symmetric: bool) -> None:
        self.rng, self.symmetric = np.random.default_rng(seed), symmetric
        zero = 0 if symmetric else -9
        self.x = self.rng.integers(-128, 128, (12, *SHAPE)).astype(np.int8)
        self.tensors = {"x": Tensor("x", "int8", (1, *SHAPE), Quantization.per_tensor(2 / 255, zero))}
        self.real = {"x": (self.x.astype(float) - zero) * 2 / 255}
        self.ops: list[ops.Op] = []

    def quantization(self, low: float, high: float) -> Quantization:
        low, high = min(low, 0.0), max(high, 0.02)
        if self.symmetric:
            return Quantization.per_tensor(max(-low, high) / 127)
        return Quantization.per_tensor((high - low) / 255, round(-128 - low / ((high - low) / 255)))

    def constant(self, shape: tuple[int, ...]) -> str:
        name, q = f"c{len(self.tensors)}", self.quantization(-1, 1.3)
        data = self.rng.integers(-128, 128, shape).astype(np.int8)
        self.tensors[name] = Tensor(name, "int8", shape, q, data)
        self.real[name] = (data - q.zero_point[0].astype(float)) * q.scale[0]
        return name

    def op(self, op: ops.Op, real: np.ndarray, fixed: Quantization | None = None) -> str:
        name = op.outputs[0]
        self.tensors[name] = Tensor(name, "int8", (1, *real.shape[1:]), fixed or self.quantization(real.min(), real.max()))
        self.real[name] = real
        self.ops.append(op)
        return name

    def link(self, kind: str, other: str, last: str) -> str:
        name = f"y{len(self.ops)}"
        if kind in TWO:
            known = {"first": "x", "self": last}
            second = known[other] if other in known else self.constant(CONSTANTS[other])
            return self.op(TWO[kind][0](name, (last, second), (name,)), TWO[kind][1](self.real[last], self.real[second]))
        source, real = last, self.real[last]
        if kind == "gate":
            real = real.mean((1, 2), keepdims=True)
            source = self.op(ops.Mean(f"{name}.mean", (last,), (f"{name}.mean",), (1, 2), True), real)
        gate = 1 / (1 + np.exp(-real))
        gated = self.op(ops.Logistic(f"{name}.gate", (source,), (f"{name}.gate",)), gate, Quantization.per_tensor(1 / 256, -128))
        return self.op(ops.Mul(name, (last, gated), (name,)), self.real[last] * gate)

    def graph(self) -> QuantGraph:
        return QuantGraph("chain", "channels_last", self.tensors, tuple(self.ops), ("x",), (self.ops[-1].outputs[0],))


def away(chain: Chain, folder: Path) -> np.ndarray:
    graph = chain.graph()
    export(graph, folder)
    return np.abs(open_model(folder / "model.xml").run(chain.x).astype(int) - run(graph, chain.x, "openvino")[graph.outputs[0]])


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(links=st.lists(LINK, min_size=2, max_size=3), seed=st.integers(0, 1000), symmetric=st.booleans())
def test_every_rounding_is_kept(tmp_path, links, seed, symmetric):
    chain, last = Chain(seed, symmetric=symmetric), "x"
    for kind, other in links:
        last = chain.link(kind, other, last)
    difference = away(chain, tmp_path)
    assert difference.max() <= 1 and (difference == 0).mean() > 0.97, links


@pytest.mark.parametrize("kind", ["mul", "add"])
def test_a_product_by_constants_of_both_signs_keeps_each_channels_scale(tmp_path, kind):
    """The input is read twice, so the product reads int8 in the layout in which the plugin took the first channel's scale for all."""
    chain = Chain(3, symmetric=True)
    chain.link(kind, "first", chain.link("mul", "channel", "x"))
    assert {True, False} == set((chain.real["c1"] > 0).ravel().tolist())
    difference = away(chain, tmp_path)
    assert difference.max() <= 1 and (difference == 0).mean() > 0.99
