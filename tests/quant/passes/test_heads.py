"""A student of several tasks has one head each, which answers what its rows of the whole did."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.errors import InputError
from edgekd.quant import ops, reference
from edgekd.quant.capture import capture
from edgekd.quant.freeze import freeze
from edgekd.quant.graph import QuantGraph
from edgekd.quant.outputs import joined, parts
from edgekd.quant.passes.heads import split_heads
from edgekd.quant.passes.prefix import needed
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme
from edgekd.students.sketch import Sketch
from tests.graph_cases import Builder

SIZES = {"digit": 4, "speaker": 3}


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.head = nn.Linear(6, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean((2, 3)))


def _convolution_last(kind: str) -> nn.Module:
    ends = {
        "flattened": (nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 7, 1), nn.Flatten()),
        "averaged": (nn.Conv2d(6, 7, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "normed": (nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 7, 1, bias=False), nn.BatchNorm2d(7), nn.Flatten()),
    }
    return nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), *ends[kind])


@pytest.mark.parametrize("kind", ["linear", "flattened", "averaged", "normed"])
def test_heads_answer_what_the_whole_did(kind: str) -> None:
    torch.manual_seed(0)
    model = (Linear() if kind == "linear" else _convolution_last(kind)).eval()
    graph = split_heads(capture(model, (1, 7, 7)), SIZES)  # as many columns as classes: channels are not mistaken for them
    assert graph.outputs == ("digit", "speaker")
    assert [graph.tensor(name).shape for name in graph.outputs] == [(1, 4), (1, 3)]
    assert sum(isinstance(op, (ops.FullyConnected, ops.Conv2D)) for op in graph.ops) == 3
    x = torch.randn(5, 1, 7, 7)
    with torch.no_grad():
        torch.testing.assert_close(QatModule(graph, Scheme())(x), model(x))


@pytest.mark.parametrize("scheme", [Scheme(), Scheme(symmetric_activations=True), Scheme(per_channel_weights=False), Scheme("float16")])
def test_each_head_learns_its_own_scale(scheme: Scheme) -> None:
    torch.manual_seed(0)
    model = Linear()
    with torch.no_grad():
        model.head.weight[4:] *= 30
    module = QatModule(split_heads(capture(model, (1, 8, 8)), SIZES), scheme)
    if scheme.is_integer:
        module.calibrate([torch.rand(64, 1, 8, 8) - 0.5])
    graph = freeze(module)
    assert graph.layout == "channels_last" and graph.outputs == ("digit", "speaker")
    x = np.random.default_rng(0).integers(-64, 64, (50, 8, 8, 1)).astype(np.int8)
    if not scheme.is_integer:
        found = reference.run(graph, x.astype(np.float32) / 128, "float")
        assert found["speaker"].shape == (50, 3)
        return
    scales = [graph.tensor(name).quantization.single[0] for name in graph.outputs]  # type: ignore[union-attr]
    assert scales[1] > 5 * scales[0]
    found = reference.run(graph, x, "xnnpack")
    whole = module(torch.from_numpy(x.astype(np.float32) / 128).permute(0, 3, 1, 2)).detach().numpy()
    for name, part in parts(graph).items():
        scale, zero = graph.tensor(name).quantization.single  # type: ignore[union-attr]
        assert (
            np.abs((found[name].astype(float) - zero) * scale - whole[:, part]).max() <= 3.01 * scale
        )  # the mean rounds, weights are large
    assert joined([found[name] for name in graph.outputs]).shape == (50, 7)


def test_a_frozen_graph_keeps_its_integers() -> None:
    builder = Builder(3).input((8, 8, 2)).conv(7, (3, 3), activation="relu").mean((1, 2)).fully_connected(7)
    whole = builder.graph()
    x = builder.images(40)
    found = reference.run(split_heads(whole, SIZES), x, "tflm")
    np.testing.assert_array_equal(joined([found["digit"], found["speaker"]]), reference.run(whole, x, "tflm")[whole.outputs[0]])


@pytest.mark.parametrize("scheme", [Scheme(), Scheme(symmetric_activations=True), Scheme(per_channel_weights=False)])
def test_heads_of_a_sketch_have_scales_apart(scheme: Scheme) -> None:
    drawn = Sketch(scheme, (8, 8, 1))
    name = drawn.linear("head", drawn.mean("pool", drawn.conv("stem", drawn.input, 6, kernel=3)), 7)
    graph = split_heads(drawn.finish("s", name), SIZES, alike=False)
    scales = {graph.tensor(name).quantization.single for name in graph.outputs}  # type: ignore[union-attr]
    assert len(scales) == 2
    if scheme.symmetric_activations:
        assert {zero for _, zero in scales} == {0}


def test_one_task_changes_nothing() -> None:
    graph = Builder().input((4, 4, 1)).mean((1, 2)).fully_connected(3).graph()
    assert split_heads(graph, {"": 3}) is graph


def test_a_tensor_that_is_called_as_a_task_gives_way() -> None:
    graph = Builder(1).input((4, 4, 2)).conv(3).mean((1, 2)).fully_connected(7).graph()
    made = split_heads(graph, {"x": 4, graph.ops[0].outputs[0]: 3})
    assert made.outputs == ("x", graph.ops[0].outputs[0])
    assert made.inputs == ("x_inner",)
    assert len(needed(made)) == len(made.ops) == 4


def test_graphs_that_do_not_end_in_rows_are_refused() -> None:
    def ends(build: Builder) -> QuantGraph:
        return build.graph()

    base = Builder(1).input((4, 4, 2)).conv(7).mean((1, 2)).fully_connected(7)
    with pytest.raises(InputError, match=r"answers \[\[1, 7\]\](?s:.*)\[1, 9\], the classes of digit, speaker"):
        split_heads(ends(base), {"digit": 4, "speaker": 5})
    with pytest.raises(InputError, match=r"ends with Softmax(?s:.*)a linear layer"):
        split_heads(ends(base.softmax()), SIZES)
    shared = Builder(1).input((4, 4, 2)).mean((1, 2)).fully_connected(7)
    logits = shared.last
    with pytest.raises(InputError, match="ends with"):
        split_heads(shared.add(logits).graph(), SIZES)


def test_what_an_output_depends_on() -> None:
    graph = split_heads(Builder(1).input((4, 4, 2)).conv(3).mean((1, 2)).fully_connected(7).graph(), SIZES)
    assert [op.outputs[0] for op in needed(graph, "speaker")][-1] == "speaker"
    assert len(needed(graph, "speaker")) == len(needed(graph)) - 1 == 3
