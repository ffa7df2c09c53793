"""What candidates cost: counted on the graph that each will become, the bytes of its file estimated from a few that were encoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekd.plan.latency import Prediction, predict, work_of
from edgekd.profile.schema import Profile
from edgekd.quant import arena, size
from edgekd.quant.arena_patches import patchwise
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Add
from edgekd.quant.passes.rename import renamed

#: How many candidates are encoded to learn what a format adds to the weights.
SAMPLES = 8


@dataclass(frozen=True)
class Cost:
    """One candidate: ``shape_of_file`` is what the bytes of its file depend on, in whatever format: one, tensors, scales, weight bytes.

    ``runtime_bytes`` of its RAM are what TFLM adds to activations and scratch. ``prediction`` has latency and energy on the target, by
    published measurements only: a plan is the same on every machine.
    """

    spec: Any
    macs: int
    parameters: int
    ram_bytes: int
    weight_bytes: int
    shape_of_file: tuple[int, int, int, int]
    runtime_bytes: int = 0
    prediction: Prediction = field(default_factory=Prediction, compare=False, repr=False)

    @property
    def score(self) -> float:
        """How large a student is: MACs times the square root of parameters.

        Accuracy rises with both and saturates in either alone: many MACs with few weights, or many weights that each see few pixels.
        A doubling of MACs is worth two of parameters: what little was measured (three students of 28x28 images between 1 and 4 million
        MACs, 35 to 60 thousand parameters: 0.4 points of accuracy for a doubling of MACs, 0.2 for one of parameters) says about that.
        """
        return float(self.macs) * float(self.parameters) ** 0.5


def cost(spec: Any, graph: QuantGraph, profile: Profile) -> Cost:
    """Count one candidate. ``ram_bytes`` is the arena under TFLM, elsewhere the activations alone."""
    scales = sum(len(t.quantization.scale) for t in graph.tensors.values() if t.quantization is not None)
    weights = size.weight_bytes(graph)
    ram, runtime = _ram(graph, profile)
    shape = (1, len(graph.tensors), scales, weights)
    prediction = predict(work_of(graph), profile.device, profile.deploy.runtime)
    return Cost(spec, size.macs(graph), size.parameters(graph), ram, weights, shape, runtime, prediction)


def in_arena(profile: Profile) -> bool:
    """True where all working memory is one arena that TFLM plans."""
    return profile.deploy.runtime in ("tflm", "ethos-u")


def as_captured(graph: QuantGraph) -> QuantGraph:
    """A sketch with tensor names like those of a trained graph, which stand in ONNX and OpenVINO files; names without a dot are those."""
    names: dict[str, str] = {}
    for i, op in enumerate(graph.ops):
        made = "relu" if getattr(op, "activation", "none") != "none" else "add" if isinstance(op, Add) else "batch_norm"
        for name in (*op.inputs, *op.outputs):
            _, dot, what = name.rpartition(".")
            if dot and name not in names and name not in graph.outputs:
                names[name] = f"conv2d_{i}_{what}" if graph.tensor(name).is_constant else f"{made}_{i}"
    return renamed(graph, names)


def estimator(
    costs: Sequence[Cost], sketch: Callable[[Any], QuantGraph], measure_file: Callable[[QuantGraph], int] | None
) -> Callable[[Cost], float]:
    """A function that estimates the bytes of a candidate's file, fitted to a few candidates of all sizes that were encoded.

    Without ``measure_file`` it counts weights, and for each scale and tensor what a TFLite file spends on them.
    """
    if measure_file is None:
        return lambda c: float(np.dot((3400, 37, 5.7, 1), c.shape_of_file))
    ordered = sorted(costs, key=lambda c: c.weight_bytes)
    picks = sorted({round(i) for i in np.linspace(0, len(ordered) - 1, SAMPLES)})
    rows = np.array([ordered[i].shape_of_file for i in picks], np.float64)
    seen = np.array([measure_file(sketch(ordered[i].spec)) for i in picks], np.float64)
    # Each row divided by its size: an error of one per cent is as bad in a small file as in a large one.
    coefficients = np.linalg.lstsq(rows / seen[:, None], np.ones(len(seen)), rcond=None)[0]
    return lambda c: float(np.dot(coefficients, c.shape_of_file))


def in_patches(graph: QuantGraph, profile: Profile, limit: float) -> str:
    """What patch-wise execution would make of a graph whose arena exceeds ``limit`` bytes, in words; "" where it has no arena."""
    if not in_arena(profile):
        return ""
    own = arena.persistent_bytes(arena.arrange(graph).graph)
    options = patchwise(graph, max(int(limit) - own, 0))
    fitting = [option for option in options if option.peak_bytes + own <= limit]
    if fitting:
        best = min(fitting, key=lambda option: option.macs)
        return f"would fit in {best}: {best.peak_bytes + own:,} B (reported only: no exporter writes patch-wise execution)"
    if options:
        least = min(options, key=lambda option: option.peak_bytes)
        return f"would not fit patch-wise either: {least.peak_bytes + own:,} B in {least}"
    return "patch-wise execution would save nothing"


def _ram(graph: QuantGraph, profile: Profile) -> tuple[int, int]:
    """Bytes in all, and those of them that are TFLM's own."""
    if in_arena(profile):
        arranged = arena.arrange(graph)
        own = arena.persistent_bytes(arranged.graph)
        return arranged.placement.total_bytes + own, own
    return arena.place(graph).total_bytes, 0
