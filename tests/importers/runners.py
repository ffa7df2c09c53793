"""What tests of importers share: a file's answers in a runtime, and the reference's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgekd import lazy
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference import run
from edgekd.runtimes import RUNTIMES

#: Runtime of TFLite files → the reference's profile.
PROFILES = {"tflm": "tflm", "litert_ref": "litert_ref", "litert_xnnpack": "xnnpack"}


def answers(path: Path, runtime: str, x: np.ndarray) -> np.ndarray:
    runner = lazy.load(RUNTIMES[runtime])(path, threads=1)
    try:
        return runner.run(x)
    finally:
        runner.close()


def foretold(graph: QuantGraph, runtime: str, x: np.ndarray) -> np.ndarray:
    return run(graph, x, PROFILES[runtime])[graph.outputs[0]]


def random_inputs(graph: QuantGraph, n: int, seed: int = 0) -> np.ndarray:
    """Noise over the whole range of the input's dtype (or float32, normal), every second sample coarser, so that answers differ."""
    tensor, rng = graph.tensor(graph.inputs[0]), np.random.default_rng(seed)
    shape = (n, *tensor.shape[1:])
    noise = rng.uniform(-1, 1, shape)
    coarse = rng.uniform(-1, 1, (len(noise[1::2]), *(-(-size // 8) for size in shape[1:])))
    for axis, size in enumerate(shape[1:], start=1):
        coarse = np.take(np.repeat(coarse, 8, axis), np.arange(size), axis)
    noise[1::2] = np.clip(coarse + 0.25 * noise[1::2], -1, 1)
    if tensor.dtype == "float32":
        return noise.astype(np.float32)
    limits = np.iinfo(tensor.dtype)
    return np.clip(np.rint(noise * (limits.max + 1)), limits.min, limits.max).astype(tensor.dtype)
