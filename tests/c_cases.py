"""Small graphs as C on this host against the reference, and against TFLM itself where that has the operators."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgekd.export.tflite import export
from edgekd.quant import ops
from edgekd.quant.graph import STORAGE, QuantGraph, Quantization, Tensor
from edgekd.quant.outputs import joined
from edgekd.quant.reference import run
from edgekd.runtimes import lacks_tflm, tflm
from tests.c_host import compile_all

Q = tuple[float, int]


def named(cases: Iterable[QuantGraph]) -> list[QuantGraph]:
    """The graphs under names of their own."""
    return [replace(graph, name=f"case{i}") for i, graph in enumerate(cases)]


def activation(name: str, shape: tuple[int, ...], q: Q | None, dtype: str = "int8") -> Tensor:
    """``shape`` without the batch; ``q`` None for float32 or indices."""
    return Tensor(name, dtype, (1, *shape), None if q is None else Quantization.per_tensor(*q))  # type: ignore[arg-type]


def constant(name: str, data: np.ndarray, q: Q | None) -> Tensor:
    return Tensor(name, data.dtype.name, data.shape, None if q is None else Quantization.per_tensor(*q), data)  # type: ignore[arg-type]


def graph_of(tensors: Iterable[Tensor], *operators: ops.Op) -> QuantGraph:
    """Its input is "x", its output what the last operator writes."""
    return QuantGraph("case", "channels_last", {t.name: t for t in tensors}, operators, ("x",), operators[-1].outputs)


def samples(graph: QuantGraph, rng: np.random.Generator, n: int = 4) -> np.ndarray:
    """Values for the input, the extremes among them, and of 16 bits small ones too."""
    entry = graph.tensor(graph.inputs[0])
    shape = (n, *entry.shape[1:])
    if entry.dtype == "float32":
        return (rng.normal(size=shape) * 10.0 ** rng.integers(-3, 3, shape)).astype(np.float32)
    info = np.iinfo(STORAGE[entry.dtype])
    x = rng.integers(info.min, info.max + 1, shape)
    if entry.dtype == "int16":
        x >>= rng.integers(0, 16, shape)
    return np.where(rng.random(shape) < 0.1, rng.choice([info.min, info.max], shape), x).astype(info.dtype)


def assert_all(cases: Iterable[QuantGraph | tuple[QuantGraph, np.ndarray]], folder: Path, *, profile: str = "tflm", real: int = 12) -> None:
    """C equals the reference under ``profile`` on every case's samples (drawn where none are given), and of ``real`` cases, evenly
    chosen, the real TFLM."""
    rng = np.random.default_rng(0)
    pairs = [case if isinstance(case, tuple) else (case, samples(case, rng)) for case in cases]
    graphs = named(graph for graph, _ in pairs)
    chosen = set(np.linspace(0, len(graphs) - 1, real).astype(int).tolist()) if real else set[int]()
    for at, (compiled, (_, x)) in enumerate(zip(compile_all(graphs, folder), pairs, strict=True)):
        graph = compiled.graph
        found, outputs = compiled.run(x), run(graph, x, profile)
        expected = joined([outputs[name] for name in graph.outputs])
        differ = int((found != expected).sum())
        assert not differ, f"{graph.ops} {_scales(graph)}: {differ} of {expected.size} differ, {found[found != expected][:5]}"
        if at in chosen and not lacks_tflm.survey(graph).lacks and not any(isinstance(op, ops.Rsqrt) for op in graph.ops):  # of zeros
            export(graph, folder / "tflite")
            there = tflm.open_model(folder / "tflite" / "model.tflite").run(x)
            assert (there.reshape(found.shape) == found).all(), f"TFLM differs: {graph.ops} {_scales(graph)}"


def _scales(graph: QuantGraph) -> dict[str, tuple[tuple[int, ...], Q]]:
    return {t.name: (t.shape, t.quantization.single) for t in graph.tensors.values() if t.quantization is not None}
