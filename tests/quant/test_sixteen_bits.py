"""Activations of 16 bits among ones of 8: which may have them, and that every runtime computes what the reference foretells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgekd.quant import ops
from edgekd.quant.arena import arena_total
from edgekd.quant.capture import capture
from edgekd.quant.freeze import freeze
from edgekd.quant.graph import QuantGraph
from edgekd.quant.grid import groups
from edgekd.quant.passes.borders import FINER
from edgekd.quant.prepare import REACH_16, QatModule
from edgekd.quant.scheme import Scheme
from edgekd.quant.sixteen_bits import candidates, closed, widened
from edgekd.students.family import open_family
from tests.quant.test_arena import report
from tests.quant.test_freeze import SHAPE, images, trained
from tests.shape_cases import differences


class Others(nn.Module):
    """Operators that no family of students has: gates, constants, moves, and some without kernels for 16 bits."""

    def __init__(self, *, hard: bool = False) -> None:
        super().__init__()
        self.hard = hard
        self.stem, self.gate, self.mix = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 4, 1)
        self.up, self.head = nn.ConvTranspose2d(4, 4, 2, 2), nn.Linear(4, 5)
        self.shift = nn.Parameter(torch.rand(1, 8, 1, 1) - 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.leaky_relu(self.stem(x), 0.1)
        x = x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
        x = functional.hardswish(x) if self.hard else (x - self.shift).tanh()
        x = self.up(functional.pad(self.mix(x), (1, 0, 0, 1)))
        return self.head(torch.maximum(x, -x).mean((2, 3)))


def of(kind: str | nn.Module, names: tuple[str, ...] = ()) -> QatModule:
    if isinstance(kind, str):
        return trained(kind, Scheme(sixteen_bits=names))
    module = QatModule(capture(kind.eval(), SHAPE), Scheme(sixteen_bits=names))
    module.calibrate([torch.from_numpy(images(32).astype(np.float32) / 128).permute(0, 3, 1, 2)])
    return module


def subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """All, each second, and each of the others."""
    return [some for some in dict.fromkeys((names, names[::2], names[1::2])) if some]


def is_consistent(graph: QuantGraph) -> bool:
    """Whether each operator but Quantize has one dtype, and int16 no zero point."""
    for op in graph.ops:
        read = op.inputs[:1] if isinstance(op, ops.WEIGHTED) else op.inputs
        if len({graph.tensor(name).dtype for name in (*read, *op.outputs)}) > 1 and not isinstance(op, ops.Quantize):
            return False
    wide = [t.quantization for t in graph.tensors.values() if t.dtype == "int16"]
    return all(q is not None and q.single[1] == 0 for q in wide)


@pytest.mark.parametrize("kind", ["plain", "sum", "concat", "concat_relu", "pools", "flatten", "softmax", "logistic", "relu6", "others"])
def test_every_runtime_computes_what_is_foretold(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net: str | nn.Module = Others() if kind == "others" else kind
    possible = tuple(candidates(of(net).graph, Scheme()))
    for n, names in enumerate(subsets(possible)):
        graph = freeze(of(net, names))
        assert is_consistent(graph)
        assert {graph.tensor(name).dtype for name in (*graph.inputs, *graph.outputs)} == {"int8"}
        (tmp_path / str(n)).mkdir()
        assert not (found := differences(graph, images(32), tmp_path / str(n))), (names, found)
        assert abs(arena_total(graph) - report(graph, tmp_path).total) <= 32


@pytest.mark.parametrize("family", ["inverted_residual", "ds_cnn", "vit"])
def test_the_families_too(family: str, tmp_path: Path) -> None:
    opened = open_family(family)
    spec = next(iter(opened.candidates({}, {}, (*SHAPE[1:], SHAPE[0]), 5)))
    torch.manual_seed(0)
    built = opened.build(spec)
    possible = tuple(candidates(of(built).graph, Scheme()))
    assert len(possible) > 3
    graph = freeze(of(built, possible))
    assert is_consistent(graph)
    assert not (found := differences(graph, images(16), tmp_path)), found


def test_what_the_device_meets_and_what_has_no_kernel_stays() -> None:
    graph = of(Others(hard=True)).graph
    possible = candidates(graph, Scheme())
    touched = {name for op in graph.ops if isinstance(op, ops.HardSwish) for name in (*op.inputs, *op.outputs)}
    assert possible and touched.isdisjoint(name for tensors in possible.values() for name in tensors)
    every = {op.name for op in graph.ops if isinstance(op, ops.Conv2D)}
    less = candidates(graph, Scheme(four_bits=tuple(every)))
    read = {name for op in graph.ops if op.name in every for name in (op.inputs[0], *op.outputs)}
    assert read.isdisjoint(name for tensors in less.values() for name in tensors) and len(less) < len(possible)


def test_what_stands_between_operators_of_16_bits_gets_them() -> None:
    graph = of("plain").graph
    first, second, third = candidates(graph, Scheme())
    assert closed(graph, Scheme(), (first,)) == (first,)
    assert set(closed(graph, Scheme(), (first, third))) == {first, second, third}


def test_a_sketch_counts_what_is_built() -> None:
    for kind in ("sum", "pools", "concat_relu"):
        module = of(kind)
        possible = tuple(candidates(module.graph, Scheme()))
        for names in subsets(possible):
            sketched, built = widened(freeze(module), Scheme(), names), freeze(of(kind, names))
            assert [(type(op), sketched.tensor(op.outputs[0]).dtype) for op in sketched.ops] == [
                (type(op), built.tensor(op.outputs[0]).dtype) for op in built.ops
            ]
            assert arena_total(sketched) == arena_total(built)


def test_the_way_up_loses_nothing_and_the_way_down_reaches_as_far() -> None:
    module = of("plain")
    first = next(iter(candidates(module.graph, Scheme())))
    graph = freeze(of("plain", (first,)))
    up, down = (op for op in graph.ops if isinstance(op, ops.Quantize))
    pixels, wide = graph.tensor(up.inputs[0]).quantization, graph.tensor(up.outputs[0]).quantization
    assert pixels is not None and wide is not None and wide.single == (pixels.single[0], 0)
    finer, eight = graph.tensor(down.inputs[0]).quantization, graph.tensor(down.outputs[0]).quantization
    assert finer is not None and eight is not None
    assert finer.single == (pytest.approx(eight.single[0] / FINER), 0)
    assert finer.single[0] * 32767 >= eight.single[0] * 255


@torch.no_grad()
def test_a_step_of_16_bits_is_that_much_finer() -> None:
    module = of("plain")
    first = next(iter(candidates(module.graph, Scheme())))
    wide = of("plain", (first,))
    index = wide.group_of[candidates(module.graph, Scheme())[first][0]]
    assert wide.groups[index].bits == 16 and wide.levels(index) == (0, 32767) and module.groups[index].bits == 8
    assert float(torch.exp2(module.steps[index] - wide.steps[index])) == pytest.approx(128 / REACH_16, rel=0.5)
    assert [g.bits for g in groups(module.graph, symmetric=False)] == [8] * len(module.groups)


@torch.no_grad()
def test_16_bits_come_nearer_to_the_floats() -> None:
    torch.manual_seed(0)
    net, x = Others(), torch.from_numpy(images(32).astype(np.float32) / 128).permute(0, 3, 1, 2)
    eight = of(net)
    possible = candidates(eight.graph, Scheme())
    errors: list[dict[str, float]] = []
    for module in (eight, of(net, tuple(possible))):
        module.mode, module.probed = "float", None
        floats, errors = module(x), [*errors, {}]
        for name, tensors in possible.items():
            module.probed = module.group_of[tensors[0]]
            errors[-1][name] = float((module(x) - floats).square().mean())
    assert all(errors[1][name] < 0.01 * errors[0][name] for name in possible)
