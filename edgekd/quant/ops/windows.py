"""Pooling, reductions and resizing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekd.errors import InputError
from edgekd.quant.ops.base import Activation, Op, Padding, Pair


@dataclass(frozen=True)
class AveragePool2D(Op):
    """Mean over windows, not counting padding; input and output share their scale."""

    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    activation: Activation = "none"


@dataclass(frozen=True)
class MaxPool2D(Op):
    """Largest of each window; input and output share their scale."""

    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    activation: Activation = "none"


@dataclass(frozen=True)
class Mean(Op):
    """Mean over ``axes``; the output has its own scale."""

    axes: tuple[int, ...] = ()
    keepdims: bool = False


@dataclass(frozen=True)
class Sum(Op):
    """Sum over ``axes``; the output has its own scale."""

    axes: tuple[int, ...] = ()
    keepdims: bool = False


@dataclass(frozen=True)
class ReduceMax(Op):
    """Largest over ``axes``; scale shared."""

    axes: tuple[int, ...] = ()
    keepdims: bool = False


@dataclass(frozen=True)
class _Resize(Op):
    """Abstract: x to ``size`` (height, width), with the coordinates of TensorFlow's resize kernels (2019)."""

    ARITY: ClassVar[Pair] = (1, 1)

    size: Pair = (1, 1)
    align_corners: bool = False
    half_pixel_centers: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.size) < 1 or (self.align_corners and self.half_pixel_centers):
            raise InputError(
                f"size {self.size}, align_corners {self.align_corners}, half_pixel_centers {self.half_pixel_centers}",
                where=f"{type(self).__name__} {self.name}",
                expected="positive sizes and at most one of the two",
            )


@dataclass(frozen=True)
class ResizeNearest(_Resize):
    """The nearest value; scale shared."""


@dataclass(frozen=True)
class ResizeBilinear(_Resize):
    """Bilinear interpolation; scale shared."""
