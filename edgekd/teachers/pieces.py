"""Shards of an array that several processes make: each a file of its own, until whoever makes the array has taken it in.

    NAME.HASH.pieces/N      the sha256 of shard N of NAME.npy, and its bytes; HASH stands for how the array is laid out

NAME stands for what the shards are made of, so a piece is good wherever and whenever it was made; one that is damaged is made again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from hashlib import sha256
from pathlib import Path

from edgekd import runs

_SHA256 = 32


def write(file: Path, title: str, shard: int, content: bytes) -> None:
    """Leave ``content`` for whoever makes ``file``, the array that is laid out as ``title`` says."""
    runs.atomic_write(_piece(file, title, shard), sha256(content).digest() + content)


def taken(file: Path, title: str, shard: int) -> bytes | None:
    """What another process has left of a shard; None where there is nothing, or nothing whole."""
    try:
        found = _piece(file, title, shard).read_bytes()
    except OSError:
        return None
    content = found[_SHA256:]
    return content if sha256(content).digest() == found[:_SHA256] else None


def make(file: Path, title: str, shards: Collection[int], content: Callable[[int], bytes]) -> None:
    """Leave each of ``shards`` that nobody has left yet, as ``content`` makes it."""
    for shard in shards:
        if taken(file, title, shard) is None:
            write(file, title, shard, content(shard))


def sweep(file: Path, title: str) -> None:
    """Remove what was left: the array is whole, or nobody knows whether they are of what NAME stands for."""
    shutil.rmtree(_piece(file, title, 0).parent, ignore_errors=True)


def _piece(file: Path, title: str, shard: int) -> Path:
    return file.with_name(f"{file.stem}.{sha256(title.encode()).hexdigest()[:8]}.pieces") / str(shard)
