from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.quant import ops
from edgekd.quant.capture import capture
from edgekd.quant.freeze import freeze
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.passes.channels_first import channels_first
from edgekd.quant.passes.channels_last import channels_last
from edgekd.quant.prepare import QatModule
from edgekd.quant.reference import run
from edgekd.quant.scheme import Scheme


class Branches(nn.Module):
    """Every operator whose axes or constants depend on the layout."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, (3, 1), padding=(1, 0)), nn.Conv2d(3, 6, 1, groups=3)
        self.pad, self.depthwise = nn.ZeroPad2d((1, 0, 2, 0)), nn.Conv2d(10, 20, 3, groups=10)
        self.pool, self.head = nn.MaxPool2d(2), nn.Linear(20 * 3 * 2, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.depthwise(self.pad(torch.cat([self.a(x), self.b(x).relu()], 1)))
        return self.head(self.pool(x).flatten(1).relu())


SHAPE = (3, 6, 5)


def captured() -> tuple[nn.Module, QuantGraph]:
    torch.manual_seed(0)
    model = Branches().eval()
    return model, capture(model, SHAPE)


def test_computes_what_torch_computes() -> None:
    model, graph = captured()
    last = channels_last(graph)
    x = torch.randn(4, *SHAPE)
    found = run(last, x.permute(0, 2, 3, 1).numpy(), "float")[last.outputs[0]]
    np.testing.assert_allclose(found, model(x).detach().numpy(), rtol=1e-4, atol=1e-5)
    assert channels_last(last) is last


@pytest.mark.parametrize("scheme", [Scheme("float32"), Scheme(), Scheme(per_channel_weights=False)])
def test_round_trip(scheme: Scheme) -> None:
    """Back and forth again gives the same tensors, per-channel axes included."""
    last = freeze(QatModule(captured()[1], scheme))
    again = channels_last(channels_first(last))
    assert again.ops == last.ops and set(again.tensors) == set(last.tensors)
    for name, tensor in last.tensors.items():
        other = again.tensors[name]
        assert (other.shape, other.dtype) == (tensor.shape, tensor.dtype)
        if tensor.data is not None:
            np.testing.assert_array_equal(other.data, tensor.data)  # type: ignore[arg-type]
        if tensor.quantization is not None and other.quantization is not None:
            assert other.quantization.axis == tensor.quantization.axis


def float_graph(op: ops.Op, into: tuple[int, ...], out: tuple[int, ...]) -> QuantGraph:
    tensors = {"x": Tensor("x", "float32", into), op.name: Tensor(op.name, "float32", out)}
    return QuantGraph("case", "channels_first", tensors, (op,), ("x",), (op.name,))


@pytest.mark.parametrize(
    ("op", "into", "out", "moved"),
    [
        (ops.Mean("y", ("x",), ("y",), axes=(2,)), (1, 2, 3, 4), (1, 2, 4), 1),
        (ops.Softmax("y", ("x",), ("y",)), (1, 2, 3, 4), (1, 2, 3, 4), 2),
        (ops.Reshape("y", ("x",), ("y",), shape=(1, 2, 3, 4)), (1, 24), (1, 2, 3, 4), 1),
        (ops.Reshape("y", ("x",), ("y",), shape=(1, 24)), (1, 2, 3, 4), (1, 24), 1),
        (ops.Transpose("y", ("x",), ("y",), order=(0, 2, 3, 1)), (1, 2, 3, 4), (1, 3, 4, 2), 1),
    ],
)
def test_what_must_move_is_transposed(op: ops.Op, into: tuple[int, ...], out: tuple[int, ...], moved: int) -> None:
    graph = channels_last(float_graph(op, into, out))
    assert sum(isinstance(each, ops.Transpose) for each in graph.ops) == moved
    x = np.random.default_rng(0).normal(size=(3, *into[1:])).astype(np.float32)
    match op:
        case ops.Mean():
            expected = x.mean(2)
        case ops.Softmax():
            expected = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
        case ops.Transpose():
            expected = x.transpose(0, 2, 3, 1)
        case _:
            expected = x.reshape(3, *out[1:])
    found = run(graph, np.moveaxis(x, 1, -1) if x.ndim == 4 else x, "float")["y"]
    np.testing.assert_allclose(np.moveaxis(found, -1, 1) if found.ndim == 4 else found, expected, rtol=1e-5)


def test_a_flattened_image_read_by_a_sum() -> None:
    graph = channels_last(capture(Doubled().eval(), (2, 3, 4)))
    assert [type(op).__name__ for op in graph.ops] == ["Reshape", "Add", "Reshape", "Transpose", "Reshape"]


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.flatten(1)
        return y + y


def test_one_pixel_needs_no_order() -> None:
    graph = channels_last(capture(nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten()).eval(), (2, 3, 3)))
    assert [type(op).__name__ for op in graph.ops] == ["Conv2D", "Reshape"]
