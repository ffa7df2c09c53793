"""The host's side of the line to a firmware: begins a session, answers what the firmware asks, repeats what was lost."""

from __future__ import annotations

import secrets
import struct
import time
from dataclasses import dataclass
from typing import Protocol

from edgekd.errors import DeviceError, Lost, plain
from edgekd.mcu import frames
from edgekd.mcu.frames import DATA, EXIT, HELLO, RESET, WANT, Decoder, Frame

#: Exit codes of the firmware → what happened.
CODES = {
    70: "the core faulted: most likely the stack ran out of its room, or an address is wrong",
    71: "it was asked for a model that it has not",
    72: "it could not open its files",
    73: "it could not write its answer",
}
#: A reply is repeated after so long without a word, and after twice as long each further time, up to the second.
_QUIET_S, _LONGEST_QUIET_S = 0.25, 4.0
#: More models no firmware has.
_MODELS = 256


class Port(Protocol):
    """A line of bytes: a serial port, or a pipe to an emulator. Both raise Lost where it is cut."""

    @property
    def where(self) -> str: ...
    @property
    def baud(self) -> int: ...

    def write(self, content: bytes) -> None: ...
    def read(self, limit_s: float) -> bytes:
        """Whatever came, as soon as anything did; b"" where nothing came in ``limit_s``."""
        ...


@dataclass(frozen=True)
class Hello:
    """What the firmware says of itself; ``timer_hz`` is of the ticks that it counts, ``board`` the name of its port."""

    version: int
    models: int
    timer_hz: int
    board: str


class Restarted(Lost):
    """The device started anew in the middle. ``answered`` is what it had said to the last request until then."""

    def __init__(self, where: str, answered: bytes) -> None:
        self.answered = answered
        super().__init__("the device started anew in the middle", where=where, mend="a supply that holds, and no watchdog")


@dataclass
class Counts:
    """What the line did. Not frozen: it is counted up. ``repeated``: replies that were sent again."""

    frames: int = 0
    bad: int = 0
    repeated: int = 0
    received: int = 0


class Link:
    """One session at a time over ``port``. Not for several threads."""

    def __init__(self, port: Port) -> None:
        self.counts = Counts()
        self._port = port
        self._decoder = Decoder()
        self._waiting: list[Frame] = []
        self._asked: Frame | None = None  # what the firmware wants, and nobody answered yet
        self._said = b""
        #: A frame takes so long on the line, there and back.
        self._quiet_s = _QUIET_S + 20 * (frames.PAYLOAD + frames.OVERHEAD) / port.baud
        self._before: Frame | None = None

    def begin(self, limit_s: float = 10.0) -> Hello:
        """A new session, wherever the firmware is. Raises DeviceError where nothing, or nothing sensible, answers in ``limit_s``."""
        until, quiet = time.monotonic() + limit_s, self._quiet_s
        self._waiting.clear()
        received = self.counts.received
        while (left := until - time.monotonic()) > 0:
            # A number that is new each time: an old one that lay in a buffer is not mistaken for it.
            session = 1 + secrets.randbelow(2**32 - 1)
            self._send(Frame(RESET, 0, struct.pack("<I", session)))
            heard = time.monotonic() + min(quiet, left)
            quiet = min(2 * quiet, _LONGEST_QUIET_S)
            while time.monotonic() < heard and (frame := self._next(heard - time.monotonic())) is not None:
                if frame.kind == HELLO and len(words := frame.words()) >= 4 and words[1] == session:
                    return self._greeted(frame, words)
        raise self._mute(limit_s, self.counts.received - received)

    def ask(self, request: bytes, *, limit_s: float = 60.0, most: int = 1 << 24) -> bytes:
        """What the firmware answers to ``request`` (answers.request), the whole of it: it is over when it wants another one.

        Raises Restarted where the firmware began anew, DeviceError where it stopped, answers more than ``most`` bytes, or said nothing new
        for ``limit_s``: so long may an inference take.
        """
        rest, answered = memoryview(request), bytearray()
        asked, self._asked = self._asked, None
        at, moved = -1, 0.0
        while True:
            frame = asked or self._new(limit_s, answered)
            asked, reply = None, b""
            if at != len(answered) - len(rest):
                at, moved = len(answered) - len(rest), time.monotonic()
            elif time.monotonic() - moved > limit_s:  # frame after frame, and nothing in them
                raise self._silent(limit_s, len(answered))
            if frame.kind == WANT:
                if not len(rest):
                    self._asked = frame
                    return bytes(answered)
                count = min((*frame.words(), frames.PAYLOAD)[0], frames.PAYLOAD, len(rest))
                reply, rest = bytes(rest[:count]), rest[count:]
            elif frame.kind == DATA:
                answered += frame.payload
                if len(answered) > most:
                    raise DeviceError("the firmware does not stop answering", where=self._port.where, expected=f"{most} bytes at most")
            self._before = frame
            self._send(Frame(DATA, frame.sequence, reply))

    def _greeted(self, frame: Frame, words: tuple[int, ...]) -> Hello:
        if words[0] != frames.VERSION:
            raise DeviceError(
                f"the firmware speaks version {words[0]} of the protocol",
                where=self._port.where,
                expected=f"version {frames.VERSION}",
                mend="build the firmware with this edgekd, and flash it: docs/porting.md",
            )
        if not 0 < words[2] <= _MODELS or not words[3]:
            raise DeviceError(
                f"the firmware says that it has {words[2]} models, and a timer of {words[3]} Hz",
                where=self._port.where,
                expected="a model, and a timer that counts",
                mend="build the firmware with this edgekd, and flash it: docs/porting.md",
            )
        self._before, self._asked = frame, None
        self._send(Frame(DATA, frame.sequence))
        return Hello(words[0], words[2], words[3], plain(frame.payload[16:].decode("ascii", "replace")))

    def _new(self, limit_s: float, answered: bytearray) -> Frame:
        """The firmware's next frame, its last reply repeated until it comes."""
        until, quiet = time.monotonic() + limit_s, self._quiet_s
        while (left := until - time.monotonic()) > 0:
            frame = self._next(min(quiet, left))
            if frame is None:
                self.counts.repeated += 1
                self._port.write(self._said)
                quiet = min(2 * quiet, _LONGEST_QUIET_S)
            elif frame.kind == HELLO and len(words := frame.words()) >= 4 and words[1] == 0:
                raise Restarted(self._port.where, bytes(answered))
            elif frame.kind == EXIT and frame.words():
                code = frame.words()[0]
                why = CODES.get(code, "docs/porting.md says what its codes mean")
                raise DeviceError(f"the firmware stopped with {code}: {why}", where=self._port.where)
            elif self._before is None or frame.sequence == (self._before.sequence + 1) % 256:
                return frame
        raise self._silent(limit_s, len(answered))

    def _next(self, limit_s: float) -> Frame | None:
        """Whatever frame comes in that time."""
        until = time.monotonic() + limit_s
        while not self._waiting:
            content = self._port.read(max(0.0, until - time.monotonic()))
            self.counts.received += len(content)
            self._waiting += self._decoder.feed(content)
            self.counts.bad = self._decoder.bad
            if not self._waiting and time.monotonic() >= until:
                return None
        self.counts.frames += 1
        return self._waiting.pop(0)

    def _send(self, frame: Frame) -> None:
        self._said = frames.encode(frame)
        self._port.write(self._said)

    def _silent(self, limit_s: float, answered: int) -> DeviceError:
        return DeviceError(
            f"the firmware has said nothing new for {limit_s:g} s, and {answered} bytes before",
            where=self._port.where,
            expected="an answer in that time",
            mend="reset the board; a model that takes longer wants a larger --seconds",
        )

    def _mute(self, limit_s: float, received: int) -> DeviceError:
        if received:
            return DeviceError(
                f"{received} bytes came in {limit_s:g} s, and no answer among them",
                where=self._port.where,
                expected=f"edgekd's firmware, or one that speaks MLPerf Tiny's text protocol, at {self._port.baud} baud",
                mend="the port's own rate: --device serial:PATH@BAUD",
            )
        return DeviceError(
            f"nothing answered in {limit_s:g} s",
            where=self._port.where,
            expected="edgekd's firmware, or one that speaks MLPerf Tiny's text protocol",
            mend="build and flash it: docs/porting.md; then check that RX and TX are crossed",
        )
