"""A board that speaks the text protocol of MLPerf Tiny's runner, behind a pseudo terminal."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.bench import write
from edgekd.errors import DeviceError
from edgekd.mcu.mlperf import Text
from edgekd.measure import serial
from edgekd.measure.device import Bench, Subject
from edgekd.profile.load import find, load
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph
from edgekd.transports.serial import connect
from tests.mlperf_board import BUFFER, Board
from tests.serial_boards import Peer


@pytest.fixture(scope="module")
def graph() -> QuantGraph:
    return io.load(Path(__file__).resolve().parent.parent / "golden" / "inverted_residual")


def _measure(graph: QuantGraph, board: Board, **more: Any) -> Bench:
    x = np.random.default_rng(0).integers(-128, 128, (4, *graph.tensor(graph.inputs[0]).shape[1:])).astype(np.int8)
    with Peer(board.answer, greeting=b"\xff\x00boot\r\nm-init-done\r\nm-ready\r\n") as peer:
        given = {"y": None, "inputs": "4 random inputs", "write": write, "address": f"{peer.path}@115200", **more}
        return serial.measure(Subject(graph, load(find("nrf52840dk")), x, **given), lambda *_: None)


@pytest.mark.parametrize("unsigned", [False, True])
def test_it_works_unchanged(graph: QuantGraph, unsigned: bool) -> None:
    board = Board(graph, unsigned=unsigned)
    found = _measure(graph, board, y=np.zeros(4, np.int64))
    (row,) = found.rows
    figures = row.measurement.figures
    assert found.ok and row.measurement.artifact == "ic01" and figures["bit_equal"].n == figures["accuracy"].n == 4
    latency = figures["latency_ms"]
    assert latency.value == pytest.approx(50) and latency.low == latency.high == pytest.approx(50) and latency.kind == "measured"
    assert "20 blocks of 10 inferences" in latency.where and "ULPMark" in latency.where
    assert ("the board takes inputs as uint8, 128 more than int8" in found.notes) == unsigned
    assert max(map(len, board.commands)) <= BUFFER, "its buffer has room for so many characters"


def test_a_board_that_computes_something_else_is_an_error(graph: QuantGraph) -> None:
    found = _measure(graph, Board(graph, spoil=0.1))
    assert not found.ok and "latency_ms" not in found.rows[0].measurement.figures
    assert "4 of 4 samples differ from the reference; the firmware is of another model, or wrong" in found.rows[0].failed


@pytest.mark.parametrize(
    ("board", "message"),
    [
        ({"energy": True}, "infer 1 answered 0 time stamps and results.*build the firmware for performance mode"),
        ({"micros": 0}, "its clock stood still over 1 inferences"),
        ({"fails": {"infer": "e-[Out of memory]\r\nm-ready\r\n"}}, r"to 'infer 1 0' the board says e-\[Out of memory\]"),
        ({"fails": {"infer": "m-init-done\r\nm-ready\r\n"}}, "the board started anew on 'infer 1 0'"),
        ({"fails": {"infer": "m-lap-us-1\r\nm-lap-us-2\r\nm-results-[nan,x]\r\nm-ready\r\n"}}, "its results are no numbers: nan,x"),
        (
            {"fails": {"db": "Supplied buffer size 400 exceeds maximum of 32\r\nm-ready\r\n"}},
            "does not take an input of .* bytes: Supplied",
        ),
    ],
)
def test_what_goes_wrong_is_said(graph: QuantGraph, board: dict[str, Any], message: str) -> None:
    with pytest.raises(DeviceError, match=f"(?s){message}"):
        _measure(graph, Board(graph, **board))


def test_a_half_command_in_its_buffer_and_one_that_is_never_done(graph: QuantGraph) -> None:
    board = Board(graph, fails={"infer": "m-warmup-start-0\r\n"})
    board.answer(b"prof")
    with Peer(board.answer) as peer, closing(connect(peer.path)) as port:
        text = Text(port)
        name = text.begin()
        assert name is not None and (name.name, name.model) == ("unspecified", "ic01")
        with pytest.raises(DeviceError, match="(?s)'infer 1 0' was not done in 0.3 s; last it said 'm-warmup-start-0'.*reset the board"):
            text.infer(1, 0, 0.3)


class Chatting:
    """A board that prints its measurements all the time, whatever it is asked."""

    where, baud = "a test", 115200

    def __init__(self) -> None:
        self.reads = 0

    def write(self, content: bytes) -> None:
        pass

    def read(self, limit_s: float) -> bytes:
        time.sleep(0.001)
        self.reads += 1
        assert self.reads < 2000, "listened to for ever"
        return b"23.5 degrees\r\n" * 1000


def test_a_board_that_never_stops_talking_is_not_listened_to_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekd.mcu.mlperf._SETTLE_S", 0.1)
    text = Text(Chatting())
    text._settle()
    with pytest.raises(DeviceError, match=r"'profile' was not done in 0.2 s; last it said '23.5 degrees'"):
        text.command("profile", 0.2)
    assert len(text._lines(0.2)) <= 20_000, "nor kept"
