"""The student that tests of the TFLite runtimes share, made by hand, and images for it."""

from __future__ import annotations

import numpy as np

from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.ops import Conv2D, FullyConnected, Mean


def student(size: int = 12) -> QuantGraph:
    """Convolution, mean, fully connected: int8 images [N, size, size, 3] to five logits."""
    rng = np.random.default_rng(0)
    tensors = {
        "x": Tensor("x", "int8", (1, size, size, 3), Quantization.per_tensor(1 / 128)),
        "a": Tensor("a", "int8", (1, size, size, 8), Quantization.per_tensor(0.05, -128)),
        "m": Tensor("m", "int8", (1, 8), Quantization.per_tensor(0.02, -10)),
        "y": Tensor("y", "int8", (1, 5), Quantization.per_tensor(0.02, 4)),
    }
    for name, shape in (("c", (8, 3, 3, 3)), ("f", (5, 8))):
        scale = Quantization.per_channel(rng.uniform(0.002, 0.01, shape[0]), 0)
        tensors[f"{name}.w"] = Tensor(f"{name}.w", "int8", shape, scale, rng.integers(-127, 128, shape).astype(np.int8))
        tensors[f"{name}.b"] = Tensor(f"{name}.b", "int32", shape[:1], None, rng.integers(-500, 500, shape[0]).astype(np.int32))
    ops = (
        Conv2D("conv", ("x", "c.w", "c.b"), ("a",), padding=(1, 1, 1, 1), activation="relu"),
        Mean("mean", ("a",), ("m",), axes=(1, 2)),
        FullyConnected("dense", ("m", "f.w", "f.b"), ("y",)),
    )
    return QuantGraph("student", "channels_last", tensors, ops, ("x",), ("y",))


def images(n: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-128, 128, (n, 12, 12, 3)).astype(np.int8)
