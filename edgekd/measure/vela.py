"""What a model costs on an Ethos-U, as Arm's compiler Vela estimates it: nothing runs, so times are predicted and memory is laid out."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgekd.errors import EdgekdError, InputError
from edgekd.measure.device import Bench, Layer, Progress, Row, Subject
from edgekd.profile.schema import Npu, Profile
from edgekd.quant.arena import MEMORY_PLAN
from edgekd.records import Figure, Measurement
from edgekd.runtimes import vela
from edgekd.runtimes.lacks import Lack, Survey
from edgekd.runtimes.lacks_ethos_u import parse

DEVICE = "vela"
_MEMORIES = {"peak_ram_bytes": ("sram",), "flash_bytes": ("on_chip_flash", "off_chip_flash"), "dram_bytes": ("dram",)}


@dataclass(frozen=True)
class Prediction:
    """``layers`` are those of the NPU in the order in which they run, ``left`` what the processor beside it has to compute, and why."""

    measurement: Measurement
    layers: tuple[vela.Layer, ...]
    left: tuple[Lack, ...]


def measure(subject: Subject, progress: Progress) -> Bench:
    """The device `vela`: the model as TFLite, compiled for the target's NPU. Raises as ``predict`` does, and for other kernels."""
    if subject.kernels != ("portable",):
        raise InputError(f"kernels {', '.join(subject.kernels)}", where="--kernels", expected="nothing: what an NPU runs is Vela's own")
    progress(DEVICE, 0, 1)
    # Vela writes a plan of its own, unless it finds one, which its output would no longer fit.
    graph = subject.graph.with_metadata(**{MEMORY_PLAN: "none"})
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        out = (subject.keep or Path(folder)).resolve()
        out.mkdir(parents=True, exist_ok=True)
        found = predict(out / subject.write("tflite", graph, out, names="all").path, subject.target)
    layers = tuple(
        Layer(f"{layer.kind} {layer.name}", layer.cycles, "" if layer.target == "NPU" else layer.target) for layer in found.layers
    )
    left = tuple(f"falls back to the processor: {lack.kind} {lack.operator}: {lack.reason}" for lack in found.left)
    progress(DEVICE, 1, 1)
    row = Row(npu_of(subject.target).accelerator, found.measurement, layers, "cycles")
    return Bench(DEVICE, (row,), notes=left, figures=found.measurement.figures)


def npu_of(profile: Profile) -> Npu:
    """The [npu] of a profile; without one what its accelerator's name says. Raises InputError for a target without an Ethos-U."""
    if profile.npu is not None:
        return profile.npu
    name = (profile.device.accelerator or "").lower()
    known = Npu.model_fields["accelerator"].annotation
    try:
        return Npu.model_validate({"accelerator": name})
    except ValueError as error:
        raise InputError(
            f"target {profile.name} has {profile.device.accelerator or 'no accelerator'}",
            where="--device vela",
            expected=f"an Ethos-U: [npu] with accelerator = one of {', '.join(known.__args__)}",  # type: ignore[union-attr]
            mend="--target corstone-300",
        ) from error


def predict(tflite: Path, profile: Profile, artifact: str = "") -> Prediction:
    """Cycles, time and memory of the TFLite file on the NPU of ``profile``; ``artifact`` is what the measurement calls it.

    The file has no memory plan of ours (docs/memory.md). Raises InputError for a target without an Ethos-U and where Vela refuses the file,
    EdgekdError where nothing of it is left for the NPU.
    """
    npu = npu_of(profile)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        compiled = vela.run(tflite, npu, Path(folder))
    if isinstance(compiled, Survey):
        raise InputError(f"not compiled: {compiled.by}", where=str(tflite), expected="a TFLite file and a configuration that Vela takes")
    left = tuple(parse(compiled.text))
    if not compiled.summary or all(layer.target != "NPU" for layer in compiled.layers):
        first = f"; {left[0].kind}: {left[0].reason}" if left else ""
        raise EdgekdError(f"{tflite}: the NPU takes none of its operators{first}")
    figures, clock = _figures(compiled, npu)
    notes = [f"system {compiled.summary['system_config']}, memory mode {compiled.summary['memory_mode']}, NPU at {clock / 1e6:g} MHz"]
    if npu.clock_mhz is not None:
        notes.append(
            f"Vela counts cycles at {float(compiled.summary['core_clock']) / 1e6:g} MHz: memories are taken to slow down with the NPU"
        )
    if left:
        run = "operator runs" if len(left) == 1 else "operators run"
        notes.append(f"{len(left)} {run} on the processor, whose time is not in latency_ms")
    return Prediction(Measurement(artifact or tflite.name, DEVICE, figures, tuple(notes)), compiled.layers, left)


def _figures(compiled: vela.Compiled, npu: Npu) -> tuple[dict[str, Figure], float]:
    summary, by = compiled.summary, compiled.by
    clock = npu.clock_mhz * 1e6 if npu.clock_mhz is not None else float(summary["core_clock"])
    cycles = float(summary["cycles_total"])
    figures = {
        "latency_ms": Figure(1e3 * cycles / clock, "ms", "predicted", f"{by}, a static estimate whose error nobody states"),
        "cycles": Figure(cycles, "cycles", "predicted", by),
        "model_bytes": Figure(compiled.model_bytes, "B", "counted", f"the file that {by} writes"),
    }
    for name, memories in _MEMORIES.items():
        used = round(1024 * sum(float(summary[f"{memory}_memory_used"]) for memory in memories))
        if used or name == "peak_ram_bytes":
            figures[name] = Figure(used, "B", "counted", f"laid out by {by}")
    return figures, clock
