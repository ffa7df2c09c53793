"""Crossing the float border of a file: from the integers (or floats) that a device would feed, channels last, to the file's and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekd.errors import InputError


@dataclass(frozen=True)
class Border:
    """Quantization and shapes at the border. ``input_shape`` is one sample's, channels last; scales are None for float students.

    ``feeds`` and ``reads`` are what a device holds there: int8, int16, float32 or (numbers of tokens) int32. ``held`` is the type that the
    file itself wants; 128 lies between uint8 and int8. ``channels_last``: the file's own feature maps lie so.
    """

    input_shape: tuple[int, ...]
    input_scale: np.float32 | None
    input_zero: int
    output_scale: np.float32 | None
    output_zero: int
    feeds: str = "float32"
    reads: str = "float32"
    held: str = "float32"
    channels_last: bool = False

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any], where: str) -> Border:
        """From the document that the exporter wrote. Raises InputError where it lacks what is needed."""
        try:
            x, y = metadata["input"], metadata["output"]
            shape = tuple(int(d) for d in x["shape"][1:])
            if x["layout"] == "NCHW":
                shape = (*shape[1:], shape[0])
            scales = [None if side.get("scale") is None else np.float32(side["scale"]) for side in (x, y)]
            zeros = [int(side.get("zero_point") or 0) for side in (x, y)]
            held = str(x.get("dtype", "float32"))
            types = ["float32" if scale is None else str(side.get("integers", "int8")) for side, scale in zip((x, y), scales, strict=True)]
            types[0] = "int32" if held == "int64" else types[0]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"its metadata lacks {error}", where=where, expected="input and output with shape, layout and scale"
            ) from error
        if types[0] not in ("int8", "int16", "int32", "float32") or types[1] not in ("int8", "int16", "float32"):
            raise InputError(f"its border is {types}", where=where, expected="int8, int16, float32, or int32 at the input")
        return cls(shape, scales[0], zeros[0], scales[1], zeros[1], types[0], types[1], held)

    def enter(self, x: np.ndarray) -> np.ndarray:
        """Samples [N, ...] as a device would feed them → as the file wants them (channels first; float32 but for integers as they are)."""
        expected = np.dtype(self.feeds)
        if x.dtype != expected or x.shape[1:] != self.input_shape:
            raise InputError(
                f"samples are {x.dtype} {list(x.shape)}",
                where="samples",
                expected=f"{expected} [N, {', '.join(map(str, self.input_shape))}]",
            )
        if x.ndim == 4 and not self.channels_last:
            x = x.transpose(0, 3, 1, 2)
        if self.held == "uint8":
            return (x.astype(np.int16, order="C") + 128).astype(np.uint8)
        if self.input_scale is None or self.held != "float32":
            return np.ascontiguousarray(x, self.held)
        return (x.astype(np.float32, order="C") - np.float32(self.input_zero)) * self.input_scale

    def leave(self, y: np.ndarray) -> np.ndarray:
        """The file's float32 outputs → integers, exactly (they lie on the grid of the output's scale), or float32; channels last."""
        if y.ndim == 4 and not self.channels_last:
            y = np.ascontiguousarray(y.transpose(0, 2, 3, 1))
        if y.dtype == np.uint8:
            return (y.astype(np.int16) - 128).astype(np.int8)
        if y.dtype.kind == "i" or self.reads == "float32":
            return y
        assert self.output_scale is not None
        limits = np.iinfo(self.reads)
        return np.clip(np.rint(y / self.output_scale) + self.output_zero, limits.min, limits.max).astype(self.reads)


def in_batches(x: np.ndarray, size: int, run: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """``run`` over slices of at most ``size`` samples, joined."""
    if not len(x):
        raise InputError("no samples", where="samples", expected="at least one")
    return np.concatenate([run(x[i : i + size]) for i in range(0, len(x), size)])
