from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgekd.errors import InputError
from edgekd.quant.capture import capture
from tests.quant.captured import SHAPE, Lambda, kinds, same


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (nn.Conv2d(4, 6, 3, stride=2, padding=1), ["Conv2D"]),
        (nn.Conv2d(4, 6, (3, 2), padding=(1, 0), dilation=2, bias=False), ["Conv2D"]),
        (nn.Conv2d(4, 6, 3, groups=2), ["Conv2D"]),
        (nn.Conv2d(4, 6, 4, padding="same"), ["Conv2D"]),
        (nn.Conv2d(4, 6, 3, padding="valid"), ["Conv2D"]),
        (nn.Conv2d(4, 4, 3, groups=4), ["DepthwiseConv2D"]),
        (nn.Conv2d(4, 12, 3, groups=4, padding=1), ["DepthwiseConv2D"]),
        (nn.ReLU(), ["Relu"]),
        (nn.ReLU6(), ["Relu"]),
        (nn.ReLU6(inplace=True), ["Relu"]),
        (nn.Hardtanh(0, 6), ["Relu"]),
        (Lambda(lambda x: functional.relu6(x)), ["Relu"]),
        (Lambda(lambda x: x.clamp(min=0)), ["Relu"]),
        (Lambda(lambda x: x.clamp(0, 6)), ["Relu"]),
        (Lambda(lambda x: x + x.relu()), ["Relu", "Add"]),
        (Lambda(lambda x: torch.cat([x, x.relu()], 1)), ["Relu", "Concat"]),
        (Lambda(lambda x: torch.cat([x, x.relu()], -1)), ["Relu", "Concat"]),
        (nn.AvgPool2d(2), ["AveragePool2D"]),
        (nn.AvgPool2d(3, 2, 1, count_include_pad=False), ["AveragePool2D"]),
        (nn.MaxPool2d(3, 2, 1), ["MaxPool2D"]),
        (nn.MaxPool2d((2, 1)), ["MaxPool2D"]),
        (nn.AdaptiveAvgPool2d(1), ["Mean"]),
        (nn.AdaptiveAvgPool2d((4, 2)), ["AveragePool2D"]),
        (nn.AdaptiveMaxPool2d(1), ["ReduceMax"]),
        (nn.AdaptiveMaxPool2d((4, 2)), ["MaxPool2D"]),
        (Lambda(lambda x: functional.adaptive_max_pool1d(x.flatten(2), 1)), ["Reshape", "ReduceMax", "Reshape"]),
        (Lambda(lambda x: x.mean((2, 3))), ["Mean"]),
        (Lambda(lambda x: x.mean((-1, -2), keepdim=True)), ["Mean"]),
        (Lambda(lambda x: x.mean((2, 3)).softmax(-1)), ["Mean", "Softmax"]),
        (nn.Sigmoid(), ["Logistic"]),
        (Lambda(lambda x: x.float().contiguous().sigmoid()), ["Logistic"]),
        (nn.ZeroPad2d((1, 0, 2, 3)), ["Pad"]),
        (Lambda(lambda x: functional.pad(x, (1, 1))), ["Pad"]),
        (nn.BatchNorm2d(4), ["DepthwiseConv2D"]),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)), ["Mean", "FullyConnected"]),
        (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3, bias=False)), ["Mean", "FullyConnected"]),
        (nn.Sequential(nn.Flatten(), nn.Linear(256, 3)), ["Reshape", "FullyConnected"]),
        (nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.ReLU(), nn.Linear(64, 3)), ["MaxPool2D", "Reshape", "FullyConnected"]),
        (Lambda(lambda x, f: f(x.mean((2, 3), keepdim=True).squeeze(-1).squeeze(-1)), nn.Linear(4, 3)), ["Mean", "FullyConnected"]),
    ],
)  # fmt: skip
def test_operator(model: nn.Module, expected: list[str]) -> None:
    graph = same(model)
    assert [k for k in kinds(graph) if k != "Relu"] == [k for k in expected if k != "Relu"]
    assert ("Relu" in expected) <= ("Relu" in kinds(graph))


@pytest.mark.parametrize("eps", [1e-5, 1e-3, 0.5])
def test_norm_after_convolution_is_folded_with_its_own_eps(eps: float) -> None:
    model = nn.Sequential(nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6, eps=eps), nn.ReLU6(inplace=True))
    graph = same(model)
    assert kinds(graph) == ["Conv2D"]
    assert graph.ops[0].activation == "relu6"  # type: ignore[attr-defined]


def test_norm_without_parameters_is_folded() -> None:
    assert kinds(same(nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, affine=False)))) == ["Conv2D"]


def test_norm_after_linear_is_folded() -> None:
    graph = same(nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)), (4,))
    assert kinds(graph) == ["FullyConnected", "FullyConnected"]


def test_norm_after_the_activation_stays() -> None:
    assert kinds(same(nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.BatchNorm2d(6)))) == ["Conv2D", "DepthwiseConv2D"]


def test_norm_before_the_activation_of_another_branch_stays() -> None:
    model = Lambda(lambda x, c, n: n(y := c(x)) + y, nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    assert kinds(same(model)) == ["Conv2D", "DepthwiseConv2D", "Add"]


def test_relu_in_place_after_a_residual_branch() -> None:
    """The addend is the rectified tensor, not the one before."""
    model = Lambda(lambda x, a, b: b(functional.relu_(y := a(x))) + y, nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
    graph = same(model)
    assert kinds(graph) == ["Conv2D", "Conv2D", "Add"]
    assert graph.ops[0].activation == "relu"  # type: ignore[attr-defined]


def test_in_place_through_dropout_but_not_through_clone() -> None:
    same(Lambda(lambda x, c, d: functional.relu_(d(y := c(x))) + y, nn.Conv2d(4, 4, 1), nn.Dropout(0.5)))
    same(Lambda(lambda x, c: functional.relu_((y := c(x)).clone()) + y, nn.Conv2d(4, 4, 1)))


def test_what_a_view_overwrote_is_refused() -> None:
    def forward(x: torch.Tensor, c: nn.Module, f: nn.Module) -> torch.Tensor:
        y = c(x)
        functional.relu_(y.flatten(1))
        return f(y.flatten(1))

    with pytest.raises(InputError, match="is read after a view of it was overwritten"):
        capture(Lambda(forward, nn.Conv2d(4, 4, 1), nn.Linear(256, 2)).eval(), SHAPE)


def test_dropout_is_gone() -> None:
    assert kinds(same(nn.Sequential(nn.Conv2d(4, 4, 1), nn.Dropout(0.5), nn.ReLU()))) == ["Conv2D"]


def test_asymmetric_padding_is_folded() -> None:
    graph = same(nn.Sequential(nn.ZeroPad2d((0, 1, 2, 3)), nn.Conv2d(4, 6, 3, padding=1)))
    assert kinds(graph) == ["Conv2D"]
    assert graph.ops[0].padding == (3, 4, 1, 2)  # type: ignore[attr-defined]


def test_the_mode_of_the_module_and_its_weights_stay_its_own() -> None:
    model = nn.Conv2d(4, 6, 1).train()
    graph = capture(model, SHAPE)
    before = {n: t.data.copy() for n, t in graph.tensors.items() if t.data is not None}
    assert model.training
    nn.init.zeros_(model.weight)
    assert all(np.array_equal(graph.tensors[n].data, v) for n, v in before.items())  # type: ignore[arg-type]
