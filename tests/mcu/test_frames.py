"""Frames: whatever the line does to them, those that arrive whole are the ones that were sent."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.mcu.frames import DATA, PAYLOAD, Decoder, Frame, decode, encode

FRAMES = st.builds(Frame, st.integers(0, 255), st.integers(0, 255), st.binary(max_size=PAYLOAD))


@given(st.lists(FRAMES, max_size=5), st.integers(1, 50))
def test_what_is_sent_arrives_in_whatever_pieces(frames: list[Frame], piece: int) -> None:
    line, decoder = b"".join(map(encode, frames)), Decoder()
    found = [frame for at in range(0, len(line), piece) for frame in decoder.feed(line[at : at + piece])]
    assert found == frames and decoder.bad == 0


@given(FRAMES)
def test_a_zero_is_nothing_but_a_border(frame: Frame) -> None:
    line = encode(frame)
    assert line[0] == line[-1] == 0 and 0 not in line[1:-1]


@given(st.binary(max_size=600), FRAMES)
def test_after_any_garbage_the_next_frame_is_heard(garbage: bytes, frame: Frame) -> None:
    decoder = Decoder()
    assert decoder.feed(garbage + encode(frame))[-1] == frame


@given(FRAMES, st.data())
@settings(max_examples=200)
def test_a_frame_with_a_wrong_byte_is_not_heard(frame: Frame, data: st.DataObject) -> None:
    line = bytearray(encode(frame))
    at = data.draw(st.integers(0, len(line) - 1))
    line[at] ^= data.draw(st.integers(1, 255))
    assert all(found == frame for found in Decoder().feed(bytes(line))), "a border that is wrong may leave the frame whole"


@given(FRAMES, st.data())
def test_a_part_of_a_frame_is_none(frame: Frame, data: st.DataObject) -> None:
    inside = encode(frame)[1:-1]
    assert decode(inside[: data.draw(st.integers(0, len(inside) - 1))]) is None


def test_the_bytes_stand_as_documented() -> None:
    assert (
        encode(Frame(DATA, 7, b"\x01\x00")).hex()
        == "00" + "04440701" + "05" + zlib.crc32(b"D\x07\x01\0").to_bytes(4, "little").hex() + "00"
    )
    with pytest.raises(ValueError, match="241 bytes, at most 240"):
        encode(Frame(DATA, 0, bytes(PAYLOAD + 1)))
