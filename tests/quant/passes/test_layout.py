"""Random small graphs: what they compute stays, whatever their layout."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.passes.channels_first import channels_first
from edgekd.quant.passes.channels_last import channels_last
from edgekd.quant.passes.views import like, plain, regrouped
from edgekd.quant.reference import run


class Grown:
    """A channels-first graph that grows by operators drawn at random, each computed in NumPy as it is added."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw, self.rng = draw, np.random.default_rng(draw(st.integers(0, 99)))
        shape = (1, *(draw(st.integers(1, 4)) for _ in range(3)))
        self.tensors = {"x": Tensor("x", "float32", shape)}
        self.values = {"x": self.rng.normal(size=shape).astype(np.float32)}
        self.ops: list[ops.Op] = []

    def constant(self, shape: tuple[int, ...]) -> str:
        name = f"c{len(self.tensors)}"
        self.values[name] = self.rng.normal(size=shape).astype(np.float32)
        self.tensors[name] = Tensor(name, "float32", shape, data=self.values[name])
        return name

    def add(self, kind: type[ops.Op], inputs: tuple[str, ...], value: np.ndarray, **attributes: object) -> None:
        name = f"t{len(self.tensors)}"
        self.tensors[name] = Tensor(name, "float32", value.shape)
        self.values[name] = value.astype(np.float32)
        self.ops.append(kind(name, inputs, (name,), **attributes))

    def grow(self) -> None:
        made = [n for n, t in self.tensors.items() if not t.is_constant]
        x = self.draw(st.sampled_from([*made[-2:], made[-1], made[-1]]))
        getattr(self, "_" + self.draw(st.sampled_from(KINDS)))(x, self.values[x])

    def _relu(self, x: str, v: np.ndarray) -> None:
        self.add(ops.Relu, (x,), np.maximum(v, 0))

    def _transpose(self, x: str, v: np.ndarray) -> None:
        order = (0, *self.draw(st.permutations(range(1, v.ndim))))
        self.add(ops.Transpose, (x,), v.transpose(order), order=order)

    def _reshape(self, x: str, v: np.ndarray) -> None:
        rank, left, shape = self.draw(st.integers(1, 4)), v.size, [1]
        for _ in range(rank - 1):
            shape.append(self.draw(st.sampled_from([d for d in range(1, left + 1) if left % d == 0])))
            left //= shape[-1]
        shape.append(left)
        self.add(ops.Reshape, (x,), v.reshape(shape), shape=tuple(shape))

    def _conv(self, x: str, v: np.ndarray) -> None:
        if v.ndim != 4:
            return
        w = self.constant((3, v.shape[1], 1, 1))
        self.add(ops.Conv2D, (x, w), np.einsum("nchw,oc->nohw", v, self.values[w][:, :, 0, 0]))

    def _depthwise(self, x: str, v: np.ndarray) -> None:
        if v.ndim != 4:
            return
        w = self.constant((v.shape[1], 1, 1, 1))
        self.add(ops.DepthwiseConv2D, (x, w), v * self.values[w][None, :, 0])

    def _linear(self, x: str, v: np.ndarray) -> None:
        w = self.constant((self.draw(st.integers(1, 3)), v.shape[-1]))
        self.add(ops.FullyConnected, (x, w), v @ self.values[w].T)

    def _sum(self, x: str, v: np.ndarray) -> None:
        others = [n for n, u in self.values.items() if n != x and u.shape == v.shape]
        other = self.draw(st.sampled_from(others)) if others and self.draw(st.booleans()) else None
        if other is None:
            other = self.constant((1, *(self.draw(st.sampled_from([1, d])) for d in v.shape[1:])))
        pair = (x, other) if self.draw(st.booleans()) else (other, x)
        self.add(ops.Add, pair, v + self.values[other])

    def _scaled(self, x: str, v: np.ndarray) -> None:
        """By its own mean, broadcast."""
        self._mean(x, v, keepdims=True)
        small = self.ops[-1].outputs[0]
        self.add(ops.Mul, (x, small), v * self.values[small])

    def _mean(self, x: str, v: np.ndarray, keepdims: bool | None = None) -> None:
        axes = tuple(sorted(self.draw(st.sets(st.integers(1, v.ndim - 1), min_size=1)))) if v.ndim > 1 else ()
        keep = self.draw(st.booleans()) if keepdims is None else keepdims
        self.add(ops.Mean, (x,), v.mean(axes, keepdims=keep), axes=axes, keepdims=keep)
        if self.values[self.ops[-1].outputs[0]].ndim == 1:
            self._reshape(self.ops[-1].outputs[0], self.values[self.ops[-1].outputs[0]])

    def _concat(self, x: str, v: np.ndarray) -> None:
        axis = self.draw(st.integers(1, v.ndim - 1))
        self.add(ops.Concat, (x, x), np.concatenate([v, v], axis), axis=axis)

    def _softmax(self, x: str, v: np.ndarray) -> None:
        power = np.exp(v - v.max(-1, keepdims=True))
        self.add(ops.Softmax, (x,), power / power.sum(-1, keepdims=True))

    def _slice(self, x: str, v: np.ndarray) -> None:
        begin = (0, *(self.draw(st.integers(0, d - 1)) for d in v.shape[1:]))
        size = (1, *(self.draw(st.integers(1, d - b)) for d, b in zip(v.shape[1:], begin[1:], strict=True)))
        cut = v[tuple(slice(b, b + s) for b, s in zip(begin, size, strict=True))]
        self.add(ops.Slice, (x,), cut, begin=begin, size=size, step=(1,) * v.ndim)

    def _matmul(self, x: str, v: np.ndarray) -> None:
        if v.ndim < 3:
            return
        turn = self.draw(st.booleans())
        if turn:
            self.add(ops.BatchMatMul, (x, x), v @ np.swapaxes(v, -1, -2), adjoint_b=True)
        else:
            order = (*range(v.ndim - 2), v.ndim - 1, v.ndim - 2)
            self.add(ops.Transpose, (x,), v.transpose(order), order=order)
            self.add(ops.BatchMatMul, (x, self.ops[-1].outputs[0]), v @ v.transpose(order))

    def graph(self) -> QuantGraph:
        return QuantGraph("g", "channels_first", self.tensors, tuple(self.ops), ("x",), (self.ops[-1].outputs[0],))


KINDS = sorted(n[1:] for n in vars(Grown) if n.startswith("_") and not n.startswith("__"))


@st.composite
def grown(draw: st.DrawFn) -> Grown:
    made = Grown(draw)
    made._relu("x", made.values["x"])
    for _ in range(draw(st.integers(1, 9))):
        made.grow()
    return made


def turned(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, 1, -1) if x.ndim == 4 else x


@settings(max_examples=150, deadline=None, derandomize=True)
@given(grown())
def test_what_a_graph_computes_stays(made: Grown) -> None:
    graph = made.graph()
    last = channels_last(graph)
    x, want = made.values["x"], turned(made.values[graph.outputs[0]])
    found = run(last, np.ascontiguousarray(turned(x)), "float")
    assert list(found) == list(graph.outputs)
    np.testing.assert_allclose(found[graph.outputs[0]], want, rtol=1e-3, atol=1e-4)
    back = channels_last(channels_first(last))
    assert back.outputs == graph.outputs and back.inputs == graph.inputs
    np.testing.assert_allclose(run(back, np.ascontiguousarray(turned(x)), "float")[graph.outputs[0]], want, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "perm", "wanted", "axes"),
    [
        ((1, 3, 4, 5), (0, 2, 3, 1), (1, 60), ((), (1, 0))),
        ((1, 6, 4), None, (1, 2, 3, 4), ((), (0,), (1,), (2,))),
        ((1, 6, 4), None, (1, 8, 3), ((), (0,), (1,))),
        ((1, 6, 5), (0, 2, 1), (1, 10, 3), None),
    ],
)
def test_a_reshape_regroups_digits(
    shape: tuple[int, ...], perm: tuple[int, ...] | None, wanted: tuple[int, ...], axes: tuple[tuple[int, ...], ...] | None
) -> None:
    found = regrouped(plain("x", shape, perm), wanted)
    assert (found and found.axes) == axes


def test_a_constant_follows_a_flattened_image() -> None:
    view = regrouped(plain("x", (1, 2, 2, 2), (0, 2, 3, 1)), (1, 8))
    assert view is not None
    found = like(view, (1, 8), np.arange(8.0).reshape(1, 8))
    assert found is not None and found.ravel().tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
