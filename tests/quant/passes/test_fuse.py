from __future__ import annotations

import numpy as np

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.ops import Op
from edgekd.quant.passes.fuse import fuse

SHAPE = (1, 2, 4, 4)


def graph(*chain: Op, outputs: tuple[str, ...] = (), shapes: dict[str, tuple[int, ...]] | None = None) -> QuantGraph:
    """Float, channels first; constants w (3x3), v (1x1 a channel) and b; what an operator writes has the input's shape unless told."""
    rng = np.random.default_rng(0)
    tensors = {"x": Tensor("x", "float32", SHAPE)}
    for name, shape in {"w": (2, 2, 3, 3), "b": (2,), "v": (2, 1, 1, 1), "c": (2,), "d": (2, 1, 3, 3)}.items():
        tensors[name] = Tensor(name, "float32", shape, data=rng.normal(size=shape).astype(np.float32))
    for op in chain:
        name = op.outputs[0]
        tensors[name] = Tensor(name, "float32", (shapes or {}).get(name, SHAPE))
    return QuantGraph("case", "channels_first", tensors, chain, ("x",), outputs or (chain[-1].outputs[0],))


def conv(source: str, name: str, **options: object) -> ops.Conv2D:
    return ops.Conv2D(name, (source, "w", "b"), (name,), padding=(1, 1, 1, 1), **options)  # type: ignore[arg-type]


def norm(source: str, name: str, **options: object) -> ops.DepthwiseConv2D:
    return ops.DepthwiseConv2D(name, (source, "v", "c"), (name,), **options)  # type: ignore[arg-type]


def relu(source: str, name: str, activation: ops.Activation = "relu") -> ops.Relu:
    return ops.Relu(name, (source,), (name,), activation=activation)


def test_pad_convolution_norm_and_relu_become_one() -> None:
    pad = ops.Pad("p", ("x",), ("p",), amounts=((0, 0), (0, 0), (1, 0), (2, 3)))
    source = graph(pad, conv("p", "y"), norm("y", "n"), relu("n", "r", "relu6"), shapes={"p": (1, 2, 5, 9)})
    result = fuse(source)
    (op,) = result.ops
    assert op == ops.Conv2D("r", ("x", "w", "b"), ("r",), padding=(2, 1, 3, 4), activation="relu6")
    weight, factor = source.tensors["w"].data, source.tensors["v"].data
    assert weight is not None and factor is not None
    np.testing.assert_allclose(result.tensors["w"].data, weight * factor, rtol=1e-6)  # type: ignore[arg-type]
    assert set(result.tensors) == {"x", "w", "b", "r"}


def test_what_something_else_reads_stays() -> None:
    chain = (conv("x", "y"), relu("y", "r"), ops.Add("a", ("y", "r"), ("a",)))
    assert fuse(graph(*chain)).ops == chain


def test_what_is_an_output_stays() -> None:
    chain = (conv("x", "y"), relu("y", "r"))
    assert fuse(graph(*chain, outputs=("y", "r"))).ops == chain


def test_a_sum_of_a_tensor_and_itself_is_rectified() -> None:
    (op,) = fuse(graph(ops.Add("a", ("x", "x"), ("a",)), relu("a", "r"))).ops
    assert op == ops.Add("r", ("x", "x"), ("r",), activation="relu")


def test_a_rectifier_after_a_rectifier_stays() -> None:
    assert [type(op).__name__ for op in fuse(graph(conv("x", "y"), relu("y", "r"), relu("r", "s", "relu6"))).ops] == ["Conv2D", "Relu"]


def test_a_rectifier_after_concat_or_mean_stays() -> None:
    concat = ops.Concat("k", ("x", "x"), ("k",), axis=1)
    assert len(fuse(graph(concat, relu("k", "r"), shapes={"k": (1, 4, 4, 4), "r": (1, 4, 4, 4)})).ops) == 2
    mean = ops.Mean("m", ("x",), ("m",), axes=(2, 3))
    assert len(fuse(graph(mean, relu("m", "r"), shapes={"m": (1, 2), "r": (1, 2)})).ops) == 2


def test_a_depthwise_that_is_no_norm_is_not_folded() -> None:
    depthwise = ops.DepthwiseConv2D("d1", ("y", "d", "c"), ("d1",), padding=(1, 1, 1, 1))
    assert len(fuse(graph(conv("x", "y"), depthwise)).ops) == 2
    assert len(fuse(graph(conv("x", "y"), norm("y", "n", stride=(2, 2)), shapes={"n": (1, 2, 2, 2)})).ops) == 2
    assert len(fuse(graph(conv("x", "y", activation="relu"), norm("y", "n"))).ops) == 2


def test_two_norms_are_folded_one_after_the_other() -> None:
    source = graph(conv("x", "y"), norm("y", "n"), norm("n", "o"))
    result = fuse(source)
    assert len(result.ops) == 1
    w, v = source.tensors["w"].data, source.tensors["v"].data
    np.testing.assert_allclose(result.tensors["w"].data, w * v * v, rtol=1e-6)  # type: ignore[arg-type,operator]


def test_mean_and_reshape_become_a_mean() -> None:
    mean = ops.Mean("m", ("x",), ("m",), axes=(2, 3), keepdims=True)
    chain = (mean, ops.Reshape("s", ("m",), ("s",), shape=(1, 2)))
    (op,) = fuse(graph(*chain, shapes={"m": (1, 2, 1, 1), "s": (1, 2)})).ops
    assert op == ops.Mean("s", ("x",), ("s",), axes=(2, 3), keepdims=False)


def test_two_reshapes_become_one() -> None:
    chain = (ops.Reshape("s", ("x",), ("s",), shape=(1, 2, 16)), ops.Reshape("t", ("s",), ("t",), shape=(1, 32)))
    (op,) = fuse(graph(*chain, shapes={"s": (1, 2, 16), "t": (1, 32)})).ops
    assert op == ops.Reshape("t", ("x",), ("t",), shape=(1, 32))


def test_what_no_output_needs_goes() -> None:
    (op,) = fuse(graph(conv("x", "y"), ops.Add("a", ("y", "x"), ("a",)), relu("x", "r"), relu("y", "s"), outputs=("s",))).ops
    assert op == conv("x", "s", activation="relu")


def test_padding_of_channels_stays() -> None:
    pad = ops.Pad("p", ("x",), ("p",), amounts=((0, 0), (0, 1), (0, 0), (0, 0)))
    chain = (pad, ops.Conv2D("y", ("p", "w", "b"), ("y",)))
    assert len(fuse(graph(*chain, shapes={"p": (1, 3, 4, 4)})).ops) == 2
