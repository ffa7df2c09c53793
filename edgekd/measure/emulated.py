"""A model as C on an emulated microcontroller: its bytes, instructions and stack, and whether it computes what the reference does.

Flash, RAM and arena are counted off the linked firmware, instructions and stack are of the emulated core, and milliseconds are predicted
from the instructions: three kinds that each figure states.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgekd.errors import DoesNotFit, EdgekdError, InputError
from edgekd.lazy import load
from edgekd.mcu import boards, emulators, qemu, timing, toolchain
from edgekd.mcu.harness import Firmware, Order, Run, TooLarge, build, without_layers
from edgekd.measure import cycles
from edgekd.measure.device import Bench, Layer, Progress, Row, Subject
from edgekd.measure.tflm_baseline import baseline
from edgekd.measure.too_large import refusal
from edgekd.quant import compare, reference, size
from edgekd.quant.graph import STORAGE, QuantGraph
from edgekd.quant.outputs import joined, parts
from edgekd.records import Figure, Measurement

#: Samples whose outputs are compared and whose instructions are counted; accuracy takes as many more as time allows.
COUNTED = 20
PROFILE = "tflm"
#: Of more multiply-accumulates the instructions are counted in steps of up to eight, since the boards' counters have 32 bits.
MOST_MACS = 25_000_000
#: Header that a library includes → where the C comes from that it calls.
SOURCES = {"arm_nnfunctions.h": "edgekd.mcu.cmsis:sources"}
_FLASH = {"code": "flash_code_bytes", "weights": "flash_weights_bytes", "constants": "flash_constants_bytes"}


def measure(subject: Subject, progress: Progress) -> Bench:
    """Each kernel set of ``subject`` on the emulated core of its target, and TFLM's arena beside them.

    Raises DoesNotFit for a model that is larger than the target's memory, MissingDependency without a compiler or emulator, InputError for
    a target whose core is not emulated, or a model that C cannot state. A set that computes something else gives a row that says so.
    """
    profile = subject.target
    if profile.device.flash_bytes is None:
        raise InputError("the target has no flash", where=profile.name, expected="a microcontroller", mend="edgekd targets list --kind mcu")
    core = boards.core_of(profile.device.core)
    emulator = emulators.choose(core)
    toolchain.find()
    rows, refusals, notes = [], [], list(emulator.notes)
    with ExitStack() as opened:
        folder = subject.keep.resolve() if subject.keep else Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="edgekd-bench-")))
        for at, kernels in enumerate(subject.kernels):
            progress(f"bench {kernels}", at, len(subject.kernels))
            work = _Work(subject, kernels, core, emulator, folder / kernels)
            try:
                rows.append(work.row())
            except DoesNotFit as error:
                refusals.append(error)
                rows.append(Row(kernels, Measurement(f"C, {kernels}", profile.name, {}), failed=str(error)))
        if len(refusals) == len(rows):
            raise refusals[0]
        against, said = baseline(subject, folder)
    progress("bench", 1, 1)
    if core not in cycles.RATIOS:
        notes.append(f"no milliseconds: how many cycles a {profile.device.core} takes for an instruction is not modelled")
    return Bench("qemu", tuple(rows), against, (*notes, *said))


@dataclass(frozen=True, eq=False)
class _Work:
    """One kernel set."""

    subject: Subject
    kernels: str
    core: str
    emulator: emulators.Emulator
    folder: Path

    def row(self) -> Row:
        subject = self.subject
        order = self._order(subject.graph, self.folder)
        try:
            firmware = build(order, self.folder)
        except TooLarge as error:
            raise refusal(error, subject.graph, subject.target, self.kernels) from error
        run = self.emulator.run(firmware, as_bytes(subject.x[:COUNTED]), self.folder, shift=self._shift)
        x = subject.x[: len(run.outputs)]  # a large model may take longer than the time limit for all
        want = reference_of(subject.graph, x)
        got = values_of(subject.graph, run.outputs)
        equality = compare.bit_equal(got, want)
        where = f"{run.where}, {self.kernels} kernels, {toolchain.version()} -O2"
        figures = self._sizes(firmware, run, where)
        figures["bit_equal"] = emulated(equality.samples.figure(f"{where}, against the reference ({PROFILE})"))
        if not equality.whole:
            differing = int(np.flatnonzero((got != want).reshape(len(got), -1).any(1))[0])
            failed = (
                f"{self.kernels}: {len(x) - equality.samples.count} of {len(x)} samples differ from the reference; "
                + self._first_layer(x[differing : differing + 1])
            )
            kept = {"bit_equal": figures["bit_equal"]}
            return Row(self.kernels, Measurement(f"C, {self.kernels}", subject.target.name, kept), failed=failed)
        layers, layers_note = self._layers(order, run)
        figures |= self._times(firmware, run, where)
        failed = ""
        if subject.y is not None:
            more, failed = self._accuracies(firmware, where)
            figures = more if failed else {**figures, **more}
        measurement = Measurement(f"C, {self.kernels}", subject.target.name, figures, tuple(self._notes(firmware, run)))
        return Row(self.kernels, measurement, layers, "instructions", layers_note, failed)

    @property
    def _shift(self) -> int:
        return qemu.FINE if size.macs(self.subject.graph) <= MOST_MACS else qemu.COARSE

    def _order(self, graph: QuantGraph, folder: Path) -> Order:
        folder.mkdir(parents=True, exist_ok=True)
        artifact = self.subject.write("c", graph, folder, kernels=self.kernels, core=boards.plain_core(self.emulator.core))
        device = self.subject.target.device
        assert device.flash_bytes is not None
        text = (folder / artifact.path).read_text(encoding="utf-8")
        wanted = [where for header, where in SOURCES.items() if f'#include "{header}"' in text]
        sources = load(wanted[0])(self.subject.cmsis_nn) if wanted else None
        return Order(((folder, Path(artifact.path).stem),), self.emulator.core, device.flash_bytes, device.ram_bytes, sources=sources)

    def _sizes(self, firmware: Firmware, run: Run, where: str) -> dict[str, Figure]:
        flash, ram = firmware.flash(), firmware.ram()
        linked = f"linked for {self.emulator.core}, {self.kernels} kernels, {toolchain.version()} -O2"
        model = sum(flash[name] for name in _FLASH)
        return {
            "flash_bytes": Figure(model, "B", "counted", f"{linked}: what the model adds to a firmware"),
            **{name: Figure(flash[part], "B", "counted", linked) for part, name in _FLASH.items()},
            "peak_ram_bytes": Figure(ram["arena"] + ram["static"] + run.stack_bytes, "B", "emulated", f"{where}: arena, static and stack"),
            "arena_bytes": Figure(ram["arena"], "B", "counted", f"{linked}: activations and scratch"),
            "static_bytes": Figure(ram["static"], "B", "counted", linked),
            "stack_bytes": Figure(run.stack_bytes, "B", "emulated", f"{where}, painted"),
        }

    def _times(self, firmware: Firmware, run: Run, where: str) -> dict[str, Figure]:
        device = self.subject.target.device
        middle = float(np.median(run.instructions))
        figures = {"instructions": Figure(middle, "instructions", "emulated", where, n=len(run.instructions))}
        if self.core not in cycles.RATIOS:
            return figures
        timed = self._cycles(firmware)
        if timed is not None:
            stated = "by the timings that Arm states for each instruction, memory without wait states"
            figures["cycles"] = Figure(timed, "cycles", "predicted", f"{where}, {stated}")
        predicted = cycles.latency(middle, timed, self.core, device.clock_mhz, device.board)
        return figures if predicted is None else {**figures, "latency_ms": predicted}

    def _cycles(self, firmware: Firmware) -> float | None:
        """Of the first sample, by Arm's timings; None where the emulator cannot tell which instructions ran."""
        try:
            blocks = self.emulator.blocks(firmware, as_bytes(self.subject.x[:1]), self.folder)
        except EdgekdError:
            return None
        return timing.cycles(firmware.elf, blocks, cycles.RATIOS[self.core].timing)

    def _notes(self, firmware: Firmware, run: Run) -> list[str]:
        flash, ram, device = firmware.flash(), firmware.ram(), self.subject.target.device
        low, high = int(run.instructions.min()), int(run.instructions.max())
        spread = f"{low} to {high} over the samples" if low != high else "the same for every sample"
        unit = "single instructions" if run.granularity == 1 else f"steps of {run.granularity} instructions"
        whole = (
            f"the firmware with its harness: {sum(flash.values())} of {device.flash_bytes} B of flash, "
            f"{sum(ram.values())} of {device.ram_bytes} B of RAM ({ram['stack_room']} B of it room for the stack)"
        )
        return [
            f"instructions: {spread}, counted in {unit}, identical from run to run",
            whole,
        ]

    def _layers(self, order: Order, run: Run) -> tuple[tuple[Layer, ...], str]:
        """Instructions of the first sample, by a second firmware that counts at each layer."""
        folder = self.folder / "layers"
        firmware = build(replace(order, layers=True), folder)
        counted = self.emulator.run(firmware, as_bytes(self.subject.x[:1]), folder, shift=self._shift)
        layers = tuple(Layer(name, float(count)) for name, count in zip(firmware.names[0], counted.layers, strict=True))
        total, all_layers = int(run.instructions[0]), int(counted.layers.sum())
        return layers, f"the layers of the first sample sum to {all_layers}, its whole inference takes {total}"

    def _accuracies(self, firmware: Firmware, where: str) -> tuple[dict[str, Figure], str]:
        """Over as many labelled samples as the time allows, run without counting; and why not, where not all equal the reference."""
        subject = self.subject
        run = self.emulator.run(firmware, as_bytes(subject.x), self.folder, shift=None, limit_s=subject.seconds)
        done = len(run.outputs)
        got = values_of(subject.graph, run.outputs)
        equality = compare.bit_equal(got, reference_of(subject.graph, subject.x[:done]))
        assert subject.y is not None
        labels, flat = subject.y[:done].reshape(done, -1), got.reshape(done, -1)
        figures = {"bit_equal": emulated(equality.samples.figure(f"{where}, against the reference ({PROFILE})"))}
        if not equality.whole:
            missed = done - equality.samples.count
            return figures, f"{self.kernels}: {missed} of {done} samples differ from the reference, none of the first {COUNTED} did"
        for at, (name, part) in enumerate(parts(subject.graph).items()):
            key = "accuracy" if at == 0 and len(subject.graph.outputs) == 1 else f"accuracy_{name}"
            figures[key] = emulated(compare.accuracy(flat[:, part], labels[:, at]).figure(f"{where}, {subject.inputs}"))
        return figures, ""

    def _first_layer(self, x: np.ndarray) -> str:
        """The first layer whose output differs for ``x`` [1, …], by bisection over models that end after a layer."""
        graph, low = self.subject.graph, 0
        high = len(graph.ops) - 1
        try:
            while low < high:
                middle = (low + high) // 2
                low, high = (low, middle) if self._differs(middle, x) else (middle + 1, high)
        except EdgekdError as error:
            return f"which layer is the first could not be found out: {str(error).splitlines()[0]}"
        return f"the first layer that does is {graph.ops[low].name} ({type(graph.ops[low]).__name__})"

    def _differs(self, index: int, x: np.ndarray) -> bool:
        graph = self.subject.graph
        cut = replace(graph, ops=graph.ops[: index + 1], outputs=(graph.ops[index].outputs[0],), metadata={})
        folder = self.folder / f"cut{index}"
        device = self.subject.target.device
        # However much a cut needs: it is only asked what it computes.
        order = replace(without_layers(self._order(cut, folder)), ram_bytes=8 * device.ram_bytes, flash_bytes=1 << 26)
        run = self.emulator.run(build(order, folder), as_bytes(x), folder, shift=None)
        return bool((values_of(cut, run.outputs) != reference_of(cut, x)).any())


def emulated(figure: Figure) -> Figure:
    return replace(figure, kind="emulated")


def as_bytes(x: np.ndarray) -> np.ndarray:
    """``x`` [N, …] as the little-endian bytes of each sample: uint8 [N, bytes]."""
    x = np.ascontiguousarray(x)
    return x.astype(x.dtype.newbyteorder("<"), copy=False).reshape(len(x), -1).view(np.uint8)


def values_of(graph: QuantGraph, outputs: np.ndarray) -> np.ndarray:
    """The outputs [N, …] of bytes uint8 [N, bytes], those of several joined as the reference's are."""
    found, at = [], 0
    for name in graph.outputs:
        tensor = graph.tensor(name)
        dtype = STORAGE[tensor.dtype].newbyteorder("<")
        nbytes = dtype.itemsize * int(np.prod(tensor.shape))
        part = np.ascontiguousarray(outputs[:, at : at + nbytes]).view(dtype).astype(STORAGE[tensor.dtype])
        found.append(part.reshape(len(outputs), *tensor.shape[1:]))
        at += nbytes
    return joined(found)


def reference_of(graph: QuantGraph, x: np.ndarray) -> np.ndarray:
    results = reference.run(graph, x, PROFILE)
    return joined([results[name] for name in graph.outputs])
