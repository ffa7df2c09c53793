"""A board at a serial port: its own time for each inference, and whether it computes what the reference does.

Whatever firmware is on it is asked who it is: edgekd's own (docs/porting.md), or one that speaks the text protocol of MLPerf Tiny's runner.
Nothing is flashed. The board's timer measures; the host only checks that it cannot be too fast.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np

from edgekd.errors import DeviceError, Lost
from edgekd.mcu import answers
from edgekd.mcu.answers import Answer
from edgekd.mcu.boards import boards
from edgekd.mcu.link import Counts, Hello, Link, Port, Restarted
from edgekd.mcu.mlperf import Text
from edgekd.measure import serial_text, stats
from edgekd.measure.device import Bench, Layer, Progress, Row, Subject
from edgekd.measure.emulated import PROFILE, as_bytes, reference_of, values_of
from edgekd.measure.serial_figures import accuracies, latency
from edgekd.quant import compare
from edgekd.quant.graph import STORAGE, QuantGraph
from edgekd.records import Figure, Measurement
from edgekd.transports.serial import SerialPort, connect, is_pseudo_terminal

#: Samples of the first request; then as many at a time as take a few seconds.
_FIRST, _BATCH_S = 8, 5.0
#: Layers that a firmware may count, at most.
_LAYERS = 10_000
#: How often a board may start anew, or its port go away, before it is given up.
RESTARTS = 5
#: A board that the opening of its port restarts takes so long until it hears.
_TEXT_S, _FRAMES_S = 1.5, 6.0


def measure(subject: Subject, progress: Progress) -> Bench:
    """See ``Measure``. Raises DeviceError where no firmware answers, or none of its models has the sizes of this one."""
    with closing(connect(subject.address)) as port:
        progress("asking the board", 0, 1)
        found = find(port)
        if isinstance(found, Text):
            row, notes = serial_text.row(found, port.where, subject, progress)
            if is_pseudo_terminal(port.path):
                notes += (f"{port.path} is a pseudo terminal: if an emulator is behind it, its times mean nothing",)
        else:
            row, notes = Board(port, *found).row(subject, progress)
    progress("bench", 1, 1)
    return Bench("serial", (row,), notes=notes)


def find(port: Port) -> Text | tuple[Link, Hello]:
    """Which protocol the board speaks. Text comes first: edgekd's firmware does not mind it, and a board that speaks it may mind frames.

    Raises DeviceError where neither is answered.
    """
    for last in (False, True):
        text = Text(port)
        if text.begin(_TEXT_S) is not None:
            return text
        link = Link(port)
        try:
            return link, link.begin(_FRAMES_S)
        except Lost:
            raise
        except DeviceError:
            if last:
                raise
    raise AssertionError


@dataclass
class Board:
    """edgekd's firmware at ``port``. Not frozen: sessions begin anew. ``restarts`` counts how often."""

    port: SerialPort
    link: Link
    hello: Hello
    restarts: int = 0
    counts: Counts = field(default_factory=Counts)
    output_bytes: int = 1 << 16

    @property
    def emulated(self) -> bool:
        """Whether QEMU is behind the port: a pseudo terminal, as it opens one, and a port of a machine that it has."""
        board = boards().get(self.hello.board)
        return board is not None and bool(board.machine) and is_pseudo_terminal(self.port.path)

    @property
    def where(self) -> str:
        return f"{self.port.where}: {self.hello.board}, edgekd's firmware, timer {self.hello.timer_hz / 1e6:g} MHz"

    def row(self, subject: Subject, progress: Progress) -> tuple[Row, tuple[str, ...]]:
        """Every sample that ``subject.seconds`` allow, at least the first few; all where the whole set was asked for."""
        x = as_bytes(subject.x)
        model = self.model(subject.graph, x)
        began, found = time.monotonic(), list[Answer]()
        done, batch = 0, _FIRST
        while done < len(x) and (not done or subject.asked.whole or time.monotonic() - began < subject.seconds):
            progress(f"{self.port.where}", done, len(x))
            start = time.monotonic()
            found.append(self.ask(x[done : done + batch], model, limit_s=max(60.0, subject.seconds)))
            self.check(found[-1], time.monotonic() - start)
            done += len(found[-1].outputs)
            each = (time.monotonic() - start) / max(1, len(found[-1].outputs))
            batch = int(np.clip(_BATCH_S / each, 1, 1000))
        sustained = self._sustained(x, model, subject.asked.sustained_s, progress)
        return self._row(subject, found, sustained), self.notes(done, len(x))

    def _sustained(self, x: np.ndarray, model: int, seconds: float, progress: Progress) -> dict[str, Figure]:
        """The first and the last minute (of a short run, its quarters) of blocks of up to a second; nothing for too few."""
        began, medians, count = time.monotonic(), list[float](), 1
        while (at := time.monotonic() - began) < seconds:
            progress("without a pause", int(at), int(seconds))
            answer = self.ask(x[np.arange(count) % len(x)], model)
            medians.append(float(np.median(answer.ticks - answer.empty_run)) / self.hello.timer_hz)
            count = int(np.clip(0.8 * count / max(1e-3, time.monotonic() - began - at), 1, 1000))
        part = min(60, len(medians) // 4)
        if part < stats.FEWEST:
            return {}
        found = {}
        for name, chosen in (("first", medians[:part]), ("last", medians[-part:])):
            s = stats.block_median(np.array(chosen) * 1e3)
            note = f"{self.where}, {name} {part} of {len(medians)} blocks in {seconds:.0f} s without a pause"
            found[f"sustained_{name}_ms"] = Figure(s.median, "ms", "measured", note, n=s.n, low=s.low, high=s.high)
        return found

    def model(self, graph: QuantGraph, x: np.ndarray) -> int:
        """Which model of the firmware has the sizes of ``graph``; of several the first that answers as the reference does, else the first.

        Raises DeviceError where none has.
        """
        wanted = (x.shape[1], sum(graph.tensor(name).nbytes for name in graph.outputs))
        empty = [self._again(lambda at=at: self.link.ask(answers.request(x[:0], at))) for at in range(self.hello.models)]
        sizes = [answers.sizes(content, self.port.where) for content in empty]
        fitting = [at for at, size in enumerate(sizes) if size == wanted]
        if not fitting:
            there = ", ".join(f"{taken} → {given} B" for taken, given in sizes)
            raise DeviceError(
                f"no model of the firmware is this one: it takes and gives {there}",
                where=self.port.where,
                expected=f"{wanted[0]} → {wanted[1]} B",
                mend="build the firmware for this model and flash it: docs/porting.md",
            )
        self.output_bytes = wanted[1]
        if len(fitting) > 1:
            want = reference_of(graph, _samples(graph, x[:2]))
            for at in fitting:
                if (values_of(graph, self.ask(x[:2], at).outputs) == want).all():
                    return at
        return fitting[0]

    def ask(self, x: np.ndarray, model: int, *, limit_s: float = 60.0) -> Answer:
        """Every row of ``x`` uint8 [N, bytes]; where the board starts anew, from the first row that is not done. Raises DeviceError."""
        got: Answer | None = None
        while True:
            rest = x[len(got.outputs) if got else 0 :]
            try:
                most = answers.length(len(rest), self.output_bytes, _LAYERS)
                content = self.link.ask(answers.request(rest, model), limit_s=limit_s, most=most)
            except Restarted as error:
                got = _joined(got, error.answered, x.shape[1], self.port.where)
                self._begin(error)
                continue
            except Lost as error:
                self._begin(error)
                continue
            answer = _joined(got, content, x.shape[1], self.port.where)
            if answer is None or not answer.whole or len(answer.outputs) != len(x):
                raise DeviceError(
                    f"it answered {len(answer.outputs) if answer else 0} of {len(x)} samples, and ended", where=self.port.where
                )
            return answer

    def check(self, answer: Answer, waited_s: float) -> None:
        """Raises DeviceError where the board says that it computed for longer than the host has waited: its timer is not what it says."""
        stated = float(answer.ticks.sum()) / self.hello.timer_hz
        if stated > 1.02 * waited_s + 0.01:
            raise DeviceError(
                f"its timer counted {stated:.3g} s of inference, and the host waited {waited_s:.3g} s in all",
                where=self.port.where,
                expected=f"{self.hello.timer_hz} Hz, as the port says",
                mend="correct `timer:` in the head of the port: docs/porting.md",
            )

    def _again(self, ask: Callable[[], bytes]) -> bytes:
        while True:
            try:
                return ask()
            except Lost as error:
                self._begin(error)

    def _begin(self, error: Lost) -> None:
        """A new session after ``error``, raised where there were too many."""
        self.restarts += 1
        if self.restarts > RESTARTS:
            raise DeviceError(f"{error.what}, {self.restarts} times", where=self.port.where, mend=error.mend) from error
        if not isinstance(error, Restarted):
            self.port.reopen()
            self.counts = _added(self.counts, self.link.counts)
            self.link = Link(self.port)
        for last in (False, True):
            try:
                self.hello = self.link.begin(2 * _FRAMES_S)
                return
            except Lost:
                if last:
                    raise
                self.port.reopen()

    def _row(self, subject: Subject, found: list[Answer], sustained: dict[str, Figure]) -> Row:
        graph, first = subject.graph, found[0]
        got = values_of(graph, np.concatenate([answer.outputs for answer in found]))
        x = subject.x[: len(got)]
        equality = compare.bit_equal(got, reference_of(graph, x))
        figures = {"bit_equal": equality.samples.figure(f"{self.where}, against the reference ({PROFILE})")}
        name = "edgekd's firmware"
        if not equality.whole:
            wrong = len(x) - equality.samples.count
            failed = f"{self.port.where}: {wrong} of {len(x)} samples differ from the reference; the firmware is of another model, or wrong"
            return Row(name, Measurement(name, "serial", figures), failed=failed)
        ticks = np.concatenate([np.maximum(answer.ticks - answer.empty_run, 0) for answer in found])
        figures |= latency(ticks / self.hello.timer_hz, self.where) | sustained
        figures["stack_bytes"] = Figure(first.stack_bytes, "B", "measured", f"{self.where}, painted")
        figures |= accuracies(subject, got, self.where)
        layers = tuple(
            Layer(f"layer {at}", max(0, int(count) - first.empty_mark) * 1e6 / self.hello.timer_hz) for at, count in enumerate(first.layers)
        )
        if self.emulated:
            figures = {name: replace(one, kind="emulated") if one.kind == "measured" else one for name, one in figures.items()}
        return Row(name, Measurement(name, "serial", figures), layers, "µs" if layers else "")

    def notes(self, done: int, wanted: int) -> tuple[str, ...]:
        """What a reader must know of the line and the board."""
        notes, counts = [], _added(self.counts, self.link.counts)
        if self.emulated:
            notes.append(f"{self.port.path} is a pseudo terminal, and QEMU has a {self.hello.board}: times of an emulator mean nothing")
        if done < wanted:
            notes.append(f"{done} of {wanted} samples were done in the time; --seconds allows more, --accuracy all")
        if counts.bad or counts.repeated:
            notes.append(
                f"the line: of {counts.frames} frames {counts.bad} came broken, {counts.repeated} replies were repeated; none is lost"
            )
        if self.restarts:
            notes.append(f"the board started anew {self.restarts} times; what it had not done was asked again")
        return tuple(notes)


def _samples(graph: QuantGraph, x: np.ndarray) -> np.ndarray:
    """Bytes uint8 [N, bytes] as the samples that they are."""
    tensor = graph.tensor(graph.inputs[0])
    return np.ascontiguousarray(x).view(STORAGE[tensor.dtype]).reshape(len(x), *tensor.shape[1:])


def _joined(got: Answer | None, content: bytes, input_bytes: int, where: str) -> Answer | None:
    """``got`` and the samples that ``content`` holds besides."""
    if len(content) < answers.HEAD_BYTES:
        return got
    more = answers.answer(content, input_bytes, where)
    if got is None:
        return more if len(more.outputs) or more.whole else None
    outputs, ticks = np.concatenate([got.outputs, more.outputs]), np.concatenate([got.ticks, more.ticks])
    return replace(got, outputs=outputs, ticks=ticks, whole=more.whole)


def _added(a: Counts, b: Counts) -> Counts:
    return Counts(a.frames + b.frames, a.bad + b.bad, a.repeated + b.repeated, a.received + b.received)
