"""Arrays in .npz files that others made: nothing is unpickled, and nothing is unpacked that their heads do not announce."""

from __future__ import annotations

import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np
from numpy.lib import format as npy

#: What numpy, its parser of heads (which reads a piece of Python) and zipfile are known to raise on damaged files.
BROKEN = (
    OSError, ValueError, TypeError, EOFError, SyntaxError, LookupError, AttributeError, ArithmeticError, RuntimeError,
    MemoryError, TokenError, struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip


def read_npz(path: Path, names: Collection[str], most: int) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Those arrays of the file that ``names`` names, and the names of all that it holds.

    Raises one of BROKEN for what is no whole .npz file of plain arrays, and ValueError for one whose arrays have more than ``most`` bytes.
    """
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        wanted = {name: members[name] for name in names if name in members}
        if (total := sum(info.file_size for info in wanted.values())) > most:
            raise ValueError(f"unpacks to {total} bytes, at most {most} are read")
        return {name: _array(archive, info, name) for name, info in wanted.items()}, tuple(members)


def head(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """What the head of a .npy file announces, read from its beginning: shape, whether by columns (Fortran's order), dtype.

    Raises one of BROKEN for what is no such file.
    """
    read = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
    return read(stream)


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> np.ndarray:
    """Its head is read first: numpy would allocate whatever size that claims."""
    with archive.open(info) as stream:
        shape, _, dtype = head(stream)
        if dtype.hasobject:
            raise ValueError(f"{name} is pickled: it holds Python objects")
        if min(shape, default=0) < 0 or math.prod(map(int, shape)) * dtype.itemsize != info.file_size - stream.tell():
            raise ValueError(f"{name} is cut short: its head announces {list(shape)} {dtype}")
    with archive.open(info) as stream:
        return npy.read_array(stream, allow_pickle=False)
