"""Small float models with random weights, as a user would bring them, and samples for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

CLASSES = 5


class Residual(nn.Module):
    """What post-training quantizers leave float, or give scales that no runtime takes: a sum, a concat, a pool, a gate."""

    def __init__(self, channels: int, *, gated: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU6(), nn.Conv2d(8, 8, 1))
        self.wide = nn.Conv2d(8, 4, 1)
        self.gate = nn.Sequential(nn.Conv2d(12, 12, 1), nn.Sigmoid())
        self.last = nn.Linear(12, CLASSES)
        self.gated = gated

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.deep(x)
        x = torch.cat([nn.functional.max_pool2d(x, 2), nn.functional.avg_pool2d(self.wide(x), 2)], 1)
        return self.last((x * self.gate(x) if self.gated else x).mean((2, 3)))


def residual(channels: int = 3, gated: bool = True) -> nn.Module:
    """Seeded; its batch norm has seen something, and its answers differ."""
    torch.manual_seed(0)
    model = Residual(channels, gated=gated)
    with torch.no_grad():
        model.train()
        model(torch.rand(16, channels, 12, 12) * 2 - 1)
        model.last.weight.mul_(8)
    return model.eval()


def ungated(channels: int = 3) -> nn.Module:
    return residual(channels, gated=False)


def words() -> nn.Module:
    """Answers a question of six words out of twenty."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(48, CLASSES))


def no_module(channels: int = 3) -> int:
    return channels


def samples(path: Path, n: int = 60, *, channels: int = 3, labels: bool = True) -> Path:
    """``path`` with x uint8 [n, 12, 12, channels], and y: what the float model above answers."""
    rng = np.random.default_rng(0)
    x = np.repeat(np.repeat(rng.integers(0, 256, (n, 4, 4, channels)), 3, 1), 3, 2).astype(np.uint8)
    y = {}
    if labels:
        with torch.no_grad():
            y["y"] = residual(channels)(torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32) / 128 - 1)).argmax(1).numpy()
    np.savez(path, x=x, **y)
    return path


def onnx_file(path: Path) -> Path:
    """The model above, without its gate, as torch's older exporter writes it."""
    torch.onnx.export(
        ungated(), (torch.zeros(1, 3, 12, 12),), path, dynamo=False, opset_version=18, input_names=["picture"], output_names=["logits"],
        dynamic_axes={"picture": {0: "N"}},
    )  # fmt: skip
    return path
