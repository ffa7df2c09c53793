"""Operators that students seldom have, from training under fake-quantizers to the integers of real runtimes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgekd import lazy
from edgekd.export import EXPORTERS
from edgekd.quant import ops
from edgekd.quant.capture import capture
from edgekd.quant.freeze import freeze
from edgekd.quant.prepare import QatModule
from edgekd.quant.reference import run
from edgekd.quant.scheme import Scheme
from edgekd.runtimes import RUNTIMES

SHAPE = (3, 8, 8)
KINDS = {"spread": ops.TransposeConv2D, "wide": ops.TransposeConv2D, "largest": ops.Maximum, "least": ops.Minimum, "prelu": ops.PRelu}
SCHEMES = {"asymmetric": Scheme(), "symmetric": Scheme(symmetric_activations=True), "per_tensor": Scheme(per_channel_weights=False)}
LITERT = {"litert_ref": "litert_ref", "xnnpack": "litert_xnnpack", "tflm": "tflm"}


class Net(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.a, self.b = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(3, 6, 3, 2, 1)
        self.spread, self.wide = nn.ConvTranspose2d(6, 5, 2, 2), nn.ConvTranspose2d(6, 5, 3, 2, 1, output_padding=1)
        self.prelu = nn.PReLU(6, init=0.3)
        self.head = nn.Linear(5 if kind in ("spread", "wide") else 6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        match self.kind:
            case "spread" | "wide":
                y = getattr(self, self.kind)(y.relu())
            case "largest":
                y = torch.maximum(y, self.b(x))
            case "least":
                y = torch.minimum(y, self.b(x))
            case _:
                y = self.prelu(y)
        return self.head(y.mean((2, 3)))


def images(n: int, seed: int = 0) -> np.ndarray:
    """int8 [n, H, W, C], smooth enough that their means differ."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(-128, 128, (n, 2, 2, 3)).repeat(4, 1).repeat(4, 2)
    return (coarse + rng.integers(-40, 40, coarse.shape)).clip(-128, 127).astype(np.int8)


def fed(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x.astype(np.float32) / 128).permute(0, 3, 1, 2)


def trained(kind: str, scheme: Scheme) -> QatModule:
    """Calibrated, and three steps on random labels: every parameter has moved."""
    torch.manual_seed(0)
    module = QatModule(capture(Net(kind).eval(), SHAPE), scheme)
    module.calibrate([fed(images(64))])
    before = {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=1e-3)
    for seed in (1, 2, 3):
        optimizer.zero_grad()
        functional.cross_entropy(module(fed(images(32, seed))), torch.arange(32) % 5).backward()
        optimizer.step()
    still = [name for name, p in module.named_parameters() if name in before and torch.equal(p, before[name])]
    assert not still, still
    return module


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_trained_is_what_runtimes_compute(kind: str, scheme: Scheme, tmp_path: Path) -> None:
    module = trained(kind, scheme)
    graph = freeze(module)
    assert sum(isinstance(op, KINDS[kind]) for op in graph.ops) == 1
    x = images(60, 9)
    scale, zero = graph.tensor(graph.outputs[0]).quantization.single  # type: ignore[union-attr]
    with torch.no_grad():
        wanted = np.rint(module(fed(x)).numpy() / np.float32(scale)).astype(int) + zero
    assert len(np.unique(wanted)) > 20
    path = tmp_path / lazy.load(EXPORTERS["tflite"])(graph, tmp_path).path
    for profile, runtime in LITERT.items():
        found = run(graph, x, profile)[graph.outputs[0]]
        np.testing.assert_array_equal(lazy.load(RUNTIMES[runtime])(path, threads=1).run(x), found, err_msg=profile)
        away = np.abs(found - wanted)
        assert away.max() <= 3 and (away <= 1).mean() > 0.95, (profile, np.bincount(away.ravel()))
