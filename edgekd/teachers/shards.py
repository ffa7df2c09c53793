"""Large arrays of the cache, made shard by shard and found again as memory maps.

    NAME.npy        the array [views, N, …], written by numpy's rules; NAME.npy.part until the last shard is in it
    NAME.sha256     a header, then a line "shard sha256" for each shard that is whole, in the order in which they were made
    NAME.stamp      of a large file that was hashed: the time, size and place that it had then

A shard counts once its line stands there, so whoever is killed at any moment goes on behind the last line; a shard that is not what its
line says is made again, alone. Nothing needs to reach the disk in any order: what a power cut loses has another hash.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from edgekd import runs
from edgekd.teachers import pieces
from edgekd.teachers.sealed import whole

LOG = logging.getLogger(__name__)
#: Samples and bytes of a shard, at most: what is lost by being killed, and what is in memory at a time.
ROWS, BYTES = 4096, 16 << 20
#: Up to this size a file is hashed whenever it is opened; a larger one when it was written or touched since (a second a GiB and more).
ALWAYS_HASHED = 1 << 30

#: ``make(view, start, stop, told)``: those samples of a view, [stop − start, …]; ``told`` gets how many of them are done.
Make = Callable[[int, int, int, Callable[[int], None]], np.ndarray]


@dataclass(frozen=True)
class Layout:
    """An array of ``shape`` [views, N, …] of which a shard has ``rows`` samples of one view."""

    shape: tuple[int, ...]
    dtype: np.dtype
    rows: int

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape[2:], dtype=np.int64))

    @cached_property
    def head(self) -> bytes:
        """Of the .npy file."""
        stream = io.BytesIO()
        npy.write_array_header_1_0(stream, {"descr": npy.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape})
        return stream.getvalue()

    @property
    def title(self) -> str:
        """First line of the list of hashes."""
        return json.dumps({"shards": 1, "rows": self.rows, "shape": self.shape, "type": npy.dtype_to_descr(self.dtype)})

    @cached_property
    def spans(self) -> tuple[tuple[int, int, int], ...]:
        """View, start and stop of each shard."""
        views, samples = self.shape[:2]
        return tuple((v, at, min(at + self.rows, samples)) for v in range(views) for at in range(0, samples, self.rows))

    def place(self, shard: int) -> tuple[int, int]:
        """Where a shard begins in the file, and its bytes."""
        view, start, stop = self.spans[shard]
        return len(self.head) + (view * self.shape[1] + start) * self.row_bytes, (stop - start) * self.row_bytes

    @property
    def size(self) -> int:
        """Of the file, in bytes."""
        return len(self.head) + self.shape[0] * self.shape[1] * self.row_bytes


def rows_of(batch: int, row_bytes: int) -> int:
    """Samples of a shard of whole batches: batches begin where they would without shards, for a batch of another size has other floats."""
    return batch * max(1, min(ROWS, BYTES // row_bytes) // batch)


def kept(file: Path, layout: Layout, make: Make, doing: str, progress: Callable[[int, int], None]) -> np.ndarray:
    """The array of ``layout``, read-only and memory-mapped from ``file`` (.npy); ``make`` makes the shards that are not there whole.

    No more than one shard is in memory. Where another process makes the same array, says that it is ``doing`` it, waits and reads what that
    stored; any number of processes may read. Raises OSError, with the name of the file, where the disk is full.
    """
    if (found := _opened(file, layout)) is not None:
        return found
    file.parent.mkdir(parents=True, exist_ok=True)
    with runs.lock(file.parent, f".{file.stem}.lock", wait=lambda who: LOG.warning("%s %s: waiting", who, doing)):
        if (found := _opened(file, layout)) is None:
            _fill(file, layout, make, progress)
            found = np.load(file, mmap_mode="r", allow_pickle=False)
    return found


def missing(file: Path, layout: Layout) -> int:
    """Shards that are yet to be made."""
    if _opened(file, layout) is not None:
        return 0
    part, listed = file.with_name(f"{file.name}.part"), _listed(file, layout)
    there = _good(part, layout, listed) if listed and part.exists() else set[int]()
    return len(layout.spans) - len(there)


def share(file: Path, layout: Layout, make: Make, part: tuple[int, int], progress: Callable[[int, int], None]) -> None:
    """Make the shards whose number leaves ``part[0]`` when divided by ``part[1]``, for the one who makes the whole array."""
    if _opened(file, layout) is not None:
        return
    mine = range(part[0], len(layout.spans), part[1])
    total = sum(layout.spans[shard][2] - layout.spans[shard][1] for shard in mine)
    done = 0

    def content(shard: int) -> bytes:
        nonlocal done
        view, start, stop = layout.spans[shard]
        made = _bytes(make(view, start, stop, _counting(progress, done, total)), layout, shard)
        done += stop - start
        return made

    pieces.make(file, layout.title, mine, content)
    if done < total:  # what was there already
        progress(total, total)


def _bytes(made: np.ndarray, layout: Layout, shard: int) -> bytes:
    _, start, stop = layout.spans[shard]
    assert made.shape == (stop - start, *layout.shape[2:]) and made.dtype == layout.dtype, (made.shape, made.dtype)
    return np.ascontiguousarray(made).tobytes()


def _opened(file: Path, layout: Layout) -> np.ndarray | None:
    """The whole array; None where anything is missing or damaged."""
    listed = _listed(file, layout)
    if listed is None:
        return _of_one_piece(file, layout)
    try:
        stamp = _stamp(file)
        if len(listed) < len(layout.spans) or not (_stamped(file, stamp, layout) or len(_good(file, layout, listed)) == len(layout.spans)):
            return None
        with file.open("rb") as stream:
            if stream.read(len(layout.head)) != layout.head or os.fstat(stream.fileno()).st_size != layout.size:
                return None
        if layout.size > ALWAYS_HASHED:
            _remember(file, stamp)
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None


def _of_one_piece(file: Path, layout: Layout) -> np.ndarray | None:
    """An array that was stored before there were shards, with one hash of all."""
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False) if whole(file) else None
    except (OSError, ValueError):
        return None
    return found if found is not None and found.shape == layout.shape and found.dtype == layout.dtype else None


def _fill(file: Path, layout: Layout, make: Make, progress: Callable[[int, int], None]) -> None:
    """Make what is missing of ``file``, whose lock is held."""
    part, listed = file.with_name(f"{file.name}.part"), _listed(file, layout)
    path = file if file.exists() else part
    if listed is None or not path.exists():
        if file.exists():
            LOG.warning("%s is not whole, or of another form: all of it is computed again", file)
        for old in (file, part):
            old.unlink(missing_ok=True)
        path, listed = part, {}
    good = _good(path, layout, listed) if listed else set[int]()
    _say(path, layout, listed, good)
    # Without a last line of which only half was written: the next would be appended to it.
    runs.atomic_write(_list_of(file), "\n".join([layout.title, *(f"{n} {listed[n]}" for n in sorted(good)), ""]).encode())
    try:
        with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0) as stream:
            _reserve(stream.fileno(), layout.size)
            os.pwrite(stream.fileno(), layout.head, 0)
            _make_missing(file, stream.fileno(), layout, good, make, progress)
            os.fsync(stream.fileno())
        os.replace(path, file)
        pieces.sweep(file, layout.title)
    except BaseException as error:
        if not _listed(file, layout):  # nothing to go on from: leave no empty file of full size
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):  # of a full disk the system does not say which file it was
            error.filename = error.filename or str(path)
        raise
    if layout.size > ALWAYS_HASHED:
        _remember(file, _stamp(file))


def _make_missing(file: Path, handle: int, layout: Layout, good: Collection[int], make: Make, progress: Callable[[int, int], None]) -> None:
    total, done = layout.shape[0] * layout.shape[1], sum(layout.spans[n][2] - layout.spans[n][1] for n in good)
    for shard, (view, start, stop) in enumerate(layout.spans):
        if shard in good:
            continue
        if (content := pieces.taken(file, layout.title, shard)) is None or len(content) != layout.place(shard)[1]:
            content = _bytes(make(view, start, stop, _counting(progress, done, total)), layout, shard)
        _write(handle, content, layout.place(shard)[0])
        with _list_of(file).open("a") as hashes:
            hashes.write(f"{shard} {sha256(content).hexdigest()}\n")
        done += stop - start


def _counting(progress: Callable[[int, int], None], done: int, total: int) -> Callable[[int], None]:
    """Progress within a shard as progress over all."""
    return lambda more: progress(done + more, total)


def _write(handle: int, content: bytes, at: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(handle, view, at)
        view, at = view[written:], at + written


def _reserve(handle: int, size: int) -> None:
    """A full disk is better found before the first hour of computing than after the last."""
    os.ftruncate(handle, size)
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError as error:  # a file system that cannot
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise


def _say(path: Path, layout: Layout, listed: Collection[int], good: Collection[int]) -> None:
    count = len(layout.spans)
    for shard in sorted(set(listed) - set(good)):
        LOG.warning("%s: shard %d of %d is damaged: computed again", path, shard + 1, count)
    if good:
        LOG.info("%s: %d of %d shards are there already", path, len(good), count)


def _good(path: Path, layout: Layout, listed: dict[int, str]) -> set[int]:
    """The shards that are what ``listed`` says. Raises OSError where the file cannot be read."""
    found = set[int]()
    with path.open("rb", buffering=0) as stream:
        for shard, digest in listed.items():
            at, size = layout.place(shard)
            if sha256(os.pread(stream.fileno(), size, at)).hexdigest() == digest:
                found.add(shard)
    return found


def _listed(file: Path, layout: Layout) -> dict[int, str] | None:
    """The hash of each shard that was written; None where there is no list for this layout."""
    try:
        lines = _list_of(file).read_text(encoding="ascii").split("\n")
    except (OSError, ValueError):
        return None
    if lines[0] != layout.title:
        return None
    found = dict[int, str]()
    for line in lines[1:-1]:  # behind the last newline is nothing, or a line that was not written to its end
        if (match := re.fullmatch(r"([0-9]{1,9}) ([0-9a-f]{64})", line)) and int(match[1]) < len(layout.spans):
            found[int(match[1])] = match[2]
    return found


def _list_of(file: Path) -> Path:
    return file.with_suffix(".sha256")


def _stamp(file: Path) -> str:
    now = file.stat()
    return f"{now.st_dev} {now.st_ino} {now.st_size} {now.st_mtime_ns} {now.st_ctime_ns}"


def _stamped(file: Path, stamp: str, layout: Layout) -> bool:
    """Whether the file is large and was hashed, and nobody wrote to it since."""
    try:
        return layout.size > ALWAYS_HASHED and file.with_suffix(".stamp").read_text() == stamp
    except (OSError, ValueError):
        return False


def _remember(file: Path, stamp: str) -> None:
    try:
        runs.atomic_write(file.with_suffix(".stamp"), stamp.encode())
    except OSError:
        LOG.info("%s cannot be stamped: it is hashed again the next time", file)  # a cache that may only be read
