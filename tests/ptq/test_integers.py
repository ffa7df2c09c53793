"""What is made of NNCF's decisions, on decisions that are given here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from edgekd.ptq.integers import integers, with_plain_names
from edgekd.quant import ops
from edgekd.quant.capture import capture
from edgekd.quant.graph import QuantGraph, Quantization
from edgekd.quant.scheme import Scheme
from tests.float_models import residual

ENTRY = Quantization.per_tensor(0.5, 3)


@dataclass
class Decided:
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    scales: dict[str, np.ndarray] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)


@pytest.fixture(scope="module")
def graph() -> QuantGraph:
    return capture(residual(), (3, 12, 12))


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (12, 3, 12, 12)).astype(np.float32)


def scale_of(graph: QuantGraph, name: str) -> tuple[float, int]:
    quantization = graph.tensor(name).quantization
    assert quantization is not None
    return quantization.single


def output_of(graph: QuantGraph, kind: type[ops.Op], at: int = 0) -> str:
    return [op.outputs[0] for op in graph.ops if isinstance(op, kind)][at]


def test_a_range_becomes_scale_and_zero_point(graph: QuantGraph, x: np.ndarray) -> None:
    name = output_of(graph, ops.Mul)
    made, notes = integers(graph, Scheme(), ENTRY, Decided({name: (-1.0, 1.55)}), x)
    assert scale_of(made, name) == (pytest.approx(0.01), -28)
    assert scale_of(made, made.inputs[0]) == (0.5, 3) and "1 are NNCF's" in notes[0]
    assert all(t.dtype == "int8" for t in made.tensors.values() if not t.is_constant)


def test_symmetric_schemes_have_no_zero_point(graph: QuantGraph, x: np.ndarray) -> None:
    name = output_of(graph, ops.Conv2D)  # rectified: NNCF has it unsigned
    made, _ = integers(graph, Scheme(symmetric_activations=True), Quantization.per_tensor(1 / 128), Decided({name: (0.0, 2.54)}), x)
    assert scale_of(made, name) == (pytest.approx(0.02), 0)
    assert all(q.single[1] == 0 for t in made.tensors.values() if not t.is_constant and (q := t.quantization) is not None)


def test_who_must_share_a_scale_gets_the_widest(graph: QuantGraph, x: np.ndarray) -> None:
    concat = next(op for op in graph.ops if isinstance(op, ops.Concat))
    first, second = concat.inputs
    made, _ = integers(graph, Scheme(), ENTRY, Decided({first: (0.0, 1.0), second: (-0.5, 2.05)}), x)
    assert {scale_of(made, name) for name in (first, second, concat.outputs[0])} == {scale_of(made, first)}
    assert scale_of(made, first) == (pytest.approx(0.01), -78)


def test_prescribed_scales_stay(graph: QuantGraph, x: np.ndarray) -> None:
    name = output_of(graph, ops.Logistic)
    made, _ = integers(graph, Scheme(), ENTRY, Decided({name: (0.0, 0.7)}), x)
    assert scale_of(made, name) == (1 / 256, -128)


def test_what_is_always_zero_takes_no_scale(graph: QuantGraph, x: np.ndarray) -> None:
    name = output_of(graph, ops.Mul)
    made, _ = integers(graph, Scheme(), ENTRY, Decided({name: (0.0, 0.0)}), x)
    assert scale_of(made, name)[0] > 1e-4


@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_and_biases(graph: QuantGraph, x: np.ndarray, per_channel: bool) -> None:
    op: Any = next(op for op in graph.ops if isinstance(op, ops.FullyConnected))
    weight, bias = op.inputs[1:]
    scales = np.full(5 if per_channel else 1, 0.25, np.float32)
    corrected = np.arange(5, dtype=np.float32)
    found = Decided({}, {weight: scales}, {bias: corrected})
    made, _ = integers(graph, Scheme(per_channel_weights=per_channel), ENTRY, found, x)
    quantization, held = made.tensor(weight).quantization, made.tensor(bias)
    assert quantization is not None and quantization.scale.tolist() == scales.tolist()
    assert held.data is not None and held.quantization is not None
    assert np.abs(held.data * held.quantization.scale.astype(np.float64) - corrected).max() <= held.quantization.scale.max()


def test_weights_of_4_bits_keep_their_steps(graph: QuantGraph, x: np.ndarray) -> None:
    weight = next(op.inputs[1] for op in graph.ops if isinstance(op, ops.Conv2D))
    decided = Decided({}, {weight: np.full(8, 1e-3, np.float32)})
    made, _ = integers(graph, Scheme(weight_bits=4), ENTRY, decided, x)
    quantization = made.tensor(weight).quantization
    assert made.tensor(weight).dtype == "int4" and quantization is not None and quantization.scale.min() > 2e-3


def test_names_that_a_module_cannot_hold(graph: QuantGraph, x: np.ndarray) -> None:
    first, last = graph.ops[0].inputs[1], graph.outputs[0]
    odd = {first: "a.b/weight", last: "output", graph.ops[1].inputs[1]: "keys", graph.ops[0].inputs[2]: "a/b.weight"}

    def named(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(odd.get(name, name) for name in names)

    tensors = {odd.get(n, n): replace(t, name=odd.get(n, n)) for n, t in graph.tensors.items()}
    made = tuple(replace(op, inputs=named(op.inputs), outputs=named(op.outputs)) for op in graph.ops)
    strange = replace(graph, tensors=tensors, ops=made, outputs=("output",))
    plain = with_plain_names(strange)
    assert {"a_b_weight", "a_b_weight_2", "keys_2", "output_2"} <= set(plain.tensors) and plain.outputs == ("output_2",)
    assert integers(plain, Scheme(), ENTRY, Decided(), x)[0].outputs == ("output_2",)
