"""Log-mel features in integers: what a device computes from its microphone's samples, to the last bit.

Every step is integer arithmetic of at most 64 bits and a table; a firmware that follows these lines gets the very bytes that a student was
trained on. N is ``frame``, a power of two; b = log2 N; ``>>`` is the arithmetic shift; tables are computed once, in double precision,
rounded to the nearest integer, ties to even, and lie in flash (``LogMel.tables``).

1. Frames. Frame t has the int16 samples s[t·hop] … s[t·hop + N − 1]; there is one for each hop that fits, and nothing is padded.
2. Window. w[n] = 32767·(1 − cos(2πn/N))/2, int16.  v[n] = (s[n]·w[n] + 2^(b−1)) >> b, int32.
   The more samples are added up later, the fewer bits each has: Σ|v| ≤ 2^29, so nothing below overflows and nothing is ever scaled.
3. Fourier transform, radix 2, decimation in time (Cooley and Tukey 1965), int32. x[n] = v[n with its b bits reversed], imaginary part 0.
   Tables c[k] = 32768·cos(2πk/N), s[k] = 32768·sin(2πk/N) for k < N/2, int32. For m = 2, 4, … N, for each block of m values, for each
   k < m/2, with a = x[k], b = x[k + m/2] of the block, C = c[k·N/m], S = s[k·N/m], products and their sums in int64:
       tr = (b.re·C + b.im·S + 2^14) >> 15        ti = (b.im·C − b.re·S + 2^14) >> 15
       x[k + m/2] = a − t                          x[k] = a + t
   (k = 0 multiplies by 1, exactly: code may leave that out.)
4. Power. P[k] = (re² + im² + 2^9) >> 10 for k = 0 … N/2, int64, at most 2^48. The bits that go are below those of a sample's last bit.
5. Mel filters. ``mels`` triangles, linear in mel = 1127·ln(1 + f/700), between neighbours of mels + 2 equally spaced points from ``low_hz``
   to ``high_hz``; peak 4096, weights W int16.  E[m] = Σ P[k]·W[m, k], int64, at most 2^61.
6. Logarithm. E = max(E, 1); e is the place of its highest set bit (63 − clz). f is the 16 bits behind that bit, zeros where there are none;
   i = f >> 8, r = f & 255, with the table g[j] = 65536·log2(1 + j/256), j = 0 … 256, int32:
       L = 65536·e + g[i] + (((g[i + 1] − g[i])·r + 128) >> 8)
7. Output. p = ((L − offset)·gain + 2^31) >> 32, product in int64, clamped to 0 … 255: uint8, what the student is fed as an image's pixel.
   gain = 2^16·10·log10(2)/step_db and offset = 65536·(58 + floor_db/(10·log10(2))): a full-scale sine in the middle of a filter has
   E = 2^58 and is 0 dB, so p = (dB − floor_db)/step_db.

Levels are absolute: nothing is normalized over a clip, which a device that listens all the time does not have. Memory: 2·N int32 for one
frame; tables 2N + 4N + 1028 bytes and the filters. The error against the same in float64 is at most one step where a filter holds more than
the noise of 16-bit samples (tests/data/test_logmel.py measures it).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from edgekd.errors import InputError

#: What a dataset's ``front_end`` calls this.
KIND = "log-mel"
#: Of one value of log2(E), in decibels.
DB = 10 * math.log10(2)
FULL_SCALE = 58
#: Frames that are transformed at once: what fits a processor's cache.
_AT_ONCE = 384


@dataclass(frozen=True)
class Tables:
    """The constants of the algorithm above. ``filters`` are (first bin, weights) of each mel filter."""

    window: np.ndarray
    cos: np.ndarray
    sin: np.ndarray
    filters: tuple[tuple[int, np.ndarray], ...]
    log2: np.ndarray
    offset: int
    gain: int


@dataclass(frozen=True)
class Work:
    """What a clip costs before the student sees it: ``multiplications``, ``ram_bytes`` of one frame, ``table_bytes`` in flash."""

    multiplications: int
    ram_bytes: int
    table_bytes: int


@dataclass(frozen=True)
class LogMel:
    """``rate`` in Hz; ``frame``, ``hop`` in samples; ``low_hz`` and ``high_hz`` bound the filters; 0 is ``floor_db``, one is ``step_db``.

    Raises InputError for values that make no features.
    """

    rate: int = 8000
    frame: int = 256
    hop: int = 160
    mels: int = 24
    low_hz: float = 60.0
    high_hz: float = 3800.0
    floor_db: float = -96.0
    step_db: float = 0.375

    def __post_init__(self) -> None:
        where = "data.options.features"
        for name, least, most in (("rate", 1000, 192_000), ("frame", 32, 2048), ("hop", 1, 1 << 16), ("mels", 1, 256)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise InputError(f"{name} = {value!r}", where=where, expected=f"a whole number from {least} to {most}")
        if self.frame & (self.frame - 1):
            raise InputError(
                f"frame = {self.frame}", where=where, expected="a power of two", mend=f"frame = {1 << self.frame.bit_length()}"
            )
        for name in ("low_hz", "high_hz", "floor_db", "step_db"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(f"{name} = {value!r}", where=where, expected="a number")
        if not 0 <= self.low_hz < self.high_hz <= self.rate / 2:
            raise InputError(
                f"filters from {self.low_hz:g} to {self.high_hz:g} Hz",
                where=where,
                expected=f"low_hz below high_hz, and this at most half the rate, {self.rate / 2:g}",
            )
        if not (-180 <= self.floor_db < 0 and 0.01 <= self.step_db <= 10):
            raise InputError(
                f"floor_db = {self.floor_db:g}, step_db = {self.step_db:g}",
                where=where,
                expected="-180 to 0 dB, and 0.01 to 10 dB",
                mend="floor_db = -96.0, step_db = 0.375",
            )
        _ = self.tables  # finds a filter without a single bin

    @property
    def front_end(self) -> dict[str, Any]:
        """These numbers as a dataset states them, and a graph's metadata."""
        return {"kind": KIND, **asdict(self)}

    def count(self, samples: int) -> int:
        """How many frames ``samples`` give."""
        return max(0, 1 + (samples - self.frame) // self.hop)

    def work(self, frames: int) -> Work:
        """Of ``frames``: the multiplications of the steps above, without those by 1 in step 3; bytes as above, 4 for a filter's place."""
        n, bits = self.frame, self.frame.bit_length() - 1
        weights = sum(len(values) for _, values in self.tables.filters)
        transform, power, levels = 4 * (n * bits // 2 - (n - 1)), 2 * (n // 2 + 1), 2 * self.mels
        return Work(frames * (n + transform + power + weights + levels), 8 * n, 6 * n + 1028 + 2 * weights + 4 * self.mels)

    @cached_property
    def tables(self) -> Tables:
        """The constants. Raises InputError if a filter is so narrow that no frequency of the transform falls into it."""
        n = np.arange(self.frame)
        turn = 2 * np.pi * n / self.frame
        half = turn[: self.frame // 2]
        return Tables(
            window=np.rint(32767 * (1 - np.cos(turn)) / 2).astype(np.int16),
            cos=np.rint(32768 * np.cos(half)).astype(np.int32),
            sin=np.rint(32768 * np.sin(half)).astype(np.int32),
            filters=tuple(self._filters()),
            log2=np.rint(65536 * np.log2(1 + np.arange(257) / 256)).astype(np.int32),
            offset=round(65536 * (FULL_SCALE + self.floor_db / DB)),
            gain=round(65536 * DB / self.step_db),
        )

    def _filters(self) -> list[tuple[int, np.ndarray]]:
        points = np.linspace(_mel(self.low_hz), _mel(self.high_hz), self.mels + 2)
        bins = np.array([_mel(k * self.rate / self.frame) for k in range(self.frame // 2 + 1)])
        made: list[tuple[int, np.ndarray]] = []
        for low, peak, high in zip(points, points[1:], points[2:], strict=False):
            heights = np.minimum((bins - low) / (peak - low), (high - bins) / (high - peak))
            weights = np.rint(4096 * np.maximum(heights, 0)).astype(np.int16)
            inside = np.flatnonzero(weights)
            if not len(inside):
                raise InputError(
                    f"mels = {self.mels}: filter {len(made)} is narrower than the {self.rate / self.frame:g} Hz of the transform",
                    where="data.options.features",
                    expected="fewer filters, or a longer frame",
                    mend=f"mels = {max(1, self.mels * 3 // 4)}",
                )
            made.append((int(inside[0]), weights[inside[0] : inside[-1] + 1]))
        return made

    def apply(self, wave: np.ndarray) -> np.ndarray:
        """``wave`` int16 [N, samples] → uint8 [N, frames, mels], step for step as above."""
        if wave.dtype != np.int16 or wave.ndim != 2:
            raise InputError(f"samples of shape {wave.shape} and dtype {wave.dtype}", where="log-mel", expected="int16 [N, samples]")
        frames = self.count(wave.shape[1])
        if not frames:
            raise InputError(f"{wave.shape[1]} samples", where="log-mel", expected=f"at least one frame of {self.frame}")
        out = np.empty((len(wave), frames, self.mels), np.uint8)
        together = max(1, _AT_ONCE // frames)
        for at in range(0, len(wave), together):
            windows = np.lib.stride_tricks.sliding_window_view(wave[at : at + together], self.frame, axis=1)[:, :: self.hop]
            out[at : at + together] = self._features(windows.reshape(-1, self.frame)).reshape(-1, frames, self.mels)
        return out

    def _features(self, frames: np.ndarray) -> np.ndarray:
        """int16 [n, frame] → uint8 [n, mels]."""
        bits = self.frame.bit_length() - 1
        tables = self.tables
        v = (frames.astype(np.int64) * tables.window + (1 << (bits - 1))) >> bits
        re, im = _transform(v.T, tables.cos.astype(np.int64), tables.sin.astype(np.int64))
        power = (re * re + im * im + 512) >> 10
        energy = np.stack([weights.astype(np.int64) @ power[first : first + len(weights)] for first, weights in tables.filters], axis=1)
        level = _log2(np.maximum(energy, 1).astype(np.uint64), tables.log2.astype(np.int64))
        return np.clip(((level - tables.offset) * tables.gain + (1 << 31)) >> 32, 0, 255).astype(np.uint8)


def features_of(options: Mapping[str, Any] | None, **defaults: int | float) -> LogMel:
    """The features that a recipe's table ``features`` asks for, over a source's own ``defaults``. Raises InputError for unknown keys."""
    names = [f.name for f in fields(LogMel)]
    for key in options or {}:
        if key not in names:
            raise InputError(f"{key!r} is not known", where="data.options.features", expected=", ".join(names))
    return LogMel(**{**defaults, **(options or {})})  # type: ignore[arg-type] -- __post_init__ checks the types


def work_of(front_end: Mapping[str, Any], frames: int) -> Work | None:
    """Of a dataset's ``front_end``; None where it is of another kind, whose work is not known."""
    if front_end.get("kind") != KIND:
        return None
    return LogMel(**{key: value for key, value in front_end.items() if key != "kind"}).work(frames)


def _mel(hz: float) -> float:
    return 1127 * math.log(1 + hz / 700)


def _transform(v: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Real v int64 [N, n] → real and imaginary parts int64 [N/2 + 1, n] of the first half of the spectrum."""
    size, count = v.shape
    order = np.zeros(1, np.int64)
    while len(order) < size:
        order = np.concatenate([2 * order, 2 * order + 1])
    re, im = np.ascontiguousarray(v[order]), np.zeros((size, count), np.int64)
    m = 2
    while m <= size:
        c, s = cos[:: size // m][: m // 2, None], sin[:: size // m][: m // 2, None]
        blocks = (size // m, 2, m // 2, count)
        (ar, br), (ai, bi) = (np.moveaxis(part.reshape(blocks), 1, 0) for part in (re, im))
        tr = (br * c + bi * s + (1 << 14)) >> 15
        ti = (bi * c - br * s + (1 << 14)) >> 15
        np.subtract(ar, tr, out=br)
        np.subtract(ai, ti, out=bi)
        ar += tr
        ai += ti
        m *= 2
    return re[: size // 2 + 1], im[: size // 2 + 1]


def _log2(energy: np.ndarray, table: np.ndarray) -> np.ndarray:
    """65536·log2 of uint64 values above 0, as int64, by the highest bit and a table."""
    highest = np.frexp(energy.astype(np.float64))[1].astype(np.uint64) - np.uint64(1)
    highest -= (energy >> highest) == 0  # a value just below a power of two may have been rounded up to it
    behind = ((energy << (np.uint64(63) - highest)) >> np.uint64(47)) & np.uint64(0xFFFF)
    i, r = (behind >> np.uint64(8)).astype(np.int64), (behind & np.uint64(255)).astype(np.int64)
    return (highest.astype(np.int64) << 16) + table[i] + (((table[i + 1] - table[i]) * r + 128) >> 8)
