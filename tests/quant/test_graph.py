from __future__ import annotations

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.ops import Add, Conv2D, Op, Relu


def tensor(name: str, shape: tuple[int, ...] = (1, 4)) -> Tensor:
    return Tensor(name, "int8", shape, Quantization.per_tensor(0.5))


def graph(*ops: Op, inputs: tuple[str, ...] = ("x",), outputs: tuple[str, ...] = ("y",)) -> QuantGraph:
    names = {n for op in ops for n in (*op.inputs, *op.outputs)} | {*inputs}
    return QuantGraph("g", "channels_last", {n: tensor(n) for n in sorted(names)}, ops, inputs, outputs)


def test_producer_and_consumers() -> None:
    g = graph(Relu("a", ("x",), ("m",)), Add("b", ("x", "m"), ("y",)))
    assert g.producer("m") is g.ops[0]
    assert g.producer("x") is None
    assert [op.name for op in g.consumers("x")] == ["a", "b"]
    assert g.with_metadata(labels=["a"]).metadata == {"labels": ["a"]}


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ((Relu("a", ("m",), ("y",)), Relu("b", ("x",), ("m",))), "'m' is read before it is written"),
        ((Relu("a", ("y",), ("y",)),), "'y' is read before it is written"),
        ((Relu("a", ("x",), ("y",)), Relu("b", ("x",), ("y",))), "'y' is written twice"),
        ((Relu("a", ("x",), ("x",)),), "'x' is written twice"),
        ((Relu("a", ("x",), ("m",)),), "'y' is an input or output but never made"),
    ],
)
def test_an_impossible_order_is_refused(ops: tuple[Op, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        graph(*ops)


def test_a_graph_without_outputs_is_refused() -> None:
    with pytest.raises(InputError, match="there is no output"):
        graph(Relu("a", ("x",), ("y",)), outputs=())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Quantization.per_tensor(0.0), "zero, negative or not finite"),
        (lambda: Quantization.per_tensor(float("nan")), "zero, negative or not finite"),
        (lambda: Quantization(np.ones(2, np.float32), np.zeros(2, np.int32)), "2 scales but no axis"),
        (lambda: Quantization(np.ones(1, np.float64), np.zeros(1, np.int32)), "scale is float64"),
        (lambda: Quantization(np.ones(2, np.float32), np.zeros(1, np.int32), 0), "zero point is int32"),
        (lambda: Tensor("t", "int8", (0, 2)), "shape"),
        (lambda: Tensor("t", "int9", (2,)), "dtype 'int9'"),  # type: ignore[arg-type]
        (lambda: Tensor("t", "int8", (2,), None, np.zeros(3, np.int8)), "data is int8"),
        (lambda: Tensor("t", "int8", (2, 3), Quantization.per_channel(np.ones(3), 0)), "3 scales along axis 0"),
        (lambda: Conv2D("c", ("x",), ("y",)), "1 inputs and 1 outputs"),
        (lambda: Conv2D("c", ("x", "w"), ("y",), stride=(0, 1)), "stride"),
        (lambda: Conv2D("c", ("x", "w"), ("y",), padding=(0, -1, 0, 0)), "padding"),
        (lambda: Conv2D("c", ("x", "w"), ("y",), activation="gelu"), "activation 'gelu'"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_part_is_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


def test_bytes_of_packed_values() -> None:
    assert Tensor("t", "int4", (3,)).nbytes == 2
    assert Tensor("t", "float16", (3,)).nbytes == 6
