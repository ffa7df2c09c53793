"""4-bit weights, two a byte in the file, against the real runtimes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekd.export.tflite import encode, export, pack_int4
from edgekd.importers.tflite import read_bytes
from edgekd.quant import ops
from edgekd.quant.arena import place
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.reference import PROFILES
from edgekd.quant.reference.profiles import xnnpack_takes
from edgekd.quant.size import weight_bytes
from edgekd.runtimes.tflm import arena_bytes
from tests.quant.reference.test_convolve import convolution
from tests.shape_cases import assert_equal, quantization, samples, single

FEW = settings(
    derandomize=True,
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much, HealthCheck.too_slow],
)
KINDS: list[type[ops.Op]] = [ops.Conv2D, ops.DepthwiseConv2D, ops.FullyConnected]


def four_bits(op: type[ops.Op], seed: int, *, per_channel: bool) -> tuple[QuantGraph, np.random.Generator]:
    rng = np.random.default_rng(seed)
    channels, made, kernel = int(rng.integers(1, 20)), int(rng.integers(1, 20)), int(rng.integers(1, 4))
    size = int(rng.integers(kernel, 8))
    x: tuple[int, ...] = (size, size, channels)
    y: tuple[int, ...] = (size - kernel + 1, size - kernel + 1, made)
    shape, axis = (made, kernel, kernel, channels), 0
    if op is ops.DepthwiseConv2D:
        made = channels
        y, shape, axis = (*y[:2], made), (1, kernel, kernel, made), 3
    elif op is ops.FullyConnected:
        x, y, shape = (channels,), (made,), (made, channels)
    count = made if per_channel else 1
    scale = rng.uniform(0.02, 0.2, count).astype(np.float32)
    q_w = Quantization(scale, np.zeros(count, np.int32), axis if per_channel else None)
    constants = (Tensor("w", "int4", shape, q_w, rng.integers(-8, 8, shape).astype(np.int8)),)
    if rng.random() < 0.7:
        constants += (Tensor("bias", "int32", (made,), None, rng.integers(-300, 300, made).astype(np.int32)),)
    q = quantization(rng)
    spread = q.single[0] * float(scale.mean()) * 6 * np.sqrt(np.prod(shape) / made) * float(rng.uniform(0.3, 2))
    q_out = Quantization.per_tensor(float(spread), int(rng.integers(-128, 128)))
    activation = ("none", "relu", "relu6")[seed % 3]
    return single(op, x, y, (q, q_out), constants=constants, activation=activation), rng


@FEW
@given(seed=st.integers(0, 2**31), per_channel=st.booleans())
@pytest.mark.parametrize("op", KINDS)
def test_weights_of_four_bits_equal_runtimes(op: type[ops.Op], seed: int, per_channel: bool, tmp_path: Path) -> None:
    graph, rng = four_bits(op, seed, per_channel=per_channel)
    lacks = op is ops.FullyConnected and len(graph.tensor("w").quantization.scale) > 1  # type: ignore[union-attr]
    assert_equal(graph, samples(graph, rng, 20), tmp_path, PROFILES[1:] if lacks else PROFILES)


@FEW
@given(seed=st.integers(0, 2**31))
def test_in_groups_and_dilated(seed: int, tmp_path: Path) -> None:
    graph, rng = convolution(ops.Conv2D, seed)
    weight = graph.tensor("w")
    four = replace(weight, dtype="int4", data=rng.integers(-8, 8, weight.shape).astype(np.int8))
    graph = replace(graph, tensors={**graph.tensors, "w": four})
    assert_equal(graph, samples(graph, rng, 3), tmp_path)


@pytest.mark.parametrize("op", KINDS)
def test_a_file_keeps_them(op: type[ops.Op]) -> None:
    graph, _ = four_bits(op, 5, per_channel=True)
    again = read_bytes(encode(graph))
    weight = again.tensor(again.ops[0].inputs[1])
    assert weight.dtype == "int4"
    np.testing.assert_array_equal(weight.data, graph.tensor("w").data)
    assert encode(again) == encode(read_bytes(encode(again)))


@pytest.mark.parametrize("op", KINDS)
def test_tflm_unpacks_them_into_its_arena(op: type[ops.Op], tmp_path: Path) -> None:
    graph, _ = four_bits(op, 7, per_channel=op is not ops.FullyConnected)
    export(graph, tmp_path)
    assert place(graph).total_bytes == arena_bytes(tmp_path / "model.tflite").activations


def test_two_a_byte() -> None:
    np.testing.assert_array_equal(pack_int4(np.array([[-8, 7, 1]], np.int8)), np.array([0x78, 0x01], np.uint8))
    graph, _ = four_bits(ops.FullyConnected, 5, per_channel=True)
    out, entered = graph.tensor("w").shape
    bias = sum(graph.tensor(name).nbytes for name in graph.ops[0].inputs[2:])
    assert weight_bytes(graph) == (out * entered + 1) // 2 + bias


def test_xnnpack_takes_rows_of_whole_bytes() -> None:
    for seed in range(8):
        graph, _ = four_bits(ops.FullyConnected, seed, per_channel=True)
        assert xnnpack_takes(graph.ops[0], graph) == (graph.tensor("w").shape[1] % 2 == 0)
