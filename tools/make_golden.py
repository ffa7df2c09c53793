"""Make the golden students of tests/golden: small frozen graphs, samples, and the integers that each rounding profile gives for them.

PYTHONPATH=. python tools/make_golden.py [NAME…]

Weights are torch's initial ones under a fixed seed, scales come from calibration on drawn pictures: nothing is trained, and nothing that is
committed has to be made again unless the format of a graph on disk changes.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgekd.export.tflite import export
from edgekd.quant import io
from edgekd.quant.capture import capture
from edgekd.quant.freeze import freeze
from edgekd.quant.graph import QuantGraph
from edgekd.quant.passes.probabilities import append_softmax
from edgekd.quant.prepare import QatModule
from edgekd.quant.reference import run
from edgekd.quant.scheme import Scheme
from edgekd.students.inverted_residual import FAMILY

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "golden"
PROFILES = ("tflm", "litert_ref", "xnnpack")
SAMPLES = 32


class Branches(nn.Module):
    """Concat, both poolings, a rectifier limited at 6, a strided convolution with a bias; grey images of 16x16 to five logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 12, 3, padding=1)
        self.left, self.right = nn.Conv2d(12, 8, 1), nn.Conv2d(12, 8, 3, padding=1, groups=4)
        self.down = nn.Conv2d(16, 24, 3, stride=2, padding=1)
        self.answer = nn.Linear(24 * 4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.stem(x)), 3, stride=2, padding=1)
        x = torch.cat([nn.functional.relu6(self.left(x)), nn.functional.relu6(self.right(x))], 1)
        x = nn.functional.avg_pool2d(torch.relu(self.down(x)), 2)
        return self.answer(torch.flatten(x, 1))


def inverted_residual(channels: int) -> nn.Module:
    """A student of edgekd's first family, 20x20 pixels to six logits."""
    options = {"stem": 8, "widths": [8, 16], "blocks": [2, 2], "strides": [1, 2], "stem_stride": 2, "expansion": 3}
    return FAMILY.build(next(FAMILY.candidates(options, {}, (20, 20, channels), 6)))


def pictures(n: int, shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """Smooth random pictures, int8 [n, H, W, C] of q = p − 128."""
    rng = np.random.default_rng(seed)
    height, width, channels = shape
    rows, columns = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[None, :, None]
    a, b, c = rng.uniform(2, 12, (3, n, 1, 1, channels))
    waves = np.sin(a * rows + c) * np.cos(b * columns - c) * 100 + rng.normal(0, 10, (n, *shape))
    return waves.round().clip(-128, 127).astype(np.int8)


def student(make: Callable[[], nn.Module], shape: tuple[int, int, int], scheme: Scheme) -> QuantGraph:
    """The frozen graph of a module with its initial weights, calibrated on 256 pictures, over which each class wins its share."""
    torch.manual_seed(20)
    torch.set_num_threads(1)
    x = torch.from_numpy(pictures(256, shape, 1).transpose(0, 3, 1, 2).astype(np.float32)) / 128
    module = make().eval()
    last = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        found = module(x)
        last.weight *= 3 / found.std(0)[:, None]
        last.bias.copy_((last.bias - found.mean(0)) * 3 / found.std(0))
    prepared = QatModule(capture(module, (shape[2], *shape[:2])), scheme)
    prepared.calibrate([x])
    return freeze(prepared)


CASES: dict[str, tuple[Callable[[], QuantGraph], tuple[int, int, int]]] = {
    "inverted_residual": (lambda: student(lambda: inverted_residual(3), (20, 20, 3), Scheme()), (20, 20, 3)),
    "inverted_residual_symmetric": (
        lambda: student(lambda: inverted_residual(1), (20, 20, 1), Scheme(symmetric_activations=True)),
        (20, 20, 1),
    ),
    "branches_per_tensor": (
        lambda: append_softmax(student(Branches, (16, 16, 1), Scheme(per_channel_weights=False)), symmetric=False),
        (16, 16, 1),
    ),
}


def make(name: str) -> None:
    """Write one golden student into its folder."""
    build, shape = CASES[name]
    graph = build().with_metadata(labels=[f"class {i}" for i in range(5 if name == "branches_per_tensor" else 6)])
    folder = FOLDER / name
    io.save(graph, folder)
    x = pictures(SAMPLES, shape, 2)
    np.savez(folder / "inputs.npz", x=x)
    np.savez(folder / "expected.npz", **{p: run(graph, x, p)[graph.outputs[0]] for p in PROFILES})  # pyright: ignore[reportArgumentType]
    with tempfile.TemporaryDirectory() as out:
        artifact = export(graph, Path(out))
        content = (Path(out) / artifact.path).read_bytes()
    (folder / "tflite.sha256").write_text(hashlib.sha256(content).hexdigest() + "\n")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or CASES:
        make(chosen)
