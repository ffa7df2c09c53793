"""Frames around the bytes of answers.py, for a line that loses and garbles them: edgekd's own firmware over a UART (ek_uart.c).

frame     0, stuffed(kind, sequence, payload of at most 240 bytes, CRC-32 of all that, little endian), 0

The firmware asks and the host answers: each of its frames is one of

H  hello: version, session (0 from boot on), models, frequency of its timer in Hz; uint32 each; then the name of its port
W  it wants this many bytes (uint32) of what stands in answers.py from the host, or as many as go into a frame
D  bytes of its own
X  it stopped with this code (uint32)

and gets one D with the same sequence number back, empty unless it wanted some. Whatever else it hears, it says the same again: so the host
repeats what was lost, and the firmware needs no clock. R with a session number begins a session, wherever the firmware is. A zero stands
nowhere but at the borders of frames (Cheshire and Baker, Consistent Overhead Byte Stuffing, 1999), so that after garbage the next frame is
heard again. CRC-32 is that of IEEE 802.3.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

PAYLOAD, VERSION = 240, 1
HELLO, WANT, DATA, EXIT, RESET = b"HWDXR"
#: Head and checksum, one byte of stuffing, two borders.
OVERHEAD = 2 + 4 + 1 + 2
_LONGEST = PAYLOAD + OVERHEAD - 2


@dataclass(frozen=True)
class Frame:
    """``kind`` is one of the letters above as a number, ``sequence`` 0 to 255."""

    kind: int
    sequence: int
    payload: bytes = b""

    def words(self) -> tuple[int, ...]:
        """The payload as uint32, a rest of less than four bytes left out."""
        return struct.unpack(f"<{len(self.payload) // 4}I", self.payload[: len(self.payload) // 4 * 4])


def encode(frame: Frame) -> bytes:
    """The bytes on the line. Raises ValueError for a payload that is too long."""
    if len(frame.payload) > PAYLOAD:
        raise ValueError(f"a payload of {len(frame.payload)} bytes, at most {PAYLOAD} go into a frame")
    content = bytes([frame.kind, frame.sequence]) + frame.payload
    content += struct.pack("<I", zlib.crc32(content))
    return b"\0" + b"".join(bytes([len(run) + 1]) + run for run in content.split(b"\0")) + b"\0"


def decode(stuffed: bytes) -> Frame | None:
    """What stood between two zeros; None where it is no whole frame."""
    content, at = bytearray(), 0
    while at < len(stuffed):
        end = at + stuffed[at]
        if stuffed[at] == 0 or end > len(stuffed):
            return None
        content += stuffed[at + 1 : end]
        at = end
        if at < len(stuffed):
            content.append(0)
    if not 6 <= len(content) <= PAYLOAD + 6 or zlib.crc32(content[:-4]) != int.from_bytes(content[-4:], "little"):
        return None
    return Frame(content[0], content[1], bytes(content[2:-4]))


@dataclass
class Decoder:
    """Bytes in any pieces → frames. Not frozen: it holds what is not whole yet. ``bad`` counts pieces between zeros that were no frames."""

    bad: int = 0
    _partial: bytearray = field(default_factory=bytearray)

    def feed(self, content: bytes) -> list[Frame]:
        found: list[Frame] = []
        for byte in content:
            if byte:
                if len(self._partial) <= _LONGEST:  # one more than a frame has: enough to know that it is none
                    self._partial.append(byte)
            elif self._partial:
                frame = decode(bytes(self._partial))
                self._partial.clear()
                if frame is None:
                    self.bad += 1
                else:
                    found.append(frame)
        return found
