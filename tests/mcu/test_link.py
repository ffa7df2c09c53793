"""The host's side of the line, against a firmware in Python that follows ek_uart.c: what is lost, said twice, or comes late."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from edgekd.errors import DeviceError
from edgekd.mcu import frames
from edgekd.mcu.frames import DATA, EXIT, HELLO, RESET, WANT, Decoder, Frame, encode
from edgekd.mcu.link import Link, Restarted


class Firmware:
    """A ``Port`` with a firmware behind it that wants ``takes`` bytes, and answers each of them plus 1. It says again what it said last on
    whatever it does not await. ``spoil`` may change what goes to the host: (number of the frame, its bytes) → bytes."""

    where, baud = "a test", 115200

    def __init__(self, takes: int = 500, *, version: int = frames.VERSION, spoil: Callable[[int, bytes], bytes] | None = None) -> None:
        self.takes, self.version, self.spoil = takes, version, spoil or (lambda number, content: content)
        self.heard: list[Frame] = []
        self._decoder, self._out, self._sent = Decoder(), b"", 0
        self.boot()

    def boot(self) -> None:
        self._session = 0
        self._begin()

    def write(self, content: bytes) -> None:
        for frame in self._decoder.feed(content):
            self.heard.append(frame)
            self._hear(frame)

    def read(self, limit_s: float) -> bytes:
        found, self._out = self._out, b""
        return found

    def say(self, kind: int, payload: bytes) -> None:
        self._last = Frame(kind, self._sequence, payload)
        self._send()

    def _begin(self) -> None:
        self._sequence, self._taken = 0, b""
        self.say(HELLO, struct.pack("<4I", self.version, self._session, 1, 1000) + b"mine")

    def _send(self) -> None:
        self._out += self.spoil(self._sent, encode(self._last))
        self._sent += 1

    def _hear(self, frame: Frame) -> None:
        if frame.kind == RESET and frame.words()[0] != self._session:
            self._session = frame.words()[0]
            self._begin()
        elif frame.kind == DATA and frame.sequence == self._sequence:
            self._sequence = (self._sequence + 1) % 256
            self._taken += frame.payload
            if len(self._taken) == self.takes:
                self._reply = bytes((byte + 1) % 256 for byte in self._taken)
                self._taken = b""
                self.say(DATA, self._reply[: frames.PAYLOAD])
                self._reply = self._reply[frames.PAYLOAD :]
            elif getattr(self, "_reply", b""):
                self.say(DATA, self._reply[: frames.PAYLOAD])
                self._reply = self._reply[frames.PAYLOAD :]
            else:
                self.say(WANT, struct.pack("<I", self.takes - len(self._taken)))
        else:
            self._send()


CONTENT = bytes(range(250)) * 2
WANTED = bytes((byte + 1) % 256 for byte in CONTENT)


def test_requests_one_after_the_other() -> None:
    firmware = Firmware()
    link = Link(firmware)
    hello = link.begin()
    assert (hello.timer_hz, hello.board) == (1000, "mine")
    for _ in range(100):  # the sequence numbers wrap
        assert link.ask(CONTENT) == WANTED
    assert link.counts.bad == link.counts.repeated == 0


@pytest.mark.parametrize("lost", range(2, 9))
def test_any_frame_may_be_lost_garbled_or_said_twice(lost: int) -> None:
    for change in (lambda c: b"", lambda c: c[:-3] + b"\x07" + c[-2:], lambda c: c + c, lambda c: b"boot\r\n" + c + b"\0\0\x02"):
        firmware = Firmware(spoil=lambda number, content, change=change: change(content) if number == lost else content)
        link = Link(firmware)
        link.begin()
        assert [link.ask(CONTENT), link.ask(CONTENT)] == [WANTED, WANTED]


def test_a_restart_keeps_what_was_answered() -> None:
    firmware = Firmware()

    def restart(number: int, content: bytes) -> bytes:
        if number == 7:
            firmware.spoil = lambda _, content: content
            firmware.boot()
            return b""
        return content

    firmware.spoil = restart
    link = Link(firmware)
    link.begin()
    with pytest.raises(Restarted, match="the device started anew in the middle") as caught:
        link.ask(CONTENT)
        link.ask(CONTENT)
    assert WANTED.startswith(caught.value.answered) and len(caught.value.answered) in (0, 240, 480)
    link.begin()
    assert link.ask(CONTENT) == WANTED


def test_it_stopped_and_with_which_code() -> None:
    firmware = Firmware()
    link = Link(firmware)
    link.begin()
    firmware.say(EXIT, struct.pack("<I", 70))
    with pytest.raises(DeviceError, match="stopped with 70: the core faulted: most likely the stack ran out of its room"):
        link.ask(CONTENT)


def test_another_version() -> None:
    with pytest.raises(DeviceError, match="(?s)speaks version 9 of the protocol.*expected: version 1.*build the firmware with this edgekd"):
        Link(Firmware(version=9)).begin()


def test_silence_in_the_middle() -> None:
    firmware = Firmware()
    link = Link(firmware)
    link.begin()
    firmware.spoil = lambda number, content: b""
    with pytest.raises(DeviceError, match="has said nothing new for 0.6 s, and 0 bytes before"):
        link.ask(CONTENT, limit_s=0.6)
    assert link.counts.repeated


def test_a_firmware_that_does_not_stop_answering() -> None:
    class Endless(Firmware):
        def _hear(self, frame: Frame) -> None:
            if frame.kind == DATA and frame.sequence == self._sequence and self._session:
                self._sequence = (self._sequence + 1) % 256
                self.say(DATA, bytes(frames.PAYLOAD))
            else:
                super()._hear(frame)

    link = Link(Endless())
    link.begin()
    with pytest.raises(DeviceError, match=r"the firmware does not stop answering\n  expected: 100000 bytes at most"):
        link.ask(bytes(500), most=100_000)


def test_a_firmware_that_says_nothing_frame_after_frame() -> None:
    class Idle(Firmware):
        def _hear(self, frame: Frame) -> None:
            if frame.kind == DATA and frame.sequence == self._sequence and self._session:
                self._sequence = (self._sequence + 1) % 256
                self.say(DATA, b"")
            else:
                super()._hear(frame)

    link = Link(Idle())
    link.begin()
    with pytest.raises(DeviceError, match="has said nothing new for 0.3 s, and 0 bytes before"):
        link.ask(CONTENT, limit_s=0.3)


@pytest.mark.parametrize(("models", "hz"), [(0, 1000), (2**32 - 1, 1000), (1, 0)])
def test_a_hello_that_cannot_be(models: int, hz: int) -> None:
    class Boaster(Firmware):
        def say(self, kind: int, payload: bytes) -> None:
            super().say(kind, payload[:8] + struct.pack("<2I", models, hz) + b"\x1b[2J" if kind == HELLO else payload)

    with pytest.raises(DeviceError, match=f"the firmware says that it has {models} models, and a timer of {hz} Hz\n  expected: a model"):
        Link(Boaster()).begin(2)
