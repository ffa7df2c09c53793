"""The features are those that plain integer arithmetic gives, and near what real numbers would."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pytest

from edgekd.data.logmel import DB, LogMel, features_of
from edgekd.errors import InputError


def within(value: int, bits: int) -> int:
    """``value``, which a device holds in a signed integer of ``bits``."""
    assert -(1 << (bits - 1)) <= value < 1 << (bits - 1), f"{value} overflows {bits} bits"
    return value


def by_hand(samples: list[int], of: LogMel) -> list[list[int]]:
    """The specification in edgekd/data/logmel.py, one Python integer at a time, each in the width that it names."""
    tables = of.tables
    window, cos, sin, log2 = ([int(v) for v in t] for t in (tables.window, tables.cos, tables.sin, tables.log2))
    size, bits = of.frame, of.frame.bit_length() - 1
    features = []
    for start in range(0, len(samples) - size + 1, of.hop):
        re, im = [0] * size, [0] * size
        for n in range(size):
            mirrored = int(format(n, f"0{bits}b")[::-1], 2)
            re[mirrored] = within((samples[start + n] * window[n] + (1 << (bits - 1))) >> bits, 32)
        m = 2
        while m <= size:
            for block in range(0, size, m):
                for k in range(m // 2):
                    c, s = cos[k * size // m], sin[k * size // m]
                    a, b = block + k, block + k + m // 2
                    tr = within(within(re[b] * c + im[b] * s + (1 << 14), 64) >> 15, 32)
                    ti = within(within(im[b] * c - re[b] * s + (1 << 14), 64) >> 15, 32)
                    re[b], im[b] = within(re[a] - tr, 32), within(im[a] - ti, 32)
                    re[a], im[a] = within(re[a] + tr, 32), within(im[a] + ti, 32)
            m *= 2
        power = [within(re[k] * re[k] + im[k] * im[k] + 512, 64) >> 10 for k in range(size // 2 + 1)]
        assert max(power) <= 1 << 48
        row = []
        for first, weights in tables.filters:
            energy = 0
            for k, weight in enumerate(weights):
                energy = within(energy + power[first + k] * int(weight), 62)
            energy = max(energy, 1)
            e = energy.bit_length() - 1
            behind = ((energy << (63 - e)) >> 47) & 0xFFFF
            i, r = behind >> 8, behind & 255
            level = within((e << 16) + log2[i] + (((log2[i + 1] - log2[i]) * r + 128) >> 8), 32)
            row.append(min(255, max(0, within((level - tables.offset) * tables.gain + (1 << 31), 64) >> 32)))
        features.append(row)
    return features


def real(samples: np.ndarray, of: LogMel) -> np.ndarray:
    """The same in float64, unrounded and unclamped."""
    n = np.arange(of.frame)
    window = (1 - np.cos(2 * np.pi * n / of.frame)) / 2
    rows = np.stack([samples[t * of.hop : t * of.hop + of.frame] * window for t in range(of.count(len(samples)))])
    # A full-scale sine has the magnitude 2^15 · N/4.
    power = (abs(np.fft.rfft(rows)) / (2**13 * of.frame)) ** 2
    mel = 1127 * np.log(1 + np.arange(of.frame // 2 + 1) * of.rate / of.frame / 700)
    points = np.linspace(*(1127 * math.log(1 + f / 700) for f in (of.low_hz, of.high_hz)), of.mels + 2)
    weights = np.stack([np.interp(mel, points[i : i + 3], [0, 1, 0]) for i in range(of.mels)], 1)
    return (10 * np.log10(power @ weights + 1e-30) - of.floor_db) / of.step_db


def speech(samples: int, seed: int = 0) -> np.ndarray:
    """Something as loud and as quiet as speech: a gliding harmonic tone that comes and goes, over noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / 8000
    tone = sum(np.sin(2 * np.pi * h * (140 * t + 30 * t**2)) / h for h in range(1, 12))
    return np.rint(4000 * tone * np.sin(np.pi * t / t[-1]) ** 4 + 3 * rng.standard_normal(samples)).astype(np.int16)


EXTREMES: dict[str, np.ndarray] = {
    "silence": np.zeros(1600, np.int16),
    "lowest": np.full(512, -32768, np.int16),
    "square": np.where(np.arange(700) // 8 % 2, 32767, -32768).astype(np.int16),
    "every second": np.where(np.arange(700) % 2, 32767, -32768).astype(np.int16),
    "click": np.eye(1, 600, 300, dtype=np.int16)[0] * 32767,
    "loud noise": np.random.default_rng(0).integers(-32768, 32768, 700).astype(np.int16),
    "last bit": np.random.default_rng(0).integers(-1, 2, 700).astype(np.int16),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_are_what_integers_give_and_overflow_nothing(name: str) -> None:
    samples, of = EXTREMES[name], LogMel()
    found = of.apply(samples[None])
    assert found.dtype == np.uint8
    assert found[0].tolist() == by_hand(samples.tolist(), of)


@pytest.mark.parametrize(
    "of",
    [
        LogMel(),
        LogMel(frame=64, hop=64, mels=6),
        LogMel(frame=128, hop=31, mels=9, low_hz=0, floor_db=-60.5, step_db=1.5),
        LogMel(rate=16000, frame=512, hop=320, mels=40, low_hz=20, high_hz=8000),
        LogMel(rate=48000, frame=2048, hop=1500, mels=32, high_hz=20000),
    ],
)
def test_a_clip_is_what_integers_give(of: LogMel) -> None:
    samples = speech(max(2500, of.frame + of.hop))
    found = of.apply(np.stack([samples, samples[::-1]]))
    assert found.shape == (2, of.count(len(samples)), of.mels)
    assert found[0].tolist() == by_hand(samples.tolist(), of)
    assert found[1].tolist() == by_hand(samples[::-1].tolist(), of)


@pytest.mark.parametrize("of", [LogMel(), LogMel(rate=16000, frame=512, hop=320, mels=40, high_hz=8000), LogMel(frame=2048, mels=60)])
def test_real_numbers_differ_by_one_step_at_most(of: LogMel) -> None:
    samples = speech(3 * of.rate, seed=1)
    found, wanted = of.apply(samples[None])[0].astype(float), real(samples, of)
    counted = wanted > 20  # where there is more than the noise of rounded samples
    assert counted.mean() > 0.5
    assert abs(found - np.clip(wanted, 0, 255))[counted].max() <= 1


def test_a_full_scale_sine_is_no_decibels() -> None:
    of = LogMel(mels=12, low_hz=0, high_hz=4000)
    first, weights = of.tables.filters[6]
    middle = first + int(weights.argmax())
    sine = np.rint(32767 * np.cos(2 * np.pi * middle * np.arange(512) / of.frame)).astype(np.int16)
    level = of.apply(sine[None])[0, 0, 6] * of.step_db + of.floor_db
    assert abs(level - 20 * math.log10(weights.max() / 4096) / 2) < 1.5, "the window lets some of a sine into the neighbours too"


def test_batches_are_samples() -> None:
    wave = np.stack([speech(6400, seed) for seed in range(23)])
    whole = LogMel().apply(wave)
    assert np.array_equal(whole, np.concatenate([LogMel().apply(clip[None]) for clip in wave]))


def test_the_tables_are_the_same_everywhere() -> None:
    tables = LogMel().tables
    digest = hashlib.sha256()
    for table in (tables.window, tables.cos, tables.sin, tables.log2, *(weights for _, weights in tables.filters)):
        digest.update(np.ascontiguousarray(table, table.dtype.newbyteorder("<")).data)
    digest.update(repr((tables.offset, tables.gain, [first for first, _ in tables.filters])).encode())
    assert digest.hexdigest() == "ef035587abd7a04d1257a56a7fc34ed94e595a7910493633128243cf5cd63b19"
    assert tables.gain == round(65536 * DB / 0.375)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame": 200}, "frame = 200.*a power of two.*frame = 256"),
        ({"frame": 4096}, "frame = 4096"),
        ({"hop": 0}, "hop = 0"),
        ({"mels": 24.0}, "mels = 24.0.*a whole number"),
        ({"mels": True}, "mels = True"),
        ({"mels": 128}, "mels = 128: filter . is narrower than the 31.25 Hz.*mels = 96"),
        ({"rate": 100}, "rate = 100"),
        ({"high_hz": 4001}, "filters from 60 to 4001 Hz"),
        ({"low_hz": 3800.0}, "filters from 3800 to 3800 Hz"),
        ({"low_hz": "60"}, "low_hz = '60'"),
        ({"floor_db": 0}, "floor_db = 0"),
        ({"step_db": float("nan")}, "step_db = nan"),
        ({"melz": 24}, "'melz' is not known.*rate, frame, hop, mels"),
    ],
)
def test_options_that_make_no_features_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"(?s){message}"):
        features_of(options)


@pytest.mark.parametrize(("wave", "message"), [(np.zeros((1, 255), np.int16), "255 samples"), (np.zeros((1, 512)), "dtype float64")])
def test_waves_that_have_no_features_are_refused(wave: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LogMel().apply(wave)
