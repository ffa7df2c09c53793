"""Zeros stay zero: through training, capture, quantized training and in the exported integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgekd.compress.sparsity import hold_zeros, parsed, profit, prunable, sparsity, zeros
from edgekd.errors import InputError
from edgekd.quant.capture import capture
from edgekd.quant.freeze import freeze
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme
from tests.compress.test_channels import same_everywhere
from tests.compress_nets import SIDE, images, net


def test_the_smallest_of_each_layer_become_zero() -> None:
    module = net("residual")
    made = sparsity(module, share=0.75)
    for (name, weight), (_, before) in zip(prunable(made), prunable(module), strict=True):
        assert zeros([weight]) == pytest.approx(0.75, abs=1e-3), name
        gone, left = before[weight == 0].abs().max(), before[weight != 0].abs().min()
        assert gone <= left and torch.equal(weight[weight != 0], before[weight != 0])
    names = [name for name, _ in prunable(made)]
    assert "stem.0.weight" not in names and "one.0.weight" in names
    assert zeros([p for _, p in prunable(module)]) == 0, "the original has changed"


def test_two_of_four_input_channels_are_left() -> None:
    made = sparsity(net("residual"), pattern="2:4")
    for _, weight in prunable(made):
        blocks = (weight != 0).transpose(1, -1).unflatten(-1, (-1, 4)).sum(-1)
        assert (blocks == 2).all()
    linear = sparsity(nn.Sequential(nn.Linear(64, 32)), pattern="1:4")[0]  # type: ignore[index]
    assert ((linear.weight != 0).unflatten(1, (-1, 4)).sum(-1) == 1).all()  # type: ignore[union-attr, operator]


def test_zeros_survive_training_and_quantized_training(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = sparsity(net("residual"), pattern="2:4").train()
    pattern = {name: weight == 0 for name, weight in prunable(made)}
    handles = hold_zeros(weight for _, weight in prunable(made))
    assert len(handles) == len(pattern)
    _two_steps(made)
    assert all(torch.equal(weight == 0, pattern[name]) for name, weight in prunable(made))
    module = QatModule(capture(made, (3, SIDE, SIDE)), Scheme())
    module.calibrate([images(8)])
    hold_zeros(module.values[name] for name in module.weights)
    before = {name: module.values[name].detach().clone() for name in module.weights}
    _two_steps(module)
    assert any(not torch.equal(before[name], module.values[name]) for name in before), "nothing was trained"
    graph = freeze(module)
    shares = [
        float((t.data == 0).mean()) for t in graph.tensors.values() if t.data is not None and t.dtype == "int8" and t.data.size >= 1024
    ]
    assert len(shares) == len(pattern) and min(shares) >= 0.5
    same_everywhere(made, tmp_path)


def _two_steps(module: nn.Module) -> None:
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    for seed in (1, 2):
        optimizer.zero_grad()
        functional.cross_entropy(module(images(8, seed)), torch.arange(8) % 5).backward()
        optimizer.step()


def test_what_cannot_be_is_said() -> None:
    module = net("residual")
    with pytest.raises(InputError, match=r"share and pattern say the same in two ways"):
        sparsity(module)
    with pytest.raises(InputError, match=r"share = 1\.0"):
        sparsity(module, share=1.0)
    with pytest.raises(InputError, match=r"no layer can be made sparse"):
        sparsity(module, pattern="2:64")
    for wrong in ("2", "4:2", "a:4", "0:4", ":", "2:4:8"):
        with pytest.raises(InputError, match=r'"N:M", N of every M weights left'):
            parsed(wrong)
    assert parsed("2:4") == (2, 4)


def test_who_profits() -> None:
    assert "SPARSE_WEIGHTS" in profit("tensorrt", "int8", pattern="2:4")
    assert "only the compressed file" in profit("tensorrt", "int8", share=0.9)
    assert "only the compressed file" in profit("litert", "int8", share=0.9)
    assert "sparse kernels" in profit("litert", "float32", share=0.9) and "nothing becomes faster" in profit("litert", "float32", share=0.5)
    assert "only the compressed file" in profit("tflm", "int8", pattern="2:4")


def test_a_net_without_zeros_is_not_held() -> None:
    assert hold_zeros(net("plain").parameters()) == []
    assert np.isclose(zeros([torch.tensor([0.0, 1.0])]), 0.5)
