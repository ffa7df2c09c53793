from __future__ import annotations

import numpy as np
import pytest

from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.ops import Add, Concat, FullyConnected, Mean, Op, Pad, Relu, Reshape, Softmax, Transpose
from edgekd.quant.passes.channels_first import channels_first
from tests.export import onnx_cases as cases


def float_graph(ops: list[Op], shapes: dict[str, tuple[int, ...]], output: str, **weights: np.ndarray) -> QuantGraph:
    tensors = {name: Tensor(name, "float32", shape) for name, shape in shapes.items()}
    tensors |= {name: Tensor(name, "float32", w.shape, None, w.astype(np.float32)) for name, w in weights.items()}
    return QuantGraph("g", "channels_last", tensors, tuple(ops), ("x",), (output,))


def test_weights_shapes_and_channel_axes():
    graph, _ = cases.student()
    first = channels_first(graph)
    assert first.layout == "channels_first"
    for name, order, axis in (("stem", (0, 3, 1, 2), 0), ("dw", (3, 0, 1, 2), 0), ("dw2", (3, 0, 1, 2), 0), ("grouped", (0, 3, 1, 2), 0)):
        before, after = graph.tensor(f"{name}.w"), first.tensor(f"{name}.w")
        assert np.array_equal(after.data, before.data.transpose(order)) and after.quantization.axis == axis
        assert np.array_equal(after.quantization.scale, before.quantization.scale)
    assert first.tensor("x").shape == (1, 3, 12, 10)
    assert [op.axes for op in first.ops if isinstance(op, Mean)] == [(2, 3)]
    assert [op.name for op in first.ops] == [op.name for op in graph.ops]


def test_axes_of_concat_and_pad():
    first = channels_first(cases.zoo()[0])
    assert [op.axis for op in first.ops if isinstance(op, Concat)] == [1]
    assert [op.amounts for op in first.ops if isinstance(op, Pad)] == [((0, 0), (0, 0), (1, 2), (0, 1))]


def test_channels_first_is_returned_as_it_is():
    first = channels_first(cases.student()[0])
    assert channels_first(first) is first


def test_flattened_feature_map_permutes_the_columns():
    w = np.arange(2 * 12).reshape(2, 12)
    graph = float_graph(
        [Reshape("flat", ("x",), ("f",), (1, 12)), Relu("relu", ("f",), ("r",)), FullyConnected("fc", ("r", "w"), ("y",))],
        {"x": (1, 2, 2, 3), "f": (1, 12), "r": (1, 12), "y": (1, 2)},
        "y",
        w=w,
    )
    x = np.random.default_rng(0).normal(size=(2, 2, 3))
    after = channels_first(graph).tensor("w").data
    assert np.allclose(after @ x.transpose(2, 0, 1).ravel(), w @ x.ravel())


def test_two_consumers_in_different_orders_get_a_weight_each():
    w, v = np.arange(2 * 12).reshape(2, 12), np.arange(2 * 24).reshape(2, 24)
    ops = [
        Reshape("flat", ("x",), ("f",), (1, 12)),
        FullyConnected("a", ("f", "w"), ("ya",)),
        Concat("cat", ("f", "f"), ("c",), -1),
        FullyConnected("b", ("c", "v"), ("yb",)),
        Add("sum", ("ya", "yb"), ("y",)),
    ]
    graph = float_graph(ops, {"x": (1, 2, 2, 3), "f": (1, 12), "c": (1, 24), "ya": (1, 2), "yb": (1, 2), "y": (1, 2)}, "y", w=w, v=v)
    first = channels_first(graph)
    x = np.random.default_rng(0).normal(size=(2, 2, 3))
    moved = x.transpose(2, 0, 1).ravel()
    assert np.allclose(first.tensor("v").data @ np.concatenate([moved, moved]), v @ np.concatenate([x.ravel(), x.ravel()]))


def test_a_weight_shared_by_a_flat_map_and_a_vector():
    w = np.arange(12 * 12).reshape(12, 12)
    ops = [
        Reshape("flat", ("x",), ("f",), (1, 12)),
        FullyConnected("a", ("f", "w"), ("h",)),
        FullyConnected("b", ("h", "w"), ("y",)),
    ]
    first = channels_first(float_graph(ops, {"x": (1, 2, 2, 3), "f": (1, 12), "h": (1, 12), "y": (1, 12)}, "y", w=w))
    assert [op.inputs[1] for op in first.ops[1:]] == ["w", "w.1"]
    assert np.array_equal(first.tensor("w.1").data, w)


def test_flattening_one_position_moves_nothing():
    graph = float_graph([Reshape("flat", ("x",), ("y",), (1, 5))], {"x": (1, 1, 1, 5), "y": (1, 5)}, "y")
    assert channels_first(graph).ops == graph.ops


def computed(graph: QuantGraph, *inputs: np.ndarray) -> np.ndarray:
    """What a channels-first graph of few operators computes, in plain NumPy."""
    values = {n: t.data for n, t in graph.tensors.items() if t.data is not None} | dict(zip(graph.inputs, inputs, strict=True))
    for op in graph.ops:
        x = [values[n] for n in op.inputs]
        match op:
            case Reshape():
                y = x[0].reshape(op.shape)
            case Transpose():
                y = x[0].transpose(op.order)
            case Softmax():
                y = np.exp(x[0]) / np.exp(x[0]).sum(-1, keepdims=True)
            case Mean():
                y = x[0].mean(op.axes, keepdims=op.keepdims)
            case _:
                y = x[0] + x[1]
        values[op.outputs[0]] = y
    return values[graph.outputs[0]]


MOVED = {
    "output is flat": ([Reshape("flat", ("x",), ("y",), (1, 12))], {"x": (1, 2, 2, 3), "y": (1, 12)}),
    "a vector becomes a map": ([Reshape("unflat", ("x",), ("y",), (1, 2, 2, 3))], {"x": (1, 12), "y": (1, 2, 2, 3)}),
    "softmax over channels": ([Softmax("soft", ("x",), ("y",))], {"x": (1, 2, 2, 3), "y": (1, 2, 2, 3)}),
    "rows": ([Mean("rows", ("x",), ("y",), (1,), False)], {"x": (1, 2, 3, 4), "y": (1, 3, 4)}),
    "orders differ": (
        [
            Reshape("flat", ("x",), ("f",), (1, 12)),
            Reshape("squeezed", ("m",), ("g",), (1, 12)),
            Add("sum", ("f", "g"), ("y",)),
        ],
        {"x": (1, 2, 2, 3), "m": (1, 1, 1, 12), "f": (1, 12), "g": (1, 12), "y": (1, 12)},
    ),
}


@pytest.mark.parametrize("case", MOVED)
def test_what_must_move_is_transposed(case):
    ops, shapes = MOVED[case]
    inputs = tuple(n for n in shapes if n in "xm")
    tensors = {name: Tensor(name, "float32", shape) for name, shape in shapes.items()}
    graph = QuantGraph("g", "channels_last", tensors, tuple(ops), inputs, ("y",))
    rng = np.random.default_rng(0)
    values = [rng.normal(size=shapes[name]) for name in inputs]
    first = channels_first(graph)
    assert first.outputs == ("y",) and sum(isinstance(op, Transpose) for op in first.ops) <= 2
    turned = [v.transpose(0, 3, 1, 2) if v.ndim == 4 else v for v in values]
    found, expected = computed(first, *turned), computed(graph, *values)
    np.testing.assert_allclose(found, expected.transpose(0, 3, 1, 2) if expected.ndim == 4 else expected)


def test_constant_of_an_add_is_transposed():
    w = np.arange(12).reshape(1, 2, 2, 3)
    graph = float_graph([Add("sum", ("x", "w"), ("y",))], {"x": (1, 2, 2, 3), "y": (1, 2, 2, 3)}, "y", w=w)
    assert np.array_equal(channels_first(graph).tensor("w").data, w.transpose(0, 3, 1, 2))


def test_per_tensor_quantization_stays():
    weight = Tensor("w", "int8", (1, 1, 1, 2), Quantization.per_tensor(0.5), np.ones((1, 1, 1, 2), np.int8))
    tensors = {"x": Tensor("x", "int8", (1, 1, 1, 2), Quantization.per_tensor(0.5)), "w": weight}
    tensors["y"] = Tensor("y", "int8", (1, 1, 1, 2), Quantization.per_tensor(0.5))
    graph = QuantGraph("g", "channels_last", tensors, (Add("a", ("x", "w"), ("y",)),), ("x",), ("y",))
    assert channels_first(graph).tensor("w").quantization.axis is None
