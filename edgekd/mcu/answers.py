"""The bytes between host and firmware: over semihosting as they are, over a UART in frames (frames.py).

All integers are uint32, little endian.

request   "EKRQ", index of the model, count; then count inputs
answer    "EKPA", bytes of an input, bytes of an output, layers, ticks of an empty run, ticks of an empty mark;
          a sample: its ticks, its output; after the first sample's: ticks of each layer, bytes of stack; "EKND"
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from edgekd.errors import DeviceError

REQUEST, ANSWER, END = b"EKRQ", b"EKPA", b"EKND"
_HEAD = struct.Struct("<4s5I")
HEAD_BYTES = _HEAD.size
_MEND = "build the firmware with this edgekd: docs/porting.md"


@dataclass(frozen=True)
class Answer:
    """``outputs`` uint8 [N, bytes] and ``ticks`` int64 [N] of the samples that were done; ``whole`` is False where the end is missing.

    ``layers`` are ticks of the first sample; ``empty_run`` and ``empty_mark`` what measuring itself takes; ``stack_bytes`` what one
    inference used.
    """

    outputs: np.ndarray
    ticks: np.ndarray
    layers: np.ndarray
    empty_run: int
    empty_mark: int
    stack_bytes: int
    whole: bool


def request(inputs: np.ndarray, model: int = 0) -> bytes:
    """The bytes that ask for an inference of every row of ``inputs`` uint8 [N, bytes]."""
    return REQUEST + struct.pack("<2I", model, len(inputs)) + np.ascontiguousarray(inputs).tobytes()


def length(count: int, output_bytes: int, layers: int = 0) -> int:
    """Bytes of the whole answer to ``count`` inputs, for a transport that has no end."""
    return _HEAD.size + count * (4 + output_bytes) + (4 * layers + 4 if count else 0) + len(END)


def sizes(content: bytes, where: str = "") -> tuple[int, int]:
    """Bytes of an input and of an output, as an answer states them. Raises DeviceError for what is no answer."""
    if len(content) < HEAD_BYTES or content[:4] != ANSWER:
        raise DeviceError(f"the firmware answered {content[:16]!r}", where=where, expected=f"{ANSWER!r} and sizes", mend=_MEND)
    return _HEAD.unpack_from(content)[1:3]


def answer(content: bytes, input_bytes: int, where: str = "") -> Answer:
    """What a firmware answered, as far as it came. Raises DeviceError for what is no answer to inputs of that size."""
    taken, given = sizes(content, where)
    layers, empty_run, empty_mark = _HEAD.unpack_from(content)[3:]
    if taken != input_bytes:
        raise DeviceError(f"the firmware takes inputs of {taken} bytes, and was given {input_bytes}", where=where, mend=_MEND)
    first, each = 4 + given + 4 * layers + 4, 4 + given
    rest = content[_HEAD.size :]
    nothing = np.zeros(0, np.int64)
    if len(rest) < first:
        return Answer(np.zeros((0, given), np.uint8), nothing, nothing, empty_run, empty_mark, 0, False)
    count = 1 + (len(rest) - first) // each
    after = rest[first : first + (count - 1) * each]
    rows = np.concatenate([np.frombuffer(rest, np.uint8, each), np.frombuffer(after, np.uint8)]).reshape(count, each)
    ticks = np.ascontiguousarray(rows[:, :4]).view("<u4")[:, 0].astype(np.int64)
    extra = np.frombuffer(rest, "<u4", layers + 1, each).astype(np.int64)
    whole = rest[first + (count - 1) * each :] == END
    return Answer(rows[:, 4:].copy(), ticks, extra[:-1], empty_run, empty_mark, int(extra[-1]), whole)
