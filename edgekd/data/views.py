"""The few fixed views of each training image: what a student sees, and what the teacher's stored outputs belong to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from edgekd.errors import InputError


@dataclass(frozen=True)
class Views:
    """``count`` views an image, at most four. View 0 is the image itself; every other one is drawn once, from ``seed``.

    Odd views are mirrored where ``mirror`` is set; all but view 0 are moved by up to ``shift`` pixels (edges repeated) and lose one
    square of ``cutout`` pixels (DeVries and Taylor 2017), which becomes mid-grey. Rows move by up to ``shift_time`` more: of
    log-mel features they are frames, and a word may come early or late, but not higher or lower.

    ``of`` is the height and width that all this is said of, where it is not the samples' own: another front-end's features of one clip
    are moved by the same time, and lose the same square, to the nearest row and column.
    """

    count: int = 1
    mirror: bool = False
    shift: int = 0
    cutout: int = 0
    seed: int = 0
    shift_time: int = field(default=0, repr=False)
    of: tuple[int, int] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 4:
            raise InputError(f"count = {self.count}", where="views", expected="1 to 4")

    def check(self, shape: tuple[int, int, int], where: str = "recipe, views") -> None:
        """Raises InputError where samples of ``shape`` (height, width, channels) would be moved out of themselves."""
        height, width, _ = shape
        if self.count > 1 and (self.shift + self.shift_time >= height or self.shift >= width):
            moved = f"shift = {self.shift}" + (f", shift_time = {self.shift_time}" if self.shift_time else "")
            raise InputError(f"{moved} on samples of {height}x{width}", where=where, expected="less than their sides")

    @property
    def sha256(self) -> str:
        # Outputs that were stored before there was a shift_time are found again.
        later = (f" shift_time={self.shift_time}" if self.shift_time else "") + (f" of={self.of}" if self.of else "")
        return hashlib.sha256((repr(self) + later).encode()).hexdigest()

    def apply(self, x: np.ndarray, chosen: np.ndarray, view: np.ndarray) -> np.ndarray:
        """View ``view[i]`` of sample ``chosen[i]`` whose pixels are ``x[i]``.

        ``x`` uint8 [n, H, W, C]; ``chosen`` and ``view`` int64 [n]. Returns uint8 [n, H, W, C]; the same arguments give the same pixels.
        """
        moved = view > 0
        if not moved.any():
            return x
        n, h, w, _ = x.shape
        tall, wide = self.of or (h, w)
        draws = _draws(self.seed, chosen, view)
        up = self.shift + self.shift_time
        dy = np.where(moved, draws[0] % (2 * up + 1) - up, 0)
        dx = np.where(moved, draws[1] % (2 * self.shift + 1) - self.shift, 0)
        rows = np.clip(np.arange(h) + _scaled(dy, h, tall)[:, None], 0, h - 1)
        columns = np.clip(np.arange(w) + _scaled(dx, w, wide)[:, None], 0, w - 1)
        if self.mirror:
            columns = np.where((view % 2 == 1)[:, None], w - 1 - columns, columns)
        out = x[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
        if self.cutout:
            high = _within(h, tall, draws[2] % tall - self.cutout // 2, self.cutout)
            across = _within(w, wide, draws[3] % wide - self.cutout // 2, self.cutout)
            out[high[:, :, None] & across[:, None, :] & moved[:, None, None]] = 128
        return out

    def all(self, x: np.ndarray, view: int) -> np.ndarray:
        """One view of every sample of ``x`` uint8 [N, H, W, C]."""
        return self.apply(x, np.arange(len(x)), np.full(len(x), view))


def _scaled(steps: np.ndarray, size: int, of: int) -> np.ndarray:
    """``steps`` int64 of a side of ``of`` as steps of one of ``size``, rounded, ties upward."""
    return steps if size == of else (2 * steps * size + of) // (2 * of)


def _within(size: int, of: int, first: np.ndarray, count: int) -> np.ndarray:
    """Which of ``size`` places lie, by their middles, among ``count`` of ``of`` places from ``first`` [n] on: bool [n, size]."""
    at = (2 * np.arange(size) + 1) * of // (2 * size)
    return (at >= first[:, None]) & (at < first[:, None] + count)


def _draws(seed: int, chosen: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Four random non-negative int64 for each sample and view, from a counter. No state, no order.

    The mixing steps of splitmix64 (Steele et al. 2014) but its first shift. Stored soft targets belong to these very draws.
    """
    counter = (chosen.astype(np.uint64) * np.uint64(4) + view.astype(np.uint64)) * np.uint64(4) + np.arange(4, dtype=np.uint64)[:, None]
    z = counter + np.uint64((seed * 0x9E3779B97F4A7C15) % 2**64)
    with np.errstate(over="ignore"):
        z = (z + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)
