"""Counts of steps between weighted operators: which tensors they are, and that nothing but the arithmetic's order depends on it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from edgekd.quant import ops
from edgekd.quant.capture import capture, capture_paths
from edgekd.quant.chains import chained
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme

SHAPE = (3, 8, 8)


class Net(nn.Module):
    """Depthwise, pooled and linear layers in a row; a residual sum; a rectifier that stops at six."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.ReLU(), nn.MaxPool2d(2))
        self.six = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.ReLU6())
        self.branch = nn.Sequential(nn.Conv2d(8, 12, 1), nn.ReLU(), nn.Conv2d(12, 8, 1))
        self.head = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.six(self.stem(x))
        x = x + self.branch(x)
        return self.head(x.mean((2, 3)))


def calibrated(scheme: Scheme) -> QatModule:
    torch.manual_seed(0)
    graph, paths = capture_paths(Net().eval(), SHAPE)
    module = QatModule(graph, scheme, paths)
    module.calibrate([images(16)])
    return module


def images(n: int) -> torch.Tensor:
    return torch.randint(-128, 128, (n, *SHAPE), generator=torch.Generator().manual_seed(0)).float() / 128


def gradients(module: QatModule, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of everything that is learned, and the answers."""
    answers = module(x)
    module.zero_grad()
    (answers * torch.linspace(-1, 1, answers.numel(), dtype=x.dtype).reshape(answers.shape)).sum().backward()
    found = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    return {**found, "": answers.detach()}


def test_what_only_weighted_operators_write_and_read_is_chained() -> None:
    graph = capture(Net().eval(), SHAPE)
    found = [type(op) for op in graph.ops if op.outputs[0] in chained(graph)]
    # The stem's two, and their pool; the branch's first; the head's first. Not what stops at six, is added, averaged or the answer.
    assert found == [ops.Conv2D, ops.DepthwiseConv2D, ops.MaxPool2D, ops.Conv2D, ops.FullyConnected]


@pytest.mark.parametrize("scheme", [Scheme(), Scheme(symmetric_activations=True), Scheme(per_channel_weights=False)])
def test_in_double_precision_answers_and_gradients_are_those_of_fake_quantizers(scheme: Scheme) -> None:
    module = calibrated(scheme).double()
    with torch.no_grad():  # some values are clipped
        for step in module.steps:
            step -= 0.7 * step.requires_grad
    plain = copy.deepcopy(module)
    plain.chained = frozenset()
    expected, found = gradients(plain, images(8).double()), gradients(module, images(8).double())
    assert len(module.chained) == 5 and expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


def test_the_gradient_of_a_bias_is_what_autograd_finds() -> None:
    module = calibrated(Scheme())
    module.mode = "float"
    x = images(4)
    found, name = gradients(module, x), next(op.inputs[2] for op in module.graph.ops if isinstance(op, ops.DepthwiseConv2D))
    for sign in (1, -1):  # of the difference quotient, in double precision
        moved = copy.deepcopy(module).double()
        with torch.no_grad():
            moved.values[name][0] += sign * 1e-6
            answers = moved(x.double())
        total = (answers * torch.linspace(-1, 1, answers.numel(), dtype=torch.float64).reshape(answers.shape)).sum()
        found[f"total{sign}"] = total
    quotient = (found["total1"] - found["total-1"]) / 2e-6
    torch.testing.assert_close(found[f"values.{name}"][0].double(), quotient, rtol=1e-3, atol=1e-4)


def test_in_single_precision_answers_differ_by_a_rounding() -> None:
    module = calibrated(Scheme())
    plain = copy.deepcopy(module)
    plain.chained = frozenset()
    with torch.no_grad():
        torch.testing.assert_close(module(images(8)), plain(images(8)), rtol=0.05, atol=0.05 * float(plain(images(8)).abs().max()))


def test_what_is_tapped_has_its_values() -> None:
    module = calibrated(Scheme())
    module.watched = ("stem.0", "branch.1")
    plain = copy.deepcopy(module)
    plain.chained = frozenset()
    with torch.no_grad():
        for one in (module, plain):
            one(images(4))
    assert set(module.kept) == set(module.watched)
    for path in module.watched:
        torch.testing.assert_close(module.kept[path], plain.kept[path], rtol=1e-3, atol=1e-2)


def test_float_mode_has_values_everywhere() -> None:
    module = calibrated(Scheme())
    module.mode = "float"
    plain = copy.deepcopy(module)
    plain.chained = frozenset()
    with torch.no_grad():
        assert torch.equal(module(images(4)), plain(images(4)))
