"""Crossing the float border of a file: from the integers (or floats) that a device would feed, channels last, to the file's and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekd.errors import InputError
from edgekd.quant.outputs import joined


@dataclass(frozen=True)
class Exit:
    """One output. ``scale`` is None for float students; ``reads`` is what a device holds there: int8, int16 or float32.

    ``name`` is that of the file's own output, "" where only its place is known.
    """

    scale: np.float32 | None = None
    zero: int = 0
    reads: str = "float32"
    name: str = ""

    def leave(self, y: np.ndarray) -> np.ndarray:
        """The file's float32 values → integers, exactly (they lie on the grid of the output's scale), or float32."""
        if y.dtype == np.uint8:
            return (y.astype(np.int16) - 128).astype(np.int8)
        if y.dtype.kind == "i" or self.reads == "float32":
            return y
        assert self.scale is not None
        limits = np.iinfo(self.reads)
        return np.clip(np.rint(y / self.scale) + self.zero, limits.min, limits.max).astype(self.reads)


@dataclass(frozen=True)
class Border:
    """Quantization and shapes at the border. ``input_shape`` is one sample's, channels last; scales are None for float students.

    ``feeds`` is what a device holds at the input: int8, int16, float32 or (numbers of tokens) int32. ``held`` is the type that the
    file itself wants; 128 lies between uint8 and int8. ``channels_last``: the file's own feature maps lie so.
    """

    input_shape: tuple[int, ...]
    input_scale: np.float32 | None
    input_zero: int
    exits: tuple[Exit, ...]
    feeds: str = "float32"
    held: str = "float32"
    channels_last: bool = False

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any], where: str) -> Border:
        """From the document that the exporter wrote. Raises InputError where it lacks what is needed."""
        try:
            x, outputs = metadata["input"], metadata["outputs"] if "outputs" in metadata else [metadata["output"]]
            shape = tuple(int(d) for d in x["shape"][1:])
            if x["layout"] == "NCHW":
                shape = (*shape[1:], shape[0])
            held, entry = str(x.get("dtype", "float32")), _stated(x)
            exits = tuple(_stated(y) for y in outputs)
            feeds = "int32" if held == "int64" else entry.reads
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(
                f"its metadata lacks {error}", where=where, expected="input and output with shape, layout and scale"
            ) from error
        types = [feeds, *(y.reads for y in exits)]
        if feeds not in ("int8", "int16", "int32", "float32") or not exits or {*types[1:]} - {"int8", "int16", "float32"}:
            raise InputError(f"its border is {types}", where=where, expected="int8, int16, float32, or int32 at the input")
        return cls(shape, entry.scale, entry.zero, exits, feeds, held)

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

    def leave(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """What the file answers, in the order of ``exits``, → integers or float32, channels last; of several one after the other."""
        return joined([out.leave(self._turned(y)) for out, y in zip(self.exits, outputs, strict=True)])

    def _turned(self, y: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(y.transpose(0, 2, 3, 1)) if y.ndim == 4 and not self.channels_last else y

    def order(self, names: Sequence[Sequence[str]], where: str) -> list[int]:
        """Which of the file's outputs (each has some ``names``) each of ``exits`` is. Raises InputError where their numbers differ."""
        if len(names) != len(self.exits):
            raise InputError(f"{len(names)} outputs", where=where, expected=f"{len(self.exits)}, as its metadata states")
        found = [next((i for i, known in enumerate(names) if out.name and out.name in known), None) for out in self.exits]
        places = [i for i in found if i is not None]
        return places if len(set(places)) == len(names) else list(range(len(names)))


def _stated(side: Mapping[str, Any]) -> Exit:
    """One side as the exporter's document has it."""
    if side.get("scale") is None:
        return Exit(name=str(side.get("name", "")))
    return Exit(np.float32(side["scale"]), int(side.get("zero_point") or 0), str(side.get("integers", "int8")), str(side.get("name", "")))


def in_batches(x: np.ndarray, size: int, run: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """``run`` over slices of at most ``size`` samples, joined."""
    if not len(x):
        raise InputError("no samples", where="samples", expected="at least one")
    return np.concatenate([run(x[i : i + size]) for i in range(0, len(x), size)])
