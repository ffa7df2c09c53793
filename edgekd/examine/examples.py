"""Samples that a student and its teacher answer differently, chosen to be looked at, and their picture."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

from edgekd.records import Example

MOST = 24
#: Pixels of a sample's longer side in the picture, at most.
LARGEST = 96


def choose(y: np.ndarray, student: np.ndarray, teacher: np.ndarray, most: int = MOST) -> tuple[Example, ...]:
    """Up to ``most`` samples whose answers differ: those that the student has wrong first, of these the most confident, every true class in
    turn, so that one class that is often mistaken does not fill the list. ``student`` and ``teacher`` are probabilities [N, classes].

    In the result those that the student has wrong stand first, the most confident first.
    """
    mine, theirs = student.argmax(1), teacher.argmax(1)
    sure = student.max(1)
    differ = np.flatnonzero(mine != theirs)
    ranked = differ[np.lexsort((differ, -sure[differ], mine[differ] == y[differ]))]
    turn: dict[int, int] = {}
    rounds = []
    for place, i in enumerate(ranked):
        label = int(y[i])
        # What the student has right waits until nothing is left that it has wrong.
        rounds.append((bool(mine[i] == label), turn.setdefault(label, 0), place))
        turn[label] += 1
    taken = sorted(place for *_, place in sorted(rounds)[:most])
    return tuple(
        Example(int(i), int(y[i]), int(mine[i]), int(theirs[i]), float(sure[i]), float(teacher[i, theirs[i]])) for i in ranked[taken]
    )


def sprite(pixels: np.ndarray) -> bytes:
    """A PNG of ``pixels`` uint8 [N, H, W, C], N above 0, side by side: grey for one channel, RGB for three, else the first channel.

    Samples larger than LARGEST are thinned to fit: whole steps of rows and columns are left out.
    """
    step = -(-max(pixels.shape[1:3]) // LARGEST)
    some = pixels[:, ::step, ::step]
    kept = some if some.shape[3] == 3 else some[..., :1]
    return png(np.concatenate(list(kept), axis=1))


def png(pixels: np.ndarray) -> bytes:
    """``pixels`` uint8 [H, W, 1 or 3] as a PNG (ISO/IEC 15948): grey or RGB, 8 bits, no interlace."""
    height, width, channels = pixels.shape
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # a row begins with its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    parts: Sequence[tuple[bytes, bytes]] = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
