"""Graphs that mix integers and floats: each operator by the dtype of its tensors, and the integers still those of the runtimes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.reference import PROFILES, run
from edgekd.quant.reference.profiles import FLOAT_ERROR
from tests.elementwise_cases import VALUES, assert_foretold, computed, graph_of, tensor
from tests.graph_cases import Builder

RNG = np.random.default_rng(0)
ALPHA = RNG.normal(size=16).astype(np.float32)


def middle(op: type[ops.Op], inputs: tuple[str, ...], **options) -> tuple[list[Tensor], ops.Op]:
    shape = (1, 8, 16)
    return [tensor("f", shape), tensor("g", shape), tensor("c", (16,), None, ALPHA)], op("middle", inputs, ("g",), **options)


ISLANDS = [
    (ops.Add, ("f", "c"), {"activation": "relu6"}), (ops.Sub, ("c", "f"), {}), (ops.Mul, ("f", "f"), {"activation": "relu"}),
    (ops.Maximum, ("f", "c"), {}), (ops.Minimum, ("f", "c"), {}), (ops.SquaredDifference, ("f", "c"), {}), (ops.PRelu, ("f", "c"), {}),
    (ops.LeakyRelu, ("f",), {"alpha": 0.1}), (ops.HardSwish, ("f",), {}), (ops.Tanh, ("f",), {}), (ops.Gelu, ("f",), {}),
    (ops.Relu, ("f",), {"activation": "relu6"}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "inputs", "options"), ISLANDS)
def test_island_of_floats(op, inputs, options) -> None:
    tensors, between = middle(op, inputs, **options)
    graph = graph_of(
        [tensor("x", (1, 8, 16), (0.05, 7)), *tensors, tensor("y", (1, 8, 16), (0.037, -11))],
        ops.Dequantize("enter", ("x",), ("f",)),
        between,
        ops.Quantize("leave", ("g",), ("y",)),
    )
    assert_foretold(graph, RNG.integers(-128, 128, (5, 8, 16)).astype(np.int8))


@pytest.mark.parametrize(("op", "inputs", "options"), [*ISLANDS, *((op, ("f",), {}) for op in (ops.Rsqrt, ops.Logistic, ops.Softmax))])
def test_floats_within_the_stated_error(op, inputs, options) -> None:
    tensors, between = middle(op, inputs, **options)
    graph = graph_of(tensors, between)
    x = RNG.uniform(0.01 if op is ops.Rsqrt else -8, 8, (5, 8, 16)).astype(np.float32)
    mine = run(graph, x, "float")["g"]
    for profile in PROFILES:
        if (profile, op) != ("tflm", ops.Gelu):
            error = np.abs(mine - computed(profile, graph, x)) / np.maximum(np.abs(mine), 1)
            assert error.max() <= FLOAT_ERROR[profile].get(op, 0), (profile, op, error.max())


def test_int8_between_floats() -> None:
    """Float in and out, as converters leave files: quantize, layers in integers, dequantize."""
    b = Builder(3).input((6, 6, 3)).conv(8, (3, 3), activation="relu").mean((1, 2)).fully_connected(5)
    inner = b.graph()
    tensors = {**inner.tensors, "real": tensor("real", (1, 6, 6, 3)), "logits": tensor("logits", (1, 5))}
    enter, leave = ops.Quantize("enter", ("real",), ("x",)), ops.Dequantize("leave", inner.outputs, ("logits",))
    graph = QuantGraph("mixed", "channels_last", tensors, (enter, *inner.ops, leave), ("real",), ("logits",))
    x = RNG.uniform(-1.2, 1.2, (7, 6, 6, 3)).astype(np.float32)
    assert_foretold(graph, x)
    kept = run(graph, x, "tflm", keep=("x", "real"))
    assert (kept["x"].dtype, kept["real"].dtype, kept["logits"].dtype) == (np.int8, np.float32, np.float32)
    np.testing.assert_array_equal(
        run(inner, kept["x"], "tflm")[inner.outputs[0]], run(graph, x, "tflm", keep=inner.outputs)[inner.outputs[0]]
    )


def test_layer_normalization_in_integers() -> None:
    """Mean, SquaredDifference, Mean, Add, Rsqrt, Mul and Sub, with constants, each value with a scale of its own."""
    wide, narrow = (1, 9, 24), (1, 9, 1)
    epsilon, gamma, beta = np.array([-100], np.int8), VALUES[::11][:24].copy(), VALUES[::-10][:24].reshape(1, 1, 24).copy()
    tensors = [
        tensor("x", wide, (0.04, 5)), tensor("mean", narrow, (0.01, -3)), tensor("square", wide, (0.1, -128)),
        tensor("variance", narrow, (0.05, -128)), tensor("epsilon", (1,), (0.001, -128), epsilon), tensor("sum", narrow, (0.05, -128)),
        tensor("root", narrow, (0.02, -128)), tensor("centred", wide, (0.045, 0)), tensor("normal", wide, (0.03, 1)),
        tensor("gamma", (24,), (0.01, 0), gamma), tensor("scaled", wide, (0.03, -4)), tensor("beta", (1, 1, 24), (0.02, 9), beta),
        tensor("y", wide, (0.04, 2)),
    ]  # fmt: skip
    graph = graph_of(
        tensors,
        ops.Mean("mean", ("x",), ("mean",), axes=(2,), keepdims=True),
        ops.SquaredDifference("square", ("x", "mean"), ("square",)),
        ops.Mean("variance", ("square",), ("variance",), axes=(2,), keepdims=True),
        ops.Add("sum", ("variance", "epsilon"), ("sum",)),
        ops.Rsqrt("root", ("sum",), ("root",)),
        ops.Sub("centre", ("x", "mean"), ("centred",)),
        ops.Mul("normalize", ("centred", "root"), ("normal",)),
        ops.Mul("scale", ("gamma", "normal"), ("scaled",)),
        ops.Add("shift", ("scaled", "beta"), ("y",)),
    )
    assert_foretold(graph, RNG.integers(-128, 128, (40, 9, 24)).astype(np.int8))


def test_profile_follows_the_activations() -> None:
    tensors, between = middle(ops.Add, ("f", "c"))
    x = np.zeros((1, 8, 16), np.float32)
    with pytest.raises(InputError, match="profile 'tflm' for float activations"):
        run(graph_of(tensors, between), x, "tflm")
    mixed = graph_of([*tensors, tensor("y", (1, 8, 16), (0.1, 0))], between, ops.Quantize("leave", ("g",), ("y",)))
    with pytest.raises(InputError, match="profile 'float' for int8 activations"):
        run(mixed, x, "float")
    with pytest.raises(InputError, match=r"input int8 \(1, 8, 16\)[\s\S]*float32 \(N, 8, 16\)"):
        run(mixed, x.astype(np.int8), "tflm")


def test_integers_without_a_scale_are_named() -> None:
    tensors, between = middle(ops.Add, ("f", "c"))
    bare = replace(tensor("y", (1, 8, 16), (0.1, 0)), quantization=None)
    with pytest.raises(InputError, match="tensor y: no quantization"):
        run(graph_of([*tensors, bare], between, ops.Quantize("leave", ("g",), ("y",))), np.zeros((1, 8, 16), np.float32), "tflm")
