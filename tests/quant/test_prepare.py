from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from edgekd.quant import ops
from edgekd.quant.capture import capture
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme

SHAPE = (3, 8, 8)


class Net(nn.Module):
    """A residual sum, a concat of a rectified and another branch, pools that are rectified, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.a, self.b, self.head = nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.Conv2d(8, 4, 1), nn.Linear(20, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = x + self.a(x)
        y = torch.cat([y.relu(), self.b(y), x], 1)
        return self.head(nn.functional.max_pool2d(y, 2).relu().mean((2, 3)))


def made(scheme: Scheme = Scheme(), *, seed: int = 0) -> QatModule:  # noqa: B008 -- frozen
    torch.manual_seed(seed)
    return QatModule(capture(Net().eval(), SHAPE), scheme)


def images(n: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randint(-128, 128, (n, *SHAPE), generator=torch.Generator().manual_seed(seed)).float() / 128


def values(module: QatModule, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every activation, by recording what ``_activation`` returns."""
    found: dict[str, torch.Tensor] = {}
    plain = module._activation

    def record(op: ops.Op, y: torch.Tensor) -> torch.Tensor:
        found[op.outputs[0]] = plain(op, y)
        return found[op.outputs[0]]

    module._activation = record  # type: ignore[method-assign]
    with torch.no_grad():
        module(x)
    del module._activation
    return found


def test_float_mode_is_the_model() -> None:
    torch.manual_seed(0)
    model, module = Net().eval(), made()
    torch.testing.assert_close(module(images()), model(images()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scheme", [Scheme(), Scheme(symmetric_activations=True), Scheme(per_channel_weights=False)])
def test_quantized_values_lie_on_their_groups_grid(scheme: Scheme) -> None:
    module = made(scheme)
    before = module(images())
    module.calibrate([images(), images(seed=1)])
    for name, value in values(module, images()).items():
        index = module.group_of[name]
        low, high = module.levels(index)
        steps = value / torch.exp2(module.steps[index])
        torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-3)
        assert low <= steps.min() and steps.max() <= high + 1e-3, name
    assert (module(images()) - before).abs().max() < 0.1 * before.abs().max()


def test_symmetric_has_no_zero_point_and_asymmetric_rectified_begins_there() -> None:
    symmetric, asymmetric = made(Scheme(symmetric_activations=True)), made()
    for module in (symmetric, asymmetric):
        module.calibrate([images()])
    assert not symmetric.zero_points.any()
    for zero, group in zip(asymmetric.zero_points, asymmetric.groups, strict=True):
        if group.rectified:
            assert zero == -128


def test_a_rectifier_fused_into_a_max_pool_rectifies_in_every_mode() -> None:
    module = made()
    (pool,) = [op for op in module.graph.ops if isinstance(op, ops.MaxPool2D)]
    assert pool.activation == "relu"
    assert values(module, images())[pool.name].min() >= 0
    module.calibrate([images()])
    assert values(module, images())[pool.name].min() >= 0


def test_relu6_stops_at_six() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU6())
    nn.init.normal_(model[0].weight, std=20)  # type: ignore[arg-type]
    module = QatModule(capture(model, SHAPE), Scheme())
    module.calibrate([images()])
    with torch.no_grad():
        module.steps[1].add_(1)  # a grid that reaches further than 6
        assert 5.9 < module(images()).max() <= 6 + float(torch.exp2(module.steps[1])) / 2


def test_dead_activations_get_a_plain_step() -> None:
    module = made()
    with torch.no_grad():
        for name, value in module.values.items():
            if name.startswith(("conv2d_weight", "batch_norm")) or "bias" in name:
                value.zero_()
    module.calibrate([images()])
    assert float(torch.exp2(module.steps[1].detach())) == 1 / 128
    assert torch.isfinite(module(images())).all()


def test_every_learned_thing_has_a_gradient_and_fixed_steps_have_none() -> None:
    module = made()
    module.calibrate([images()])
    module(images()).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert not module.steps[0].requires_grad


def test_levels_follow_another_state() -> None:
    """The levels are kept after the first use; a state that is loaded brings zero points of its own."""
    module, other = made(), made(seed=1)
    for each in (module, other):
        each.calibrate([images()])
        each(images())
    other.zero_points += 3
    module.load_state_dict(copy.deepcopy(other.state_dict()))
    other._levels.clear()
    assert [module.levels(i) for i in range(len(module.groups))] == [other.levels(i) for i in range(len(other.groups))]
    assert torch.equal(module(images()), other(images()))


def test_ranges_are_seen_over_the_whole_image() -> None:
    """A plane of 16 x 16 must not be looked at in its first column alone."""
    module = QatModule(capture(nn.Conv2d(1, 1, 1), (1, 16, 16)), Scheme())
    with torch.no_grad():
        module.values["conv2d_weight"].fill_(1)
        module.values["conv2d_bias"].zero_()
    x = torch.zeros(4096, 1, 16, 16)
    x[..., 1:] = torch.linspace(-1, 1, 15)
    module.calibrate([x])
    assert float(torch.exp2(module.steps[1].detach())) == pytest.approx(2 / 255, rel=0.05)


def test_an_operator_without_bias_runs() -> None:
    from dataclasses import replace

    graph = capture(nn.Conv2d(3, 4, 1, bias=False), SHAPE)
    (op,) = graph.ops
    bare = replace(graph, ops=(replace(op, inputs=op.inputs[:2]),), tensors={n: t for n, t in graph.tensors.items() if n != op.inputs[2]})
    assert torch.equal(QatModule(bare, Scheme())(images()), QatModule(graph, Scheme())(images()))
