from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgekd.errors import InputError
from edgekd.quant.capture import capture
from edgekd.quant.freeze import freeze
from edgekd.quant.graph import QuantGraph
from edgekd.quant.prepare import QatModule
from edgekd.quant.reference import PROFILES, run
from edgekd.quant.scheme import Scheme

SHAPE = (3, 8, 8)
SCHEMES = [Scheme(), Scheme(symmetric_activations=True), Scheme(per_channel_weights=False)]


class Net(nn.Module):
    """One small network for each ``kind`` of thing that is frozen."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6() if kind == "relu6" else nn.ReLU())
        self.a, self.b, self.c = nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.Conv2d(8, 8, 1), nn.Linear(8, 5)
        if kind == "mean_relu":  # of few values above zero the grid would be finer than that of the mean before
            nn.init.uniform_(self.b.bias, 0.3, 1)  # type: ignore[arg-type]
        self.flat = nn.Linear(8 * 16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        match self.kind:
            case "concat":
                return torch.cat([self.a(x).relu(), self.b(x)], 1)
            case "concat_relu":
                return torch.cat([self.a(x), self.b(x)], 1).relu()
            case "pools":
                return functional.max_pool2d(functional.avg_pool2d(self.a(x), 3, 1, 1, count_include_pad=False), 2).relu()
            case "sum":
                return (x + self.a(x)).relu() + self.b(x)
            case "flatten":
                return self.flat(self.a(x).flatten(1))
            case "mean_relu":
                return self.b(x).mean((2, 3)).relu()
            case "softmax":
                return self.c(x.mean((2, 3))).softmax(-1)
            case "logistic":
                return self.b(x).sigmoid()
            case _:
                return self.c(self.b(x).mean((2, 3)))


def images(n: int = 16) -> np.ndarray:
    """int8 [n, H, W, C]: what a device would feed."""
    return np.random.default_rng(0).integers(-128, 128, (n, *SHAPE[1:], SHAPE[0])).astype(np.int8)


def student_input(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x.astype(np.float32) / 128).permute(0, 3, 1, 2)


def trained(kind: str, scheme: Scheme) -> QatModule:
    """Calibrated, and then moved as training would move it."""
    torch.manual_seed(0)
    module = QatModule(capture(Net(kind).eval(), SHAPE), scheme)
    module.calibrate([student_input(images(64))])
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator) * parameter.abs().mean().clamp(max=1)
    return module


def integers(module: QatModule, graph: QuantGraph, x: np.ndarray) -> np.ndarray:
    """The module's outputs as the integers that they stand for, channels last."""
    with torch.no_grad():
        y = module(student_input(x)).numpy()
    found = graph.tensor(graph.outputs[0]).quantization
    assert found is not None
    y = np.moveaxis(y, 1, -1) if y.ndim == 4 else y
    return np.rint(y / np.float32(found.single[0])).astype(int) + found.single[1]


@pytest.mark.parametrize("scheme", SCHEMES, ids=["asymmetric", "symmetric", "per_tensor"])
@pytest.mark.parametrize("kind", ["relu6", "concat", "concat_relu", "pools", "sum", "flatten", "mean_relu", "head", "softmax", "logistic"])
def test_every_profile_computes_what_was_trained(kind: str, scheme: Scheme) -> None:
    module = trained(kind, scheme)
    graph = freeze(module)
    x = images()
    expected = integers(module, graph, x)
    assert len(np.unique(expected)) > 5
    if scheme.symmetric_activations and kind in ("softmax", "logistic"):
        return  # no TFLite runtime computes these at another scale than 1/256; see test_probabilities
    for profile in PROFILES:
        difference = np.abs(run(graph, x, profile)[graph.outputs[0]] - expected)
        assert difference.max() <= 2 and (difference <= 1).mean() > 0.99, (profile, np.bincount(difference.ravel()))


@pytest.mark.parametrize("kind", ["softmax", "logistic"])
def test_probabilities_have_the_prescribed_scale(kind: str) -> None:
    for symmetric, expected in ((False, (1 / 256, -128)), (True, (float(np.float32(1 / 127)), 0))):
        graph = freeze(trained(kind, Scheme(symmetric_activations=symmetric)))
        found = graph.tensor(graph.outputs[0]).quantization
        assert found is not None and found.single == expected


@pytest.mark.parametrize("scheme", SCHEMES, ids=["asymmetric", "symmetric", "per_tensor"])
def test_constants_are_as_the_runtimes_want_them(scheme: Scheme) -> None:
    graph = freeze(trained("sum", scheme))
    for op in graph.ops:
        if len(op.inputs) < 3:
            continue
        x, weight, bias = (graph.tensor(n) for n in op.inputs)
        assert x.quantization is not None and weight.quantization is not None and bias.quantization is not None
        assert (weight.dtype, bias.dtype) == ("int8", "int32")
        assert weight.data is not None and weight.data.min() >= -127 and not weight.quantization.zero_point.any()
        assert (weight.quantization.axis is not None) == scheme.per_channel_weights
        np.testing.assert_array_equal(bias.quantization.scale, np.float32(x.quantization.single[0]) * weight.quantization.scale)
    symmetric = {t.quantization.single[1] for t in graph.tensors.values() if not t.is_constant and t.quantization}
    assert not scheme.symmetric_activations or symmetric == {0}


@pytest.mark.parametrize("numeric", ["float16", "float32"])
def test_float_schemes(numeric: str) -> None:
    torch.manual_seed(0)
    model = Net("flatten").eval()
    graph = freeze(QatModule(capture(model, SHAPE), Scheme(numeric)))  # type: ignore[arg-type]
    assert {t.dtype for t in graph.tensors.values() if t.is_constant} == {numeric}
    x = student_input(images())
    found = run(graph, x.permute(0, 2, 3, 1).numpy(), "float")[graph.outputs[0]]
    with torch.no_grad():
        np.testing.assert_allclose(found, model(x).numpy(), atol=1e-5 if numeric == "float32" else 5e-3)


def test_weights_beyond_float16() -> None:
    module = QatModule(capture(Net("head"), SHAPE), Scheme("float16"))
    module.values["linear_bias"].data[0] = 1e5
    with pytest.raises(InputError, match=r"linear_bias reaches 100000"):
        freeze(module)


def test_an_output_that_is_read_as_well() -> None:
    module = trained("sum", Scheme())
    inner = module.graph.ops[0].outputs[0]
    graph = freeze(module)
    more = replace(graph, outputs=(*graph.outputs, inner))
    found = run(more, images(), "tflm")
    assert set(found) == set(more.outputs)
    np.testing.assert_array_equal(found[graph.outputs[0]], run(graph, images(), "tflm")[graph.outputs[0]])


def test_an_operator_without_bias() -> None:
    graph = capture(nn.Conv2d(3, 4, 1, bias=False), SHAPE)
    (op,) = graph.ops
    bare = replace(graph, ops=(replace(op, inputs=op.inputs[:2]),), tensors={n: t for n, t in graph.tensors.items() if n != op.inputs[2]})
    module = QatModule(bare, Scheme())
    module.calibrate([student_input(images())])
    frozen = freeze(module)
    assert len(frozen.ops[0].inputs) == 2
    assert np.abs(run(frozen, images(), "tflm")[frozen.outputs[0]] - integers(module, frozen, images())).max() <= 1


@pytest.mark.parametrize("weights", [0.0, 1e-30, 1e-9])
def test_a_channel_without_weights_keeps_its_bias(weights: float) -> None:
    """Weight decay does that to channels whose norm has died: at the step of such weights, no bias fits 32 bits."""
    torch.manual_seed(0)
    graph = capture(nn.Conv2d(3, 4, 3), SHAPE)
    module = QatModule(graph, Scheme())
    with torch.no_grad():
        module.values["conv2d_weight"][1] = weights
        module.values["conv2d_bias"][1] = 2.5
        module.weight_steps["conv2d_weight"][1] = -60.0
    module.calibrate([student_input(images())])
    frozen = freeze(module)
    for profile in PROFILES:
        difference = np.abs(run(frozen, images(), profile)[frozen.outputs[0]] - integers(module, frozen, images()))
        assert difference.max() <= 1, profile


def test_a_dead_layer_freezes() -> None:
    module = QatModule(capture(Net("head").eval(), SHAPE), Scheme())
    with torch.no_grad():
        for name in ("conv2d_weight", "conv2d_bias"):
            module.values[name].zero_()
    module.calibrate([student_input(images())])
    frozen = freeze(module)
    assert np.abs(run(frozen, images(), "xnnpack")[frozen.outputs[0]] - integers(module, frozen, images())).max() <= 1


def test_an_output_step_that_has_become_too_small() -> None:
    module = trained("head", Scheme())
    with torch.no_grad():
        module.steps[module.group_of[module.graph.outputs[0]]].fill_(-40.0)
    with pytest.raises(InputError, match=r"multiplies its sums by .* has become too small"):
        freeze(module)


def test_a_bias_beyond_32_bits_per_tensor() -> None:
    module = trained("head", Scheme(per_channel_weights=False))
    with torch.no_grad():
        module.values["linear_bias"][0] = 1e7
    with pytest.raises(InputError, match=r"the bias of linear does not fit 32 bits at scale"):
        freeze(module)


@pytest.mark.parametrize("what", ["linear_weight", "linear_bias"])
def test_what_is_not_finite(what: str) -> None:
    module = trained("head", Scheme())
    module.values[what].data.view(-1)[0] = float("nan")
    with pytest.raises(InputError, match=rf"values.{what} is not finite"):
        freeze(module)
