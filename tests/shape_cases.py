"""Graphs of one operator, seeded, and their samples: for operators that move, reduce, resize or multiply whole tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgekd.export.tflite import export
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.reference import PROFILES, run
from edgekd.runtimes import litert, tflm

OPEN = {"tflm": tflm.open_model, "litert_ref": litert.open_reference, "xnnpack": litert.open_xnnpack}


def quantization(rng: np.random.Generator, low: float = 0.01, high: float = 0.1) -> Quantization:
    """A random scale and zero point."""
    return Quantization.per_tensor(float(rng.uniform(low, high)), int(rng.integers(-128, 128)))


def single(
    op: type[ops.Op], x: tuple[int, ...], y: tuple[int, ...], q: tuple[Quantization | None, Quantization | None], **options: Any
) -> QuantGraph:
    """One operator from "x" to "y", shapes without the batch. ``options``: attributes, and ``constants``, tensors that it reads after x."""
    constants: tuple[Tensor, ...] = options.pop("constants", ())
    kind = "float32" if q[0] is None else "int8"
    tensors = [Tensor("x", kind, (1, *x), q[0]), Tensor("y", kind, (1, *y), q[1]), *constants]
    name = op.__name__.lower()
    made = op(name, ("x", *(t.name for t in constants)), ("y",), **options)
    return QuantGraph("case", "channels_last", {t.name: t for t in tensors}, (made,), ("x",), ("y",))


def samples(graph: QuantGraph, rng: np.random.Generator, n: int = 5) -> np.ndarray:
    """int8 [n, ...], the extremes among them; float32 for a float graph."""
    entry = graph.tensor(graph.inputs[0])
    shape = (n, *entry.shape[1:])
    if entry.dtype == "float32":
        return rng.normal(size=shape).astype(np.float32)
    return np.where(rng.random(shape) < 0.1, rng.choice([-128, 127], shape), rng.integers(-128, 128, shape)).astype(np.int8)


def differences(graph: QuantGraph, x: np.ndarray, folder: Path, profiles: tuple[str, ...] = PROFILES) -> dict[str, str]:
    """Profile → how runtime and reference differ; those that agree bit for bit are left out."""
    export(graph, folder)
    found = {}
    for profile in profiles:
        runner = OPEN[profile](folder / "model.tflite")
        y = runner.run(x)
        foretold = run(graph, x, profile)[graph.outputs[0]]
        assert y.size == foretold.size, (profile, y.shape, foretold.shape)
        difference = y.reshape(foretold.shape).astype(int) - foretold
        if difference.any():
            found[profile] = f"{(difference != 0).sum()} of {difference.size} differ, by {np.unique(difference)[:12]}"
    return found


def assert_equal(graph: QuantGraph, x: np.ndarray, folder: Path, profiles: tuple[str, ...] = PROFILES) -> None:
    found = differences(graph, x, folder, profiles)
    assert not found, f"{graph.ops}: {found}"


def assert_close(graph: QuantGraph, x: np.ndarray, folder: Path) -> None:
    """A float graph in LiteRT."""
    export(graph, folder)
    found = litert.open_xnnpack(folder / "model.tflite").run(x)
    foretold = run(graph, x, "float")[graph.outputs[0]]
    np.testing.assert_allclose(found.reshape(foretold.shape), foretold, atol=2e-5, rtol=1e-5)
