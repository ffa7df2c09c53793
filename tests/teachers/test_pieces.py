"""Shards that several processes compute are taken in by the one who makes the array; what is damaged or missing it computes itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgekd.teachers.shards import Layout, kept, missing, share

LAYOUT = Layout((2, 10, 3), np.dtype("<f2"), 4)  # three shards a view


def rows(view: int, start: int, stop: int, told: Callable[[int], None]) -> np.ndarray:
    told(stop - start)
    return (np.arange(start, stop)[:, None] + 100 * view + np.zeros((1, 3))).astype("<f2")


def quiet(_: int, __: int) -> None:
    pass


def test_parts_are_taken_in(tmp_path: Path) -> None:
    whole = kept(tmp_path / "whole.npy", LAYOUT, rows, "", quiet)
    file, seen, asked = tmp_path / "parts.npy", list[tuple[int, int]](), list[tuple[int, int]]()

    def counted(view: int, start: int, stop: int, told: Callable[[int], None]) -> np.ndarray:
        asked.append((view, start))
        return rows(view, start, stop, told)

    assert missing(file, LAYOUT) == 6
    for part in ((0, 2), (1, 2), (1, 2)):  # the last finds its own
        share(file, LAYOUT, counted, part, lambda done, total: seen.append((done, total)))
    assert len(asked) == 6 and seen[-1] == max(seen) == (10, 10)
    pieces = sorted(tmp_path.glob("parts.*.pieces/*"))
    assert [piece.name for piece in pieces] == [str(n) for n in range(6)] and missing(file, LAYOUT) == 6
    pieces[1].unlink()
    pieces[3].write_bytes(pieces[3].read_bytes()[:-1] + b"\xff")
    asked.clear()
    assert np.array_equal(kept(file, LAYOUT, counted, "", quiet), whole) and asked == [(0, 4), (1, 0)]
    assert missing(file, LAYOUT) == 0 and not list(tmp_path.glob("*.pieces"))
    assert file.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    share(file, LAYOUT, counted, (0, 2), quiet)
    assert len(asked) == 2
