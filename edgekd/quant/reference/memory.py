"""Buffers that the layers of one run share, so that a chunk's activations stay in the cache and are not allocated over and over."""

from __future__ import annotations

import math

import numpy as np


class Memory:
    """Hands out arrays and takes them back; the one given back last is handed out first. Contents are not cleared."""

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []
        self._lent: dict[int, np.ndarray] = {}

    def take(self, shape: tuple[int, ...], dtype: type | np.dtype = np.float32) -> np.ndarray:
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        for index in range(len(self._free) - 1, -1, -1):
            if size <= self._free[index].nbytes <= 2 * size + 4096:
                block = self._free.pop(index)
                break
        else:
            block = np.empty(-(-size // 64) * 64, np.uint8)
        array = block[:size].view(dtype).reshape(shape)
        self._lent[array.__array_interface__["data"][0]] = block
        return array

    def give(self, array: np.ndarray) -> None:
        """Take back what ``array``, or an array that it is a view of from the start, was lent as; what was never lent is left alone."""
        block = self._lent.pop(array.__array_interface__["data"][0], None)
        if block is not None:
            self._free.append(block)
