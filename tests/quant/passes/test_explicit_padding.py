"""Padding becomes an operator only where SAME and VALID do not state it."""

from __future__ import annotations

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.ops import AveragePool2D, Conv2D, MaxPool2D, Op, Pad
from edgekd.quant.passes.explicit_padding import explicit_padding, same_or_valid

Q = Quantization.per_tensor(0.1, 3)


def graph_of(size: int, shapes: dict[str, tuple[int, ...]], *ops: Op) -> QuantGraph:
    tensors = {"x": Tensor("x", "int8", (1, size, size, 2), Q)}
    tensors |= {name: Tensor(name, "int8", shape, Q) for name, shape in shapes.items()}
    for kernel in (1, 3):
        data = np.ones((2, kernel, kernel, 2), np.int8)
        tensors[f"w{kernel}"] = Tensor(f"w{kernel}", "int8", data.shape, Quantization.per_tensor(0.1), data)
    return QuantGraph("g", "channels_last", tensors, ops, ("x",), tuple(shapes))


def test_even_input_with_stride_two_gets_a_pad_that_stops_at_the_last_window():
    conv = Conv2D("c", ("x", "w3"), ("y",), stride=(2, 2), padding=(1, 1, 1, 1))
    result = explicit_padding(graph_of(28, {"y": (1, 14, 14, 2)}, conv))
    pad, rest = result.ops
    assert isinstance(pad, Pad) and pad.amounts == ((0, 0), (1, 0), (1, 0), (0, 0)) and pad.fill == "zero"
    assert result.tensor(pad.outputs[0]).shape == (1, 29, 29, 2) and result.tensor(pad.outputs[0]).quantization is Q
    assert isinstance(rest, Conv2D) and rest.padding == (0, 0, 0, 0) and rest.inputs[0] == pad.outputs[0]
    assert explicit_padding(result).ops == result.ops


@pytest.mark.parametrize(
    ("size", "stride", "padding", "out", "expected"),
    [
        (28, 1, (1, 1, 1, 1), 28, "SAME"),
        (27, 2, (1, 1, 1, 1), 14, "SAME"),
        (28, 2, (0, 1, 0, 1), 14, "SAME"),
        (28, 1, (0, 0, 0, 0), 26, "VALID"),
        (28, 2, (0, 0, 0, 0), 13, "VALID"),
        (28, 2, (1, 1, 1, 1), 14, None),
        (28, 1, (2, 0, 1, 1), 28, None),
    ],
)
def test_same_and_valid_as_tensorflow_defines_them(size, stride, padding, out, expected):
    conv = Conv2D("c", ("x", "w3"), ("y",), stride=(stride, stride), padding=padding)
    graph = graph_of(size, {"y": (1, out, out, 2)}, conv)
    assert same_or_valid(conv, graph) == expected
    assert len(explicit_padding(graph).ops) == (2 if expected is None else 1)


def test_one_pad_for_two_readers():
    a = Conv2D("a", ("x", "w3"), ("y",), stride=(2, 2), padding=(1, 1, 1, 1))
    b = Conv2D("b", ("x", "w3"), ("z",), stride=(2, 2), padding=(1, 0, 1, 0))
    result = explicit_padding(graph_of(28, {"y": (1, 14, 14, 2), "z": (1, 14, 14, 2)}, a, b))
    assert [type(op).__name__ for op in result.ops] == ["Pad", "Conv2D", "Conv2D"]


def test_padding_that_no_window_reaches_is_no_padding():
    conv = Conv2D("c", ("x", "w1"), ("y",), stride=(2, 2), padding=(0, 1, 0, 1))
    graph = graph_of(27, {"y": (1, 14, 14, 2)}, conv)
    assert same_or_valid(conv, graph) == "VALID" and explicit_padding(graph).ops == graph.ops


def test_a_max_pool_is_filled_with_the_lowest_value():
    pool = MaxPool2D("m", ("x",), ("y",), kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
    pad = explicit_padding(graph_of(28, {"y": (1, 14, 14, 2)}, pool)).ops[0]
    assert isinstance(pad, Pad) and pad.fill == "lowest"


def test_what_cannot_be_done_is_said():
    pool = AveragePool2D("p", ("x",), ("y",), kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
    with pytest.raises(InputError, match=r"operator p: padding \(1, 1, 1, 1\) of an average pool is neither SAME nor VALID"):
        explicit_padding(graph_of(28, {"y": (1, 14, 14, 2)}, pool))
    conv = Conv2D("c", ("x", "w3"), ("y",))
    with pytest.raises(InputError, match=r"operator c: output size \(28, 28\)\n  expected: 26 along axis 1"):
        explicit_padding(graph_of(28, {"y": (1, 28, 28, 2)}, conv))
