from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from edgekd.errors import DoesNotFit
from edgekd.export.tflite import encode
from edgekd.quant import arena, ops, sixteen_bits
from edgekd.quant.capture import capture
from edgekd.quant.freeze import freeze
from edgekd.quant.graph import QuantGraph
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme
from edgekd.quant.sensitivity import LEFT, activation_divergences, candidates, choose, choose_activations, divergences
from edgekd.records import BudgetUse
from tests.quant.test_freeze import SHAPE, Net, images
from tests.shape_cases import differences

EIGHT = Scheme()


def calibrated(scheme: Scheme = EIGHT) -> QatModule:
    torch.manual_seed(0)
    module = QatModule(capture(Net("flatten").eval(), SHAPE), scheme)
    module.calibrate([real()])
    return module


def real(n: int = 32) -> torch.Tensor:
    return torch.from_numpy(images(n).astype(np.float32) / 128).permute(0, 3, 1, 2)


def size_of(names: tuple[str, ...]) -> int:
    return len(encode(freeze(calibrated(Scheme(four_bits=names)))))


def bytes_of(graph: QuantGraph) -> int:
    return len(encode(graph))


def test_a_divergence_is_that_of_a_module_with_that_layer_in_four_bits() -> None:
    module = calibrated()
    found = divergences(module, real())
    names = [op.name for op in module.graph.ops if isinstance(op, ops.Conv2D | ops.FullyConnected)]
    assert list(found) == names == [op.name for op in candidates(module.graph)] and len(names) >= 2
    before = functional.softmax(module(real()), -1)
    for name in names:
        other = calibrated(Scheme(four_bits=(name,)))
        with torch.no_grad():  # the same steps of activations: weights alone differ
            for step, own in zip(other.steps, module.steps, strict=True):
                step.copy_(own)
            other.zero_points.copy_(module.zero_points)  # type: ignore[operator]
            other._levels.clear()
        after = functional.softmax(other(real()), -1)
        by_hand = float((before * (before / after).log()).sum(-1).mean().detach())
        assert found[name] == pytest.approx(by_hand, rel=1e-3, abs=1e-7) and found[name] >= -1e-7
    assert module.scheme == Scheme() and torch.equal(functional.softmax(module(real()), -1), before)


def test_layers_are_taken_until_the_file_fits() -> None:
    module = calibrated()
    whole, least = size_of(()), size_of(tuple(op.name for op in candidates(module.graph)))
    assert choose(module, real(), whole, bytes_of).four_bits == ()
    some = choose(module, real(), (whole + least) // 2, bytes_of)
    assert some.four_bits and some.figures["model_bytes"].value == size_of(some.four_bits) <= (whole + least) // 2
    assert size_of(some.four_bits[:-1]) > (whole + least) // 2
    first = min(some.divergence, key=lambda name: some.divergence[name] / module.values[weight_of(module, name)].numel())
    assert some.four_bits[0] == first
    with pytest.raises(DoesNotFit, match=rf"{least:,} B with all \d+ layers in 4 bits"):
        choose(module, real(), least - 1, bytes_of)


def weight_of(module: QatModule, name: str) -> str:
    return next(op.inputs[1] for op in module.graph.ops if op.name == name)


def test_mixed_bits_are_computed_alike_in_every_runtime(tmp_path: Path) -> None:
    names = [op.name for op in candidates(calibrated().graph)]
    for n, chosen in enumerate(([names[0]], names[1:])):
        graph = freeze(calibrated(Scheme(four_bits=tuple(chosen))))
        found = {op.name: graph.tensor(op.inputs[1]).dtype for op in graph.ops if isinstance(op, ops.Conv2D | ops.FullyConnected)}
        assert {name for name, dtype in found.items() if dtype == "int4"} == set(chosen)
        (tmp_path / str(n)).mkdir()
        assert not (differing := differences(graph, images(32), tmp_path / str(n))), differing


def test_a_scheme_of_four_bits_everywhere_is_what_all_names_are() -> None:
    names = tuple(op.name for op in candidates(calibrated().graph))
    mixed, four = (freeze(calibrated(scheme)) for scheme in (Scheme(four_bits=names), replace(Scheme(), weight_bits=4)))
    assert encode(mixed) == encode(four)


def ram(limit: float) -> Callable[[QuantGraph], list[BudgetUse]]:
    return lambda graph: [BudgetUse("peak_ram_bytes", arena.arena_total(graph), limit, "B", "a test")]


@torch.no_grad()
def test_what_8_bits_cost_an_activation_is_measured_against_the_floats() -> None:
    module = calibrated()
    found = activation_divergences(module, real())
    assert list(found) == list(sixteen_bits.candidates(module.graph, Scheme())) and module.mode == "quantized" and module.probed is None
    floats = calibrated()
    floats.mode = "float"
    before = functional.softmax(floats(real()), -1)
    for name in found:  # the same student, of whose quantizers all others do nothing
        other = calibrated()
        kept = other.group_of[name if name in other.group_of else sixteen_bits.candidates(other.graph, Scheme())[name][0]]
        for index, step in enumerate(other.steps):
            if index != kept:
                step -= 24
                other._levels[index] = (-(1 << 60), 1 << 60)
        other.weight = other.values.__getitem__  # type: ignore[method-assign]
        after = functional.softmax(other(real()), -1)
        assert found[name] == pytest.approx(float((before * (before / after).log()).sum(-1).mean()), rel=0.05, abs=1e-7)


def test_activations_are_taken_as_far_as_the_budget_allows() -> None:
    module = calibrated()
    found = activation_divergences(module, real())
    wide = choose_activations(module, real(), ram(1e9))
    left = sum(found[name] for name in found if name not in wide.sixteen_bits)
    assert wide.sixteen_bits[0] == max(found, key=found.__getitem__) and left <= LEFT * sum(found.values())
    assert wide.activations == found and wide.four_bits == () and wide.divergence == {}
    eight = arena.arena_total(freeze(module))
    whole = wide.figures["peak_ram_bytes"].value
    assert whole > eight and arena.arena_total(freeze(calibrated(Scheme(sixteen_bits=wide.sixteen_bits)))) == whole
    assert choose_activations(module, real(), ram(eight)).sixteen_bits == ()
    less = choose_activations(module, real(), ram(whole - 1))
    assert set(less.sixteen_bits) < set(found) and less.figures["peak_ram_bytes"].value < whole
    assert module.scheme == Scheme() and all(group.bits == 8 for group in module.groups)
