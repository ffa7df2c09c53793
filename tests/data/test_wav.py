"""WAV files of every usual encoding become the same int16 samples; another rate keeps what it can hold."""

from __future__ import annotations

import io
import struct
import wave

import numpy as np
import pytest

from edgekd.data.wav import placed, read, resample
from edgekd.errors import InputError

LEVELS = np.array([0, 256, -256, 12800, -32768, 32512], np.int16)


def riff(tag: int, bits: int, data: bytes, *, channels: int = 1, rate: int = 8000, extensible: bool = False, before: bytes = b"") -> bytes:
    """A WAV file, chunk by chunk."""
    align = channels * bits // 8
    form = struct.pack("<HHIIHH", 0xFFFE if extensible else tag, channels, rate, rate * align, align, bits)
    if extensible:
        form += struct.pack("<HHI", 22, bits, 0) + tag.to_bytes(2, "little") + bytes.fromhex("000000001000800000aa00389b71")
    body = b"WAVE" + before + b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def packed24(values: np.ndarray) -> bytes:
    return b"".join(int(v).to_bytes(3, "little", signed=True) for v in values)


WIDE = LEVELS.astype(np.int64)
ENCODINGS = {
    "8": riff(1, 8, (LEVELS // 256 + 128).astype(np.uint8).tobytes()),
    "16": riff(1, 16, LEVELS.astype("<i2").tobytes()),
    "24": riff(1, 24, packed24(WIDE << 8)),
    "32": riff(1, 32, (WIDE << 16).astype("<i4").tobytes()),
    "float": riff(3, 32, (WIDE / 32768).astype("<f4").tobytes()),
    "double": riff(3, 64, (WIDE / 32768).astype("<f8").tobytes()),
    "extensible 24": riff(1, 24, packed24(WIDE << 8), extensible=True),
    "extensible float": riff(3, 32, (WIDE / 32768).astype("<f4").tobytes(), extensible=True),
    "stereo": riff(1, 16, np.stack([LEVELS, LEVELS], 1).astype("<i2").tobytes(), channels=2),
    "other chunks": riff(1, 16, LEVELS.astype("<i2").tobytes(), before=b"LIST\x03\0\0\0abc\0"),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_holds_the_same(name: str) -> None:
    clip = read(ENCODINGS[name], "a.wav", "here")
    assert clip.rate == 8000 and clip.samples.dtype == np.int16
    assert clip.samples.tolist() == LEVELS.tolist()


def test_what_the_standard_library_writes() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(44100)
        out.writeframes(np.array([[100, 300], [-5, -7]], "<i2").tobytes())
    clip = read(file.getvalue(), "a.wav", "here")
    assert clip.rate == 44100 and clip.samples.tolist() == [200, -6], "the channels' mean"


def test_floats_are_clipped_and_rounded() -> None:
    values = np.array([2.0, -2.0, 1.0, 0.4 / 32768, 0.6 / 32768], "<f4")
    assert read(riff(3, 32, values.tobytes()), "a.wav", "here").samples.tolist() == [32767, -32768, 32767, 0, 1]


def test_a_recorder_that_was_streaming_has_no_size() -> None:
    whole = bytearray(ENCODINGS["16"])
    at = whole.index(b"data") + 4
    whole[at : at + 4] = b"\xff\xff\xff\xff"
    assert read(bytes(whole), "a.wav", "here").samples.tolist() == LEVELS.tolist()


GOOD = ENCODINGS["16"]
BROKEN = {
    "empty": (b"", "no RIFF/WAVE header"),
    "text": (b"RIFF and more text", "no RIFF/WAVE header"),
    "only a header": (GOOD[:12], "it has no format"),
    "no samples": (GOOD[: GOOD.index(b"data")], "it has no samples"),
    "cut off": (GOOD[:-3], "its 'data' chunk has 9 of 12 bytes"),
    "empty data": (riff(1, 16, b""), "it has no samples"),
    "half a sample": (riff(1, 16, b"a"), "it has no samples"),
    "format last": (GOOD[:12] + GOOD[GOOD.index(b"data") :] + GOOD[12 : GOOD.index(b"data")], "before their format"),
    "short format": (b"RIFF\0\0\0\0WAVEfmt \x04\0\0\0abcd", "its format has 4 bytes"),
    "a-law": (riff(6, 8, b"abc"), "encoding 6 with 8 bits.*PCM of 8, 16, 24 or 32 bits.*sox a.wav"),
    "12 bits": (riff(1, 12, b"abc"), "encoding 1 with 12 bits"),
    "no channels": (riff(1, 16, b"ab", channels=0), "0 channels"),
    "rate": (riff(1, 16, b"ab", rate=0), "0 samples a second"),
    "not a number": (riff(3, 32, np.array([np.nan], "<f4").tobytes()), "values that are no numbers"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused(name: str) -> None:
    content, message = BROKEN[name]
    with pytest.raises(InputError, match=f"(?s)a.wav.*{message}"):
        read(content, "a.wav", "here")


@pytest.mark.parametrize("cut", range(0, len(GOOD), 5))
def test_a_file_cut_anywhere_is_refused(cut: int) -> None:
    with pytest.raises(InputError, match="a.wav cannot be decoded"):
        read(GOOD[:cut], "a.wav", "here")


def tone(hz: float, rate: int, n: int) -> np.ndarray:
    return np.rint(10000 * np.sin(2 * np.pi * hz * np.arange(n) / rate)).astype(np.int16)


@pytest.mark.parametrize(("rate", "wanted"), [(16000, 8000), (44100, 8000), (8000, 16000), (11025, 16000), (48000, 44100), (7919, 8000)])
def test_a_tone_stays_a_tone(rate: int, wanted: int) -> None:
    found = resample(tone(440, rate, rate // 4), rate, wanted)
    expected = tone(440, wanted, len(found))
    assert len(found) == -(-(rate // 4) * wanted // rate)
    inner = slice(wanted // 50, -wanted // 50)
    assert abs(found[inner].astype(int) - expected[inner]).max() < 15, "-56 dB"


def test_what_a_rate_cannot_hold_is_gone() -> None:
    found = resample(tone(5000, 16000, 4000), 16000, 8000)
    assert abs(found[200:-200]).max() < 30, "5 kHz does not become 3 kHz"
    assert resample(LEVELS, 8000, 8000) is LEVELS


def test_clips_lie_in_the_middle() -> None:
    x = np.arange(1, 6, dtype=np.int16)
    assert placed(x, 8).tolist() == [0, 1, 2, 3, 4, 5, 0, 0]
    assert placed(x, 3).tolist() == [2, 3, 4]
    assert placed(x, 5).tolist() == x.tolist()
