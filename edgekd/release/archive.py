"""Archives whose bytes depend on their content alone: no times, no owners, one order, nothing compressed, for another zlib would do that to
other bytes."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

#: A zip file's earliest time; it has no time zone, so any later one would depend on where it was made.
_EPOCH = (1980, 1, 1, 0, 0, 0)
#: Largest page of an Android device (16 KB since Android 15): what is aligned to it can be mapped on all of them.
PAGE = 16384
_WORD = 4


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_zip(path: Path, files: Mapping[str, bytes], *, mapped: frozenset[str] = frozenset()) -> None:
    """zipped(), into a file."""
    path.write_bytes(zipped(files, mapped=mapped))


def zipped(files: Mapping[str, bytes], *, mapped: frozenset[str] = frozenset()) -> bytes:
    """``files`` by name, sorted; those in ``mapped`` begin at a multiple of PAGE, so that they can be mapped, the others at one of four.

    The padding stands in the extra field (0xD935, Android's alignment block), as zipalign leaves it.
    """
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system, info.external_attr = 3, 0o100644 << 16
            align = PAGE if name in mapped else _WORD
            fill = -(made.tell() + 30 + len(name.encode()) + 6) % align
            info.extra = b"\x35\xd9" + (fill + 2).to_bytes(2, "little") + align.to_bytes(2, "little") + bytes(fill)
            archive.writestr(info, files[name])
    return made.getvalue()


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """``arrays`` by name as NumPy's .npz, the same bytes for the same values."""
    files = {}
    for name, array in arrays.items():
        made = io.BytesIO()
        np.lib.format.write_array(made, np.ascontiguousarray(array), allow_pickle=False)
        files[f"{name}.npy"] = made.getvalue()
    return zipped(files)


def tar(files: Mapping[str, bytes], *, executable: frozenset[str] = frozenset()) -> bytes:
    """An uncompressed POSIX tar of ``files``, sorted, without times and owners."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(files[name]), 0o755 if name in executable else 0o644
            archive.addfile(info, io.BytesIO(files[name]))
    return made.getvalue()
