"""What stands in a model: operators, scales, MACs, bytes and arena, layer by layer; what a target lacks, and how long it takes there."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgekd.errors import EdgekdError, InputError
from edgekd.lazy import load
from edgekd.plan.latency import Prediction, host_device, predict, runtimes, work_of
from edgekd.plan.latency_store import measured
from edgekd.profile.load import load as load_profile
from edgekd.profile.schema import Profile
from edgekd.quant import arena, size
from edgekd.quant.arena_patches import Option, patchwise
from edgekd.quant.graph import QuantGraph
from edgekd.quant.passes.explicit_padding import explicit_padding
from edgekd.records import Figure
from edgekd.runtimes import lacks_tflm
from edgekd.runtimes.lacks import LACKS, Survey

#: The target that is this machine; it lacks nothing, and is predicted from what was measured on it.
HOST = "host"
#: A profile's runtime → whom to ask what it lacks. Others take whatever their exporter can state.
ASK = {"tflm": ("tflm",), "ethos-u": ("ethos-u", "tflm"), "tensorrt": ("tensorrt",), "litert": ("gpu",)}


@dataclass(frozen=True)
class Layer:
    """One operator: multiply-accumulates, bytes of its constants and of its output, and of all that must be in memory while it runs.

    ``latency_ms`` is predicted, of the first target; None where that is not calibrated.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None
    weights: str
    macs: int
    weight_bytes: int
    output_bytes: int
    live_bytes: int
    latency_ms: float | None = None


@dataclass(frozen=True)
class Inspection:
    """``arena_bytes``: activations and scratch as TensorFlow Lite Micro would place them; ``arena_total_bytes``: with its own structures
    (for the file that edgekd exports, on a 64-bit host), predicted; None where it lacks an operator.

    ``arena_planned_bytes``: activations and scratch in that file, whose order and plan may save some; None where TFLM cannot be given it.
    ``patches``: what they would be if the first operators ran patch by patch, which nothing does yet.
    ``surveys``: who was asked what is lacking. ``figures``: latency_ms and energy_uj as predicted for the first target that is a device;
    of further ones the same names with _ and the target after them.
    """

    name: str
    input: str
    output: str
    layers: tuple[Layer, ...]
    macs: int
    parameters: int
    weight_bytes: int
    arena_bytes: int
    arena_total_bytes: int | None
    surveys: dict[str, Survey]
    notes: tuple[str, ...] = ()
    figures: dict[str, Figure] = field(default_factory=dict)
    arena_planned_bytes: int | None = None
    patches: tuple[Option, ...] = ()

    def document(self) -> dict[str, Any]:
        return asdict(self)


def inspect(graph: QuantGraph, targets: tuple[str, ...] = (), runtime: str | None = None) -> Inspection:
    """``targets`` are names or files of profiles, names in LACKS, or HOST; latency is predicted for ``runtime``, else for each one's own.

    Raises InputError for a target that is none of these, a runtime that is not known, and one without a target that is a device.
    """
    predictions = {name: _predict(graph, name, runtime) for name in targets if name not in LACKS}
    if runtime is not None and not predictions:
        raise InputError(f"runtime {runtime!r} of no device", where="--runtime", expected="a profile", mend="--target NAME as well")
    surveys = {name: _survey(graph, name) for target in targets for name in _asked(target)}
    try:
        padded = explicit_padding(graph)
    except InputError:  # TFLM cannot be given it; what can be said without padding is said
        padded = graph
    lifetimes = arena.lifetimes(padded)
    costs = {cost.name: cost for cost in size.count(padded)}
    times = _times(graph, predictions)
    layers = []
    for at, op in enumerate(padded.ops, start=1):
        out, cost = padded.tensor(op.outputs[0]), costs[op.name]
        scale, zero = (None, None) if out.quantization is None else out.quantization.single
        live = sum(life.nbytes for life in lifetimes if life.first <= at <= life.last)
        layers.append(
            Layer(op.name, cost.kind, out.shape, out.dtype, scale, zero, _weights(padded, op.inputs), cost.macs, cost.weight_bytes,
                  cost.output_bytes, live, times.get(op.name))
        )  # fmt: skip
    source = graph.metadata.get("source")
    return Inspection(
        graph.name,
        _border(graph, graph.inputs[0]),
        "; ".join(_border(graph, name) for name in graph.outputs),
        tuple(layers),
        size.macs(graph),
        size.parameters(graph),
        size.weight_bytes(graph),
        arena.place(padded).total_bytes,
        _whole_arena(graph),
        surveys,
        (
            *(tuple(source.get("notes", ())) if isinstance(source, dict) else ()),
            *(f"{name}: {prediction.reason}" for name, prediction in predictions.items() if prediction.reason),
        ),
        _figures(predictions),
        _planned(graph),
        patchwise(graph),
    )


def _predict(graph: QuantGraph, target: str, runtime: str | None) -> Prediction:
    work = work_of(graph)
    if target != HOST:
        profile = _profile(target)
        runtime = runtime or profile.deploy.runtime
        public = predict(work, profile.device, runtime)
        return public if public.published else predict(work, profile.device, runtime, measured=measured())
    if runtime is None:
        raise InputError("this machine has several runtimes", where="--target host", expected=f"--runtime, one of {', '.join(runtimes())}")
    return predict(work, host_device(), runtime, measured=measured())


def _times(graph: QuantGraph, predictions: dict[str, Prediction]) -> dict[str, float]:
    """Operator → milliseconds on the first target."""
    first: Sequence[float] = next((prediction.per_operator_ms for prediction in predictions.values()), ())
    return {op.name: time for op, time in zip(graph.ops, first, strict=False)}


def _figures(predictions: dict[str, Prediction]) -> dict[str, Figure]:
    return {
        figure_name if i == 0 else f"{figure_name}_{target}": figure
        for i, (target, prediction) in enumerate(predictions.items())
        for figure_name, figure in prediction.figures.items()
    }


def _planned(graph: QuantGraph) -> int | None:
    try:
        return arena.arrange(graph).placement.total_bytes
    except InputError:
        return None


def _whole_arena(graph: QuantGraph) -> int | None:
    if lacks_tflm.survey(graph).lacks:
        return None
    try:
        return arena.arena_total(graph)
    except InputError:
        return None


def _weights(graph: QuantGraph, inputs: tuple[str, ...]) -> str:
    """Shape, dtype and how many scales of an operator's first constant; "" where it has none."""
    found = next((graph.tensor(name) for name in inputs if graph.tensor(name).is_constant), None)
    if found is None:
        return ""
    scales = "" if found.quantization is None else f", {len(found.quantization.scale)} scale{'s' * (len(found.quantization.scale) > 1)}"
    return f"{'×'.join(map(str, found.shape)) or '1'} {found.dtype}{scales}"


def _border(graph: QuantGraph, name: str) -> str:
    tensor = graph.tensor(name)
    said = f"{name} {list(tensor.shape)} {tensor.dtype}"
    if tensor.quantization is None:
        return said
    scale, zero = tensor.quantization.single
    return f"{said}, scale {scale:.6g}, zero point {zero}"


def _asked(target: str) -> tuple[str, ...]:
    if target in LACKS or target == HOST:
        return (target,) if target in LACKS else ()
    profile = _profile(target)
    if profile.deploy.runtime == "litert" and not profile.device.accelerator:
        return ()
    return ASK.get(profile.deploy.runtime, ())


def _profile(target: str) -> Profile:
    try:
        return load_profile(target)
    except InputError as error:
        others = ", ".join((*LACKS, HOST))
        raise InputError(error.what, where=error.where, expected=f"{error.expected}, or one of {others}", mend=error.mend) from error


def _survey(graph: QuantGraph, name: str) -> Survey:
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        path: Path | None = Path(folder) / "named.tflite"
        try:
            _write_named(graph, Path(folder) / "named.tflite")
        except EdgekdError:
            path = None
        return load(LACKS[name])(graph, path)


def _write_named(graph: QuantGraph, path: Path) -> None:
    """The exported file with the graph's names inside, which it does not carry, so that another tool's words can be understood."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    from edgekd.export.tflite import encode, tensor_numbers

    padded = explicit_padding(graph)
    model: Any = schema.ModelT.InitFromPackedBuf(encode(padded), 0)
    for name, number in tensor_numbers(padded).items():
        model.subgraphs[0].tensors[number].name = name
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def peak(inspection: Inspection) -> Layer | None:
    """The layer at which most must be in memory."""
    return max(inspection.layers, key=lambda layer: layer.live_bytes, default=None)


def readable(count: int) -> str:
    """Bytes for people."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << power:
            return f"{count / (1 << power):.4g} {unit}"
    return f"{math.floor(count)} B"
