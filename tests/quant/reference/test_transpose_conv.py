"""TransposeConv2D against the real runtimes: SAME, VALID, and what has to be cut out of the full size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.passes.explicit_padding import explicit_padding, same_or_valid_transpose
from edgekd.quant.reference import run
from tests.shape_cases import assert_close, assert_equal, quantization, samples, single

FEW = settings(derandomize=True, max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def layer(rng: np.random.Generator, seed: int, size: ops.Pair, kernel: ops.Pair, whole: bool = True, **options: Any) -> QuantGraph:
    """``options``: stride, padding, extra, activation. Per channel and with bias by ``seed``."""
    stride, padding, extra = options.get("stride", (1, 1)), options.get("padding", (0, 0, 0, 0)), options.get("extra", (0, 0))
    out = tuple((size[a] - 1) * stride[a] + kernel[a] - sum(padding[2 * a : 2 * a + 2]) + extra[a] for a in (0, 1))
    entered, made = (int(v) for v in rng.integers(1, 9, 2))
    shape = (made, *kernel, entered)
    bias = rng.integers(-3000, 3000, made).astype(np.int32)
    if not whole:
        weight = Tensor("w", "float32", shape, None, rng.normal(size=shape).astype(np.float32))
        constants = (weight, Tensor("bias", "float32", (made,), None, (bias / 3000).astype(np.float32)))
        return single(ops.TransposeConv2D, (*size, entered), (*out, made), (None, None), constants=constants, **options)
    count = made if seed % 3 else 1
    scale = rng.uniform(0.002, 0.02, count).astype(np.float32)
    q_w = Quantization(scale, np.zeros(count, np.int32), 0 if seed % 3 else None)
    constants = (Tensor("w", "int8", shape, q_w, rng.integers(-127, 128, shape).astype(np.int8)),)
    if seed % 4:
        constants += (Tensor("bias", "int32", (made,), None, bias),)
    q = quantization(rng)
    depth = max(1.0, entered * kernel[0] * kernel[1] / (stride[0] * stride[1]))
    out_scale = q.single[0] * float(scale.mean()) * 100 * np.sqrt(depth) * float(rng.uniform(0.3, 2))
    quantizations = (q, Quantization.per_tensor(out_scale, int(rng.integers(-128, 128))))
    return single(ops.TransposeConv2D, (*size, entered), (*out, made), quantizations, constants=constants, **options)


def random_layer(seed: int) -> tuple[QuantGraph, np.random.Generator]:
    rng = np.random.default_rng(seed)
    size, kernel, stride = ((int(a), int(b)) for a, b in (rng.integers(1, 7, 2), rng.integers(1, 6, 2), rng.integers(1, 4, 2)))
    padding: list[int] = []
    extra: list[int] = []
    for axis in (0, 1):
        full = (size[axis] - 1) * stride[axis] + kernel[axis]
        before, after = (int(v) for v in rng.integers(0, max(1, min(3, kernel[axis])), 2))
        padding += [before, after] if before + after < full else [0, 0]
        extra.append(int(rng.integers(0, stride[axis])))
    activation = ("none", "relu", "relu6")[int(rng.integers(3))]
    pads: Any = tuple(padding)
    return layer(rng, seed, size, kernel, stride=stride, padding=pads, extra=(extra[0], extra[1]), activation=activation), rng


@FEW
@given(seed=st.integers(0, 2**31))
def test_layer_equals_runtimes(seed: int, tmp_path: Path) -> None:
    graph, rng = random_layer(seed)
    assert_equal(graph, samples(graph, rng, 3), tmp_path)


#: kernel, stride, padding, extra → what TFLite calls it, on 4x4.
FORMS: dict[str, tuple[ops.Pair, ops.Pair, ops.Padding, ops.Pair, str | None]] = {
    "twice as large, kernel 4": ((4, 4), (2, 2), (1, 1, 1, 1), (0, 0), "SAME"),
    "twice as large, kernel 3, as Keras does": ((3, 3), (2, 2), (0, 1, 0, 1), (0, 0), "SAME"),
    "twice as large, kernel 3, as PyTorch does": ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1), None),
    "twice as large, kernel 2": ((2, 2), (2, 2), (0, 0, 0, 0), (0, 0), "VALID"),
    "kernel below stride": ((1, 2), (3, 3), (0, 0, 0, 0), (2, 1), "VALID"),
    "cut on the right": ((5, 5), (1, 1), (0, 3, 0, 3), (0, 0), None),
}


@pytest.mark.parametrize("form", FORMS)
def test_form_equals_runtimes(form: str, tmp_path: Path) -> None:
    kernel, stride, padding, extra, name = FORMS[form]
    rng = np.random.default_rng(5)
    graph = layer(rng, 5, (4, 4), kernel, stride=stride, padding=padding, extra=extra)
    op = graph.ops[0]
    assert isinstance(op, ops.TransposeConv2D) and same_or_valid_transpose(op, graph) == name
    assert len(explicit_padding(graph).ops) == (2 if name is None else 1)
    x = samples(graph, rng, 3)
    assert_equal(graph, x, tmp_path)
    for profile in ("tflm", "xnnpack"):
        np.testing.assert_array_equal(run(explicit_padding(graph), x, profile)["y"], run(graph, x, profile)["y"])


def test_float_graph_is_close_to_runtime(tmp_path: Path) -> None:
    for kernel, stride, padding, extra, _ in FORMS.values():
        rng = np.random.default_rng(3)
        graph = layer(rng, 3, (4, 4), kernel, whole=False, stride=stride, padding=padding, extra=extra, activation="relu6")
        assert_close(graph, samples(graph, rng, 3), tmp_path)


def test_extra_beyond_the_stride_is_named() -> None:
    graph = layer(np.random.default_rng(0), 1, (4, 4), (3, 3), stride=(2, 2), padding=(1, 0, 0, 0), extra=(2, 0))
    with pytest.raises(InputError, match=r"extra \(2, 0\) beyond padding[\s\S]*less than \(2, 2\)"):
        explicit_padding(graph)
