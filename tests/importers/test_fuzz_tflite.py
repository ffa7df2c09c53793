"""Damaged and hostile TFLite files: nothing but InputError comes out, in bounded memory. tools/fuzz_importers.py goes further."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekd.errors import InputError
from edgekd.export.tflite import encode
from edgekd.importers.tflite import read_bytes
from edgekd.importers.tflite_tables import LARGEST_FILE
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
#: A small student of ours, and another tool's file with shapes that are computed at run time.
WHOLE = (encode(io.load(GOLDEN / "branches_per_tensor")), (Path(__file__).parent / "files" / "attention_int8.tflite").read_bytes())
#: Bytes of memory for each byte of the file, and in any case.
PER_BYTE, ALWAYS = 64, 4 << 20
#: What offsets and counts are replaced by.
NASTY = (0, 1, 4, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF)
FEW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
MANY = settings(FEW, max_examples=1500, derandomize=False)


def survive(content: bytes) -> None:
    """Reads ``content``: a graph or InputError, and the memory for it bounded by the file's size."""
    tracemalloc.start()
    try:
        try:
            found = read_bytes(content)
        except InputError as error:
            assert "model" in str(error), "a refusal says which file it is about"
        else:
            assert isinstance(found, QuantGraph)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < ALWAYS + PER_BYTE * len(content), f"{most} bytes for a file of {len(content)}"


def truncated(whole: bytes, draw: st.DataObject) -> bytes:
    return whole[: draw.draw(st.integers(0, len(whole)))]


def flipped(whole: bytes, draw: st.DataObject) -> bytes:
    content = bytearray(whole)
    for at in draw.draw(st.lists(st.integers(0, 8 * len(whole) - 1), min_size=1, max_size=12)):
        content[at // 8] ^= 1 << at % 8
    return bytes(content)


def spliced(whole: bytes, draw: st.DataObject) -> bytes:
    """Words replaced by sizes that are too large, or by other words of the same file: offsets that lead to the wrong table."""
    content = bytearray(whole)
    words = st.integers(0, len(whole) // 4 - 1)
    for at in draw.draw(st.lists(words, min_size=1, max_size=6)):
        if draw.draw(st.booleans()):
            content[4 * at : 4 * at + 4] = struct.pack("<I", draw.draw(st.sampled_from(NASTY)))
        else:
            source = 4 * draw.draw(words)
            content[4 * at : 4 * at + 4] = whole[source : source + 4]
    return bytes(content)


def steered(whole: bytes, draw: st.DataObject) -> bytes:
    """Damage among the tables alone, where counts and offsets are, not in the weights."""
    content = bytearray(whole)
    tables = [at for at in range(0, len(whole) - 4, 4) if struct.unpack_from("<I", whole, at)[0] < 4096]
    for at in draw.draw(st.lists(st.sampled_from(tables), min_size=1, max_size=3)):
        content[at : at + 4] = struct.pack("<I", draw.draw(st.sampled_from(NASTY)))
    return bytes(content)


DAMAGES = (truncated, flipped, spliced, steered)


@pytest.mark.parametrize("damage", DAMAGES)
@FEW
@given(draw=st.data())
def test_damage(damage, draw: st.DataObject) -> None:
    survive(damage(WHOLE[draw.draw(st.integers(0, 1))], draw))


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@MANY
@given(draw=st.data())
def test_much_damage(damage, draw: st.DataObject) -> None:
    survive(damage(WHOLE[draw.draw(st.integers(0, 1))], draw))


@settings(FEW, max_examples=200)
@given(content=st.binary(max_size=400))
def test_noise(content: bytes) -> None:
    survive(content)
    survive(b"\x1c\0\0\0TFL3" + content)


def test_whole_files_stay_within_the_bounds() -> None:
    for whole in WHOLE:
        survive(whole)


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    from edgekd.importers.tflite import read

    path = tmp_path / "large.tflite"
    with open(path, "wb") as file:  # sparse: it takes no room
        file.write(b"\x1c\0\0\0TFL3")
        file.truncate(LARGEST_FILE + 1)
    tracemalloc.start()
    with pytest.raises(InputError, match=f"{LARGEST_FILE + 1} bytes"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < ALWAYS
    tracemalloc.stop()


def test_constants_that_share_a_buffer_are_bounded() -> None:
    """Forty thousand tensors of one buffer would be gigabytes once each is unpacked."""
    from ai_edge_litert import schema_py_generated as schema

    from edgekd.export.tflite_file import FileOperator, FileTensor, pack

    shared = np.zeros((1, 1 << 16), np.uint8)
    scale, zero = np.array([1], np.float32), np.array([128])
    tensors = [FileTensor("x", schema.TensorType.UINT8, (1, 1 << 16), scale, zero)]
    operators = []
    for i in range(400):
        tensors += [FileTensor(f"w{i}", schema.TensorType.UINT8, (1, 1 << 16), scale, zero, 0, shared),
                    FileTensor(f"y{i}", schema.TensorType.UINT8, (1, 1 << 16), scale, zero)]  # fmt: skip
        operators.append(FileOperator(schema.BuiltinOperator.ADD, 1, schema.AddOptionsT(0), (2 * i, 2 * i + 1), (2 * i + 2,)))
    content = pack(tensors, operators, (0,), (800,), {})
    with pytest.raises(InputError, match="more than 16 elements for each byte of the file"):
        read_bytes(content)
    survive(content)
