"""A board at a serial port: edgekd's firmware in QEMU, on good lines and bad ones, and what is said where it is not what it should be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.bench import write
from edgekd.errors import DeviceError
from edgekd.mcu.harness import Firmware
from edgekd.mcu.link import Link
from edgekd.measure import serial
from edgekd.measure.device import Asked, Bench, Subject
from edgekd.measure.emulated import as_bytes, reference_of, values_of
from edgekd.profile.load import find, load
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph
from edgekd.transports.serial import connect, is_pseudo_terminal
from tests.mcu.tools import needs_qemu
from tests.serial_boards import Emulated, Noisy, Peer, emulated, firmware_of

pytestmark = needs_qemu


@pytest.fixture(scope="module")
def graph() -> QuantGraph:
    return io.load(Path(__file__).resolve().parent.parent / "golden" / "inverted_residual")


@pytest.fixture(scope="module")
def firmware(graph: QuantGraph, tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    return firmware_of(graph, tmp_path_factory.mktemp("firmware"))


@pytest.fixture
def board(firmware: Firmware) -> Iterator[Emulated]:
    with emulated(firmware) as running:
        yield running


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """These boards need no time until they hear."""
    monkeypatch.setattr(serial, "_TEXT_S", 0.2)


def _subject(graph: QuantGraph, path: str, count: int = 20, **more: Any) -> Subject:
    x = np.random.default_rng(0).integers(-128, 128, (count, *graph.tensor(graph.inputs[0]).shape[1:])).astype(np.int8)
    given = {"profile": load(find("nrf52840dk")), "x": x, "y": None, "inputs": f"{count} random inputs", "write": write, **more}
    return Subject(graph, **{"address": path, **given})


def _measure(subject: Subject) -> Bench:
    return serial.measure(subject, lambda *_: None)


def test_its_own_time_and_the_references_outputs(graph: QuantGraph, board: Emulated) -> None:
    found = _measure(_subject(graph, board.path, y=np.zeros(20, np.int64)))
    (row,) = found.rows
    figures = row.measurement.figures
    assert found.ok and found.device == "serial" and not row.failed
    assert figures["bit_equal"].value == 1 and figures["bit_equal"].n == figures["accuracy"].n == 20
    latency = figures["latency_ms"]
    assert latency.kind == figures["bit_equal"].kind == figures["stack_bytes"].kind == "emulated", "QEMU is behind a pseudo terminal"
    assert any("times of an emulator mean nothing" in note for note in found.notes)
    assert latency.n == 20 and latency.low is not None and latency.high is not None
    assert 0 < latency.low <= latency.value <= latency.high and "timer 25 MHz" in latency.where and board.path in latency.where
    assert 0 < figures["stack_bytes"].value < 2000 and "mps2-an386, edgekd's firmware" in latency.where


def test_without_a_pause(graph: QuantGraph, board: Emulated) -> None:
    found = _measure(_subject(graph, board.path, 4, asked=Asked(sustained_s=1.0))).rows[0].measurement.figures
    # Blocks of up to a second are too few in half a second for an interval: nothing is said.
    assert "sustained_first_ms" not in found
    with closing(connect(board.path)) as port:
        running = _board(port, port)
        x = as_bytes(_subject(graph, board.path, 4).x)
        assert running._sustained(x, 0, 0.0, lambda *_: None) == {}


def test_a_board_that_starts_anew_in_the_middle_loses_nothing(graph: QuantGraph, board: Emulated) -> None:
    subject = _subject(graph, board.path, 60)
    with closing(connect(board.path)) as port:
        running = _board(Pressed(port, board.restart, after=1200), port)
        answer = running.ask(as_bytes(subject.x), 0)
        assert answer.whole and (values_of(graph, answer.outputs) == reference_of(graph, subject.x)).all()
        assert running.restarts == 1
        (note,) = [note for note in running.notes(60, 60) if "anew" in note]
    assert note == "the board started anew 1 times; what it had not done was asked again"


def test_a_board_that_keeps_starting_anew_is_given_up(graph: QuantGraph, board: Emulated) -> None:
    subject = _subject(graph, board.path, 40)
    with closing(connect(board.path)) as port:
        running = _board(Pressed(port, board.restart, after=600, again=True), port)
        with pytest.raises(DeviceError, match="the device started anew in the middle, 6 times"):
            running.ask(as_bytes(subject.x), 0)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_a_bad_line_loses_nothing(graph: QuantGraph, board: Emulated, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekd.mcu.link._QUIET_S", 0.03)  # as many faults, waited for less
    subject = _subject(graph, board.path, 12)
    with closing(connect(board.path)) as port:
        line = Noisy(port, 0.001, seed)
        running = _board(line, port)
        answer = running.ask(as_bytes(subject.x), 0)
        assert (values_of(graph, answer.outputs) == reference_of(graph, subject.x)).all()
        assert line.spoiled > 10 and running.link.counts.repeated
        assert any(note.startswith("the line: of ") for note in running.notes(12, 12))


def test_another_harness_in_the_middle_of_a_session_begins_its_own(graph: QuantGraph, board: Emulated) -> None:
    subject = _subject(graph, board.path, 3)
    x = as_bytes(subject.x)
    with closing(connect(board.path)) as port:
        Link(port).begin()
        port.write(b"garbage \0 and half a frame \0\x09WW")
    with closing(connect(board.path)) as port:
        answer = _board(port, port).ask(x, 0)
    assert (values_of(graph, answer.outputs) == reference_of(graph, subject.x)).all()


def test_a_board_that_hangs_is_not_waited_for_for_ever(graph: QuantGraph, board: Emulated) -> None:
    x = as_bytes(_subject(graph, board.path, 3).x)
    with closing(connect(board.path)) as port:
        running = _board(port, port)
        board.tell("stop")
        with pytest.raises(DeviceError, match="(?s)has said nothing new for 1 s, and 0 bytes before.*to mend:  reset the board"):
            running.ask(x, 0, limit_s=1.0)
        board.tell("cont")
        running.link.begin()
        assert running.ask(x, 0).whole


def test_a_model_that_it_has_not(graph: QuantGraph, board: Emulated) -> None:
    subject = _subject(graph, board.path, 3)
    taken, given = as_bytes(subject.x).shape[1], int(np.prod(graph.tensor(graph.outputs[0]).shape))
    with closing(connect(board.path)) as port:
        running = _board(port, port)
        with pytest.raises(DeviceError, match=f"(?s)it takes and gives {taken} → {given} B.*expected: 5 → {given} B.*docs/porting.md"):
            running.model(graph, np.zeros((1, 5), np.uint8))
        # Asked by its index nonetheless: the firmware stops, and a new session starts it anew.
        with pytest.raises(DeviceError, match="stopped with 71: it was asked for a model that it has not"):
            running.ask(as_bytes(subject.x), 7)
        running.link.begin()
        assert running.ask(as_bytes(subject.x), 0).whole


def test_a_firmware_of_another_model_is_an_error(graph: QuantGraph, tmp_path: Path) -> None:
    first = next(name for name, tensor in graph.tensors.items() if tensor.is_constant and tensor.dtype == "int8")
    data = graph.tensor(first).data
    assert data is not None
    other = replace(graph, tensors={**graph.tensors, first: replace(graph.tensor(first), data=np.ascontiguousarray(data[::-1]))})
    with emulated(firmware_of(other, tmp_path)) as board:
        found = _measure(_subject(graph, board.path, 5))
    assert not found.ok and "latency_ms" not in found.rows[0].measurement.figures
    assert "samples differ from the reference; the firmware is of another model, or wrong" in found.rows[0].failed


def test_layers_where_the_firmware_counts_them(graph: QuantGraph, tmp_path: Path) -> None:
    with emulated(firmware_of(graph, tmp_path, layers=True)) as board:
        (row,) = _measure(_subject(graph, board.path, 2)).rows
    assert row.unit == "µs" and len(row.layers) == len(graph.ops) and all(layer.value > 0 for layer in row.layers)


def test_a_timer_that_runs_faster_than_it_says(graph: QuantGraph, firmware: Firmware, board: Emulated) -> None:
    with closing(connect(board.path)) as port:
        running = _board(port, port)
        running.hello = replace(running.hello, timer_hz=1000)
        answer = running.ask(as_bytes(_subject(graph, board.path, 3).x), 0)
        with pytest.raises(DeviceError, match="(?s)its timer counted .* s of inference, and the host waited 1 s.*correct `timer:`"):
            running.check(answer, 1.0)


def test_who_answers_garbage_and_who_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial, "_FRAMES_S", 0.3)
    for answer, message in (
        (b"\x55\xaa" * 8, "bytes came in 0.3 s, and no answer among them.*--device serial:PATH@BAUD"),
        (b"", "nothing answered in 0.3 s.*docs/porting.md"),
    ):
        with (
            Peer(lambda _, answer=answer: answer) as peer,
            closing(connect(peer.path)) as port,
            pytest.raises(DeviceError, match=f"(?s)serial {peer.path}: .*{message}"),
        ):
            serial.find(port)


def _board(line: Any, port: Any) -> serial.Board:
    link = Link(line)
    return serial.Board(line, link, link.begin())


class Pressed:
    """``port``, at which somebody presses the reset button once so many bytes were read, or each time that they were."""

    def __init__(self, port: Any, press: Any, after: int, again: bool = False) -> None:
        self.where, self.baud, self._port, self._press, self._after, self._again = port.where, port.baud, port, press, after, again
        self._left, self.path = after, port.path

    def write(self, content: bytes) -> None:
        self._port.write(content)

    def read(self, limit_s: float) -> bytes:
        content = self._port.read(limit_s)
        if 0 < self._left <= len(content):
            self._press()
            self._left = self._after + len(content) if self._again else 0
        self._left = max(0, self._left - len(content))
        return content


def test_what_is_emulated_and_what_may_be_measured(graph: QuantGraph, board: Emulated) -> None:
    with closing(connect(board.path)) as port:
        running = _board(port, port)
        assert running.emulated
        running.hello = replace(running.hello, board="a-board-of-mine")
        assert not running.emulated, "QEMU has none: something leads from the pseudo terminal to it"
    assert is_pseudo_terminal(board.path) and not is_pseudo_terminal("/dev/ttyACM0")
