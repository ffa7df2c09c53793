"""Operators that move values and compute nothing: the output has the scale of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from edgekd.errors import InputError
from edgekd.quant.ops.base import Op, Pair


@dataclass(frozen=True)
class Reshape(Op):
    """To ``shape``, whose first entry is the batch (1). Squeeze and ExpandDims are Reshapes."""

    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Transpose(Op):
    """Output axis i is input axis ``order[i]``; the batch stays first."""

    order: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if sorted(self.order) != list(range(len(self.order))) or not self.order or self.order[0] != 0:
            raise InputError(f"order {self.order}", where=f"Transpose {self.name}", expected="each axis once, the batch first")


@dataclass(frozen=True)
class Concat(Op):
    """Along ``axis``; all inputs and the output share one scale."""

    ARITY: ClassVar[Pair] = (1, 64)

    axis: int = -1


@dataclass(frozen=True)
class Slice(Op):
    """From ``begin``, ``size`` values ``step`` apart, for every axis. A Split is several Slices, a StridedSlice one."""

    begin: tuple[int, ...] = ()
    size: tuple[int, ...] = ()
    step: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if (
            len({len(self.begin), len(self.size), len(self.step)}) != 1
            or min((*self.size, *self.step), default=0) < 1
            or min(self.begin) < 0
        ):
            raise InputError(
                f"begin {self.begin}, size {self.size}, step {self.step}",
                where=f"Slice {self.name}",
                expected="one of each for every axis: begin ≥ 0, size and step ≥ 1",
            )


@dataclass(frozen=True)
class Gather(Op):
    """Inputs: a table and int32 indices (an embedding: table [rows, features] constant, indices [N, n], output [N, n, features]).

    Rows are taken along axis 0 of the table, which is a constant.
    """

    ARITY: ClassVar[Pair] = (2, 2)


@dataclass(frozen=True)
class Pad(Op):
    """``amounts`` is (before, after) for every axis; filled with real zero, or before a max pool with the lowest value."""

    amounts: tuple[Pair, ...] = ()
    fill: Literal["zero", "lowest"] = "zero"
