from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.capture import capture
from edgekd.quant.freeze import freeze
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme
from tests.quant.test_freeze import SHAPE, Net, images
from tests.shape_cases import differences


def test_eight_bits_go_without_saying() -> None:
    """So that trainings of before are found in the cache."""
    assert Scheme().document() == {"numeric": "int8", "symmetric_activations": False, "per_channel_weights": True}
    assert Scheme(weight_bits=4).document() == {**Scheme().document(), "weight_bits": 4}
    assert Scheme(four_bits=("a",)).document() == {**Scheme().document(), "four_bits": ("a",)}


def test_which_weights_take_four_bits() -> None:
    scheme = Scheme(weight_bits=4)
    assert scheme.weights_of(ops.Conv2D) == (4, True)
    assert scheme.weights_of(ops.FullyConnected) == (4, False), "TFLM has one scale for them"
    assert scheme.weights_of(ops.DepthwiseConv2D) == (8, True)
    assert Scheme().weights_of(ops.FullyConnected) == (8, True)
    mixed = Scheme(four_bits=("a", "b"))
    assert mixed.weights_of(ops.Conv2D, "a") == (4, True) and mixed.weights_of(ops.Conv2D, "c") == (8, True)
    assert mixed.weights_of(ops.DepthwiseConv2D, "b") == (8, True)
    with pytest.raises(InputError, match="5 bits a weight"):
        Scheme(weight_bits=5)  # type: ignore[arg-type]


def test_four_bits_are_trained_frozen_and_computed_alike(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = QatModule(capture(Net("flatten").eval(), SHAPE), Scheme(weight_bits=4))
    x = images(32)
    real = torch.from_numpy(x.astype(np.float32) / 128).permute(0, 3, 1, 2)
    module.calibrate([real])
    wanted = torch.randn(32, 5)
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = (module(real) - wanted).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    graph = freeze(module)
    kinds = {type(op).__name__: graph.tensor(op.inputs[1]).dtype for op in graph.ops if isinstance(op, ops.WEIGHTED)}
    assert kinds == {"Conv2D": "int4", "DepthwiseConv2D": "int8", "FullyConnected": "int4"}
    for tensor in graph.tensors.values():
        assert tensor.dtype != "int4" or (tensor.data is not None and np.abs(tensor.data).max() <= 7)
    found = differences(graph, x, tmp_path)
    assert not found, found
