"""WAV files (RIFF, Microsoft and IBM 1991) to int16: PCM of 8, 16, 24 and 32 bits, float of 32 and 64, any channels and any rate.

The standard library's ``wave`` reads neither floats nor, before Python 3.12, the extensible header that most recorders write.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgekd.errors import InputError

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
DTYPES = {(PCM, 8): "u1", (PCM, 16): "<i2", (PCM, 24): "u1", (PCM, 32): "<i4", (FLOAT, 32): "<f4", (FLOAT, 64): "<f8"}
RATES = range(1000, 384_001)
MAX_CHANNELS = 64
#: Zero crossings of the resampler's sinc on each side of a sample.
CROSSINGS = 16
#: Phases of the resampler that are kept in a table; two rates that have more are filtered output by output.
MAX_PHASES = 1024


@dataclass(frozen=True)
class Clip:
    """One recording: ``samples`` int16 [n], the channels' mean, at ``rate`` Hz."""

    samples: np.ndarray
    rate: int


def read(content: bytes, name: str, where: str) -> Clip:
    """The WAV file ``content``; ``name`` is what messages call it. Raises InputError if it is none, is cut off, or of another encoding."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise _broken(name, where, "no RIFF/WAVE header")
    encoding = None
    at = 12
    while at + 8 <= len(content):
        kind, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        body = content[at + 8 : at + 8 + size]
        if len(body) < size and not (kind == b"data" and size >= 0x7FFFFFFF):  # recorders that stream do not know the size yet
            raise _broken(name, where, f"its {kind.decode('latin-1').strip()!r} chunk has {len(body)} of {size} bytes")
        if kind == b"fmt ":
            encoding = _encoding(body, name, where)
        elif kind == b"data":
            if encoding is None:
                raise _broken(name, where, "its samples come before their format")
            tag, channels, rate, bits = encoding
            return Clip(_samples(body, tag, channels, bits, name, where), rate)
        at += 8 + size + size % 2
    raise _broken(name, where, "it has no samples" if encoding else "it has no format")


def _broken(name: str, where: str, why: str) -> InputError:
    return InputError(f"{name} cannot be decoded ({why})", where=where, expected="a whole WAV file", mend="replace or remove the file")


def _encoding(body: bytes, name: str, where: str) -> tuple[int, int, int, int]:
    """Tag (PCM or FLOAT), channels, rate, bits."""
    if len(body) < 16:
        raise _broken(name, where, f"its format has {len(body)} bytes")
    tag, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", body)
    if tag == EXTENSIBLE and len(body) >= 26:
        tag = int.from_bytes(body[24:26], "little")
    if (tag, bits) not in DTYPES:
        raise InputError(
            f"{name} has encoding {tag} with {bits} bits",
            where=where,
            expected="PCM of 8, 16, 24 or 32 bits, or float of 32 or 64",
            mend=f"convert it, for example: sox {name} -b 16 other.wav",
        )
    if not 1 <= channels <= MAX_CHANNELS or align != channels * bits // 8:
        raise _broken(name, where, f"{channels} channels of {bits} bits in {align} bytes")
    if rate not in RATES:
        raise _broken(name, where, f"{rate} samples a second")
    return tag, channels, rate, bits


def _samples(body: bytes, tag: int, channels: int, bits: int, name: str, where: str) -> np.ndarray:
    whole = len(body) // (channels * bits // 8) * (channels * bits // 8)
    values = np.frombuffer(body[:whole], DTYPES[tag, bits])
    if not len(values):
        raise _broken(name, where, "it has no samples")
    if bits == 24:
        parts = values.reshape(-1, 3).astype(np.int32)
        values = ((parts[:, 2] << 24) | (parts[:, 1] << 16) | (parts[:, 0] << 8)) >> 8
    if tag == FLOAT and not np.isfinite(values).all():
        raise _broken(name, where, "it holds values that are no numbers")
    if tag == PCM and bits == 16 and channels == 1:
        return values.astype(np.int16)
    level = values.astype(np.float64).reshape(-1, channels)
    if tag == FLOAT:
        level = np.clip(level, -1, 1) * 32768
    elif bits == 8:
        level = (level - 128) * 256
    else:
        level /= 1 << (bits - 16)
    return _int16(level.mean(1))


def _int16(level: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(level), -32768, 32767).astype(np.int16)


def resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """int16 [n] at ``rate`` Hz → int16 [ceil(n · wanted / rate)] at ``wanted`` Hz, by a windowed sinc (Smith and Gossett 1984).

    What lies above half the lower rate is filtered out. Beyond both ends there is silence.
    """
    if rate == wanted:
        return samples
    common = math.gcd(rate, wanted)
    up, down = wanted // common, rate // common
    half = reach(rate, wanted)
    count = -(-len(samples) * up // down)
    padded = np.concatenate([np.zeros(half, np.float32), samples.astype(np.float32), np.zeros(half + 1, np.float32)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half)
    out, together = np.empty(count), max(1, (1 << 21) // half)
    for at in range(0, count, together):
        position = np.arange(at, min(at + together, count)) * down
        taps = _phases(rate, wanted)[position % up] if up <= MAX_PHASES else _taps((position % up) / up, rate, wanted)
        out[at : at + together] = np.einsum("nt,nt->n", windows[position // up + 1], taps, dtype=np.float64)
    return _int16(out)


def reach(rate: int, wanted: int) -> int:
    """Samples on each side that one output is made of."""
    return math.ceil(CROSSINGS * max(1.0, rate / wanted))


def _taps(fraction: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Weights float32 [n, 2 · reach] for outputs that lie ``fraction`` [n] of a sample behind the reach-th of their window."""
    half = reach(rate, wanted)
    distance = np.arange(1 - half, 1 + half) - fraction[:, None]
    cut = 0.94 * min(1.0, wanted / rate)  # the filter needs some room to fall
    window = np.cos(np.pi * distance / (2 * (half + 1))) ** 2
    taps = np.sinc(cut * distance) * window
    return (taps / taps.sum(1, keepdims=True)).astype(np.float32)


@lru_cache(maxsize=8)
def _phases(rate: int, wanted: int) -> np.ndarray:
    up = wanted // math.gcd(rate, wanted)
    return _taps(np.arange(up) / up, rate, wanted)


def placed(samples: np.ndarray, length: int) -> np.ndarray:
    """int16 [length] with ``samples`` in the middle: silence around a short clip, a long one loses both ends alike."""
    if len(samples) >= length:
        start = (len(samples) - length) // 2
        return samples[start : start + length]
    before = (length - len(samples)) // 2
    return np.pad(samples, (before, length - len(samples) - before))
