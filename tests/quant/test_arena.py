from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.errors import InputError
from edgekd.export.tflite import encode
from edgekd.quant import ops
from edgekd.quant.arena import ALIGNMENT, Lifetime, arena_total, arrange, lifetimes, place, place_lifetimes
from edgekd.quant.arena_tflm import _OPERATOR
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.reference.profiles import UNSUPPORTED
from edgekd.quant.scheme import Scheme
from edgekd.runtimes.tflm import Arena, arena_bytes
from edgekd.students.inverted_residual import sketch, spec_from

BUFFERS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 12), st.integers(0, 12)), max_size=25)


@given(BUFFERS)
@settings(deadline=None)
def test_what_is_alive_together_never_overlaps(drawn: list[tuple[int, int, int]]) -> None:
    buffers = [Lifetime(str(i), ALIGNMENT * n, min(a, b), max(a, b)) for i, (n, a, b) in enumerate(drawn)]
    placed = place_lifetimes(buffers)
    assert placed.total_bytes >= placed.bound
    assert placed.total_bytes <= sum(b.nbytes for b in buffers)
    for i, a in enumerate(buffers):
        start = placed.offsets[a.name]
        assert start >= 0
        assert start % ALIGNMENT == 0
        assert start + a.nbytes <= placed.total_bytes
        for b in buffers[:i]:
            other = placed.offsets[b.name]
            assert not a.meets(b) or start + a.nbytes <= other or other + b.nbytes <= start


def chain(*made: ops.Op, shapes: dict[str, tuple[int, ...]]) -> QuantGraph:
    fixed = {op.outputs[0]: (1 / 256, -128) for op in made if isinstance(op, ops.Softmax | ops.Logistic)}
    fixed |= {op.outputs[0]: (1 / 128, 0) for op in made if isinstance(op, ops.Tanh)}
    fixed |= {op.inputs[0]: (1 / 16, -128) for op in made if isinstance(op, ops.Rsqrt)}
    fixed |= {op.outputs[0]: (1 / 2, 0) for op in made if isinstance(op, ops.BatchMatMul | ops.TransposeConv2D)}
    real = {op.outputs[0] for op in made if isinstance(op, ops.Dequantize)}
    tensors = {
        name: Tensor(name, "float32", shape)
        if name in real
        else Tensor(name, "int8", shape, Quantization.per_tensor(*fixed.get(name, (1 / 16, 0))))
        for name, shape in shapes.items()
    }
    constants = {name: shape for op in made for name, shape in CONSTANTS.items() if name in op.inputs}
    for name, shape in constants.items():
        tensors[name] = Tensor(name, "int8", shape, Quantization.per_tensor(0.01), np.ones(shape, np.int8))
    return QuantGraph("chain", "channels_last", tensors, made, ("x",), (made[-1].outputs[0],))


def report(graph: QuantGraph, folder: Path) -> Arena:
    path = folder / "model.tflite"
    path.write_bytes(encode(graph))
    return arena_bytes(path)


def test_lifetimes_are_read_off_the_order() -> None:
    graph = chain(
        ops.Relu("a", ("x",), ("m",)),
        ops.Relu("b", ("m",), ("n",)),
        ops.Add("c", ("x", "n"), ("y",)),
        shapes={"x": (1, 3, 3, 2), "m": (1, 3, 3, 2), "n": (1, 3, 3, 2), "y": (1, 3, 3, 2)},
    )
    spans = {life.name: (life.first, life.last, life.nbytes) for life in lifetimes(graph)}
    assert spans == {"x": (0, 3, 32), "m": (1, 2, 32), "n": (2, 3, 32), "y": (3, 3, 32)}
    assert place(graph).total_bytes == place(graph).bound == 96


CONSTANTS = {"alpha": (1, 1, 1, 8), "columns": (1, 6, 8, 5), "kernel": (12, 2, 2, 8)}
SHAPE = (1, 6, 6, 8)
CASES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "average": (lambda x, y: ops.AveragePool2D("o", x, y, (2, 2), (2, 2)), (1, 3, 3, 8)),
    "max": (lambda x, y: ops.MaxPool2D("o", x, y, (2, 2), (2, 2)), (1, 3, 3, 8)),
    "max with a pad of its own": (lambda x, y: ops.MaxPool2D("o", x, y, (3, 3), (2, 2), (1, 1, 1, 1)), (1, 3, 3, 8)),
    "mean": (lambda x, y: ops.Mean("o", x, y, (1, 2)), (1, 8)),
    "reshape is not in place": (lambda x, y: ops.Reshape("o", x, y, (1, 288)), (1, 288)),
    "relu": (lambda x, y: ops.Relu("o", x, y), SHAPE),
    "pad": (lambda x, y: ops.Pad("o", x, y, ((0, 0), (1, 1), (0, 0), (0, 0))), (1, 8, 6, 8)),
    "concat": (lambda x, y: ops.Concat("o", x * 2, y, 3), (1, 6, 6, 16)),
    "add": (lambda x, y: ops.Add("o", x * 2, y), SHAPE),
    "softmax": (lambda x, y: ops.Softmax("o", x, y), SHAPE),
    "logistic": (lambda x, y: ops.Logistic("o", x, y), SHAPE),
    "difference": (lambda x, y: ops.Sub("o", x * 2, y), SHAPE),
    "product": (lambda x, y: ops.Mul("o", x * 2, y), SHAPE),
    "squared difference": (lambda x, y: ops.SquaredDifference("o", (*x, "alpha"), y), SHAPE),
    "maximum": (lambda x, y: ops.Maximum("o", x * 2, y), SHAPE),
    "minimum": (lambda x, y: ops.Minimum("o", x * 2, y), SHAPE),
    "leaky": (lambda x, y: ops.LeakyRelu("o", x, y, 0.1), SHAPE),
    "prelu": (lambda x, y: ops.PRelu("o", (*x, "alpha"), y), SHAPE),
    "hard swish": (lambda x, y: ops.HardSwish("o", x, y), SHAPE),
    "inverse root": (lambda x, y: ops.Rsqrt("o", x, y), SHAPE),
    "tanh": (lambda x, y: ops.Tanh("o", x, y), SHAPE),
    "quantize": (lambda x, y: ops.Quantize("o", x, y), SHAPE),
    "dequantize": (lambda x, y: ops.Dequantize("o", x, y), SHAPE),
    "transpose": (lambda x, y: ops.Transpose("o", x, y, (0, 3, 1, 2)), (1, 8, 6, 6)),
    "slice": (lambda x, y: ops.Slice("o", x, y, (0, 1, 0, 0), (1, 4, 6, 8), (1, 1, 1, 1)), (1, 4, 6, 8)),
    "slice with steps": (lambda x, y: ops.Slice("o", x, y, (0, 0, 0, 0), (1, 3, 6, 8), (1, 2, 1, 1)), (1, 3, 6, 8)),
    "sum": (lambda x, y: ops.Sum("o", x, y, (1, 2)), (1, 8)),
    "largest": (lambda x, y: ops.ReduceMax("o", x, y, (2,)), (1, 6, 8)),
    "resize, nearest": (lambda x, y: ops.ResizeNearest("o", x, y, (12, 12)), (1, 12, 12, 8)),
    "resize, bilinear": (lambda x, y: ops.ResizeBilinear("o", x, y, (12, 12)), (1, 12, 12, 8)),
    "matrices": (lambda x, y: ops.BatchMatMul("o", (*x, "columns"), y), (1, 6, 6, 5)),
    "matrices, adjoint": (lambda x, y: ops.BatchMatMul("o", x * 2, y, True), (1, 6, 6, 6)),
    "transposed convolution": (lambda x, y: ops.TransposeConv2D("o", (*x, "kernel"), y, (2, 2)), (1, 12, 12, 12)),
}


@pytest.mark.parametrize("case", CASES)
def test_each_operator_takes_what_tflm_says(tmp_path: Path, case: str) -> None:
    make, shape = CASES[case]
    graph = chain(make(("x",), ("y",)), shapes={"x": SHAPE, "y": shape})
    seen = report(graph, tmp_path)
    assert abs(arena_total(graph) - seen.total) <= 32
    if "of its own" not in case:
        assert place(graph).total_bytes == seen.activations


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"stem_stride": 1, "expansion": 4},
        {"stem_stride": 2, "expansion": 2, "fused": 1, "head": 64},
        {"width": 0.5, "expansion": 6, "depth": 2.0, "resolution": 14},
        {"width": 1.5, "expansion": 1, "widths": [12, 20, 52]},
    ],
)
def test_a_students_arena_is_foretold(tmp_path: Path, options: dict[str, Any], per_channel: bool) -> None:
    graph = sketch(spec_from(options, (28, 28, 1), 10), Scheme(per_channel_weights=per_channel))
    seen = report(graph, tmp_path)
    assert arrange(graph).placement.total_bytes == seen.activations
    assert abs(arena_total(graph) - seen.total) <= 32


def test_equal_sizes_are_placed_as_tflm_places_them() -> None:
    # Of equals the later one first: b goes to the bottom, and a, alive with both, has to lie above.
    placed = place_lifetimes([Lifetime("a", 16, 0, 2), Lifetime("b", 16, 2, 3)])
    assert dict(placed.offsets) == {"b": 0, "a": 16}
    assert np.isclose(placed.bound, 32)


def test_an_operator_that_tflm_has_not_is_named() -> None:
    graph = chain(ops.Gelu("o", ("x",), ("y",)), shapes={"x": SHAPE, "y": SHAPE})
    assert place(graph).total_bytes == 576
    with pytest.raises(InputError, match="operator o: TFLM has no Gelu"):
        arena_total(graph)


def test_every_operator_of_tflm_has_its_bytes() -> None:
    assert set(_OPERATOR) == set(ops.OPS.values()) - set(UNSUPPORTED["tflm"])
