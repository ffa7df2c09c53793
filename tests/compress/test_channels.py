"""Channels that leave: shapes, counts, what is left computes what it did, and integers are the same everywhere."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgekd import lazy
from edgekd.compress.channels import Rule, channels, cut, module_macs
from edgekd.compress.couple import coupling
from edgekd.compress.shape import like
from edgekd.errors import InputError
from edgekd.export import EXPORTERS
from edgekd.quant import size
from edgekd.quant.capture import capture
from edgekd.quant.reference import run
from edgekd.quant.scheme import Scheme
from edgekd.runtimes import RUNTIMES
from tests.compress_nets import NETS, ON_BOARDS, SIDE, Net, Residual, conv, example, images, net
from tests.frozen_students import frozen


def losses(module: nn.Module) -> Iterator[torch.Tensor]:
    for seed in (1, 2):
        yield functional.cross_entropy(module(images(8, seed)), torch.arange(8) % 5)


@pytest.mark.parametrize("name", NETS)
def test_macs_are_those_that_the_captured_graph_has(name: str) -> None:
    module = net(name)
    assert module_macs(module, example()) == size.macs(capture(module, (3, SIDE, SIDE)))


@pytest.mark.parametrize("name", NETS)
def test_a_pruned_net_computes_what_is_left_of_it(name: str) -> None:
    """``channels`` itself compares it with the original that no longer reads what was removed; here also what came out is counted."""
    module = net(name)
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    whole = module_macs(module, example())
    most = round(whole * (0.85 if name in ("shuffled", "attending") else 0.5))
    made = channels(module, example(), macs=most, rule=Rule(multiple=2))
    assert 0.7 * most <= module_macs(made, example()) <= most
    assert made(images(3)).shape == (3, 5) and torch.isfinite(made(images(3))).all()
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items()), "the original has changed"
    for layer in made.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.shape == (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.num_features == len(layer.weight) == len(layer.running_mean)
    made.train()(images(4)).sum().backward()


def test_units_of_a_residual_net() -> None:
    known = coupling(net("residual"), example())
    # The inner layer of the first block; the stem with what is added to it; both addends of the second.
    assert sorted(len(bundle) for bundle in known.bundles) == [16, 16, 32]
    assert np.array_equal(known.units["stem.0.weight", 0], known.units["two.0.weight", 0])
    assert np.array_equal(known.units["stem.0.weight", 0], known.units["one.0.weight", 1])
    assert np.array_equal(known.units["across.0.weight", 0], known.units["head.weight", 1])
    assert not known.units["head.weight", 0].any() and not known.units["stem.0.weight", 1].any(), "classes and colours stay"


def test_units_through_flatten_concat_groups_and_chunk() -> None:
    plain = coupling(net("plain"), example())
    assert np.array_equal(plain.units["head.weight", 1], np.repeat(plain.units["second.0.weight", 0], 9))
    concat = coupling(net("concat"), example())
    parts = [concat.units["left.0.weight", 0], concat.units["right.0.weight", 0]]
    assert np.array_equal(concat.units["after.0.weight", 1], np.concatenate(parts))
    groups = coupling(net("groups"), example())
    assert np.array_equal(groups.units["grouped.0.weight", 0], np.tile(groups.units["grouped.0.weight", 0][:8], 4))
    upward = coupling(net("upward"), example())
    assert np.array_equal(upward.units["halves.0.weight", 0][:16], upward.units["halves.0.weight", 0][16:])


def test_what_a_reshape_takes_apart_stays() -> None:
    known = coupling(net("shuffled"), example())
    assert not known.units["stem.0.weight", 0].any() and known.units["inside.0.weight", 0].all()
    attending = coupling(net("attending"), example())
    assert [len(bundle) for bundle in attending.bundles] == [64]


@pytest.mark.parametrize("importance", ["l2", "bn_scale", "taylor"])
@pytest.mark.parametrize("spread", ["even", "importance"])
def test_the_least_important_channels_leave(importance: str, spread: str) -> None:
    module = net("residual")
    assert isinstance(module, Residual)
    dead = [1, 4, 7, 8, 11, 13, 14, 15]
    with torch.no_grad():  # eight channels say next to nothing, whatever is asked
        module.one[1].weight[dead] *= 1e-4  # type: ignore[index, operator]
        module.one[1].bias[dead] *= 1e-4  # type: ignore[index, operator]
        module.one[0].weight[dead] *= 1e-4  # type: ignore[index, operator]
        module.two[0].weight[:, dead] *= 1e-4  # type: ignore[index, operator]
    rule = Rule(importance, spread, 2)
    whole = module_macs(module, example())
    made = channels(module, example(), macs=round(0.75 * whole), rule=rule, losses=losses)
    left = made.one[0].weight  # type: ignore[index, union-attr]
    norms, gone = left.flatten(1).norm(dim=1), 16 - len(left)
    assert gone >= 2 and int((norms < 1e-2).sum()) == max(0, 8 - gone), "what says something left before what says nothing"


def test_even_shapes_do_not_depend_on_weights() -> None:
    first, second = net("depthwise"), net("depthwise")
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.copy_(torch.randn_like(parameter))
    most = module_macs(first, example()) // 2
    shapes = [{k: v.shape for k, v in channels(m, example(), macs=most).state_dict().items()} for m in (first, second)]
    assert shapes[0] == shapes[1]


def test_a_fresh_module_takes_the_shapes_of_a_checkpoint() -> None:
    module = net("depthwise")
    made = channels(module, example(), macs=module_macs(module, example()) // 2)
    again = like(net("depthwise"), made.state_dict())
    again.load_state_dict(made.state_dict())
    assert torch.equal(again.eval()(images(2)), made(images(2)))
    assert like(module, module.state_dict()) is module


def test_one_unit_alone() -> None:
    """Cut by hand, against the same net whose classifier does not read the channel."""
    module = net("plain")
    known = coupling(module, example())
    kept = np.ones(known.count, bool)
    kept[known.units["second.0.weight", 0][5]] = False
    made = cut(module, known, kept, example())
    silent = copy.deepcopy(module)
    silent.head.weight.data[:, 45:54] = 0  # type: ignore[union-attr, index]
    torch.testing.assert_close(made(images(2)), silent(images(2)), rtol=1e-4, atol=1e-4)


class Counted(Net):
    """Code that has a size in it."""

    def __init__(self) -> None:
        super().__init__(16)
        self.second = conv(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(self.stem(x)).mean((2, 3))
        return self.head(y.view(-1, 16))


def test_what_cannot_be_pruned_is_said() -> None:
    module = net("residual")
    whole = module_macs(module, example())
    with pytest.raises(InputError, match=r"are left where every layer keeps 10%"):
        channels(module, example(), macs=whole // 1000)
    with pytest.raises(InputError, match=r"with fewer channels the module does not work"):
        channels(Counted().eval(), example(), macs=module_macs(Counted(), example()) // 2)
    with pytest.raises(InputError, match=r"no channels can be removed"):
        channels(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 5)), example(), macs=10)
    with pytest.raises(InputError, match=r"scaled by no batch norm"):
        channels(net("depthwise"), example(), macs=whole // 9, rule=Rule("bn_scale"))
    with pytest.raises(InputError, match=r"no samples to take gradients of"):
        channels(module, example(), macs=whole // 2, rule=Rule("taylor"))
    with pytest.raises(InputError, match=r"importance = 'l3'"):
        Rule("l3")
    with pytest.raises(InputError, match=r"spread = 'odd'"):
        Rule(spread="odd")
    assert module_macs(channels(module, example(), macs=whole), example()) == whole


@pytest.mark.parametrize("name", ON_BOARDS)
def test_pruned_quantized_and_the_same_everywhere(name: str, tmp_path: Path) -> None:
    module = net(name)
    made = channels(module, example(), macs=module_macs(module, example()) // 2)
    same_everywhere(made, tmp_path)


@pytest.mark.slow
def test_mobilenet_of_transformers(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    module = net("mobilenet_v2")
    whole = module_macs(module, example())
    for rule in (Rule("bn_scale", "importance"), Rule("taylor")):
        made = channels(module, example(), macs=whole // 2, rule=rule, losses=losses)
        assert 0.44 <= module_macs(made, example()) / whole <= 0.5
    same_everywhere(made, tmp_path)


def same_everywhere(module: nn.Module, folder: Path) -> None:
    """Quantized, exported, and run by TFLM and LiteRT: the reference's integers, bit for bit."""
    graph = frozen(module, (3, SIDE, SIDE), Scheme())
    artifact = lazy.load(EXPORTERS["tflite"])(graph, folder)
    given = np.rint(images(6, 3).numpy().transpose(0, 2, 3, 1) * 128).astype(np.int8)
    for profile, runtime in (("tflm", "tflm"), ("litert_ref", "litert_ref"), ("xnnpack", "litert_xnnpack")):
        expected = run(graph, given, profile)[graph.outputs[0]]
        found = lazy.load(RUNTIMES[runtime])(folder / artifact.path, threads=1).run(given)
        assert np.array_equal(found, expected), runtime
    assert len(np.unique(expected)) >= 5
