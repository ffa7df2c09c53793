"""Operators that multiply by weights, or two activations with one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekd.quant.ops.base import Activation, Op, Padding, Pair


@dataclass(frozen=True)
class Conv2D(Op):
    """Inputs: x, weight, and optionally bias (int32, scale = s_x·s_w). A Conv1D is one of height 1, between two Reshapes."""

    ARITY: ClassVar[Pair] = (2, 3)

    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    activation: Activation = "none"


@dataclass(frozen=True)
class DepthwiseConv2D(Op):
    """Inputs: x, weight, and optionally bias; output channel c reads input channel c // multiplier."""

    ARITY: ClassVar[Pair] = (2, 3)

    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    multiplier: int = 1
    activation: Activation = "none"


@dataclass(frozen=True)
class TransposeConv2D(Op):
    """Inputs: x, weight, and optionally bias. The gradient of a convolution: each x spreads over a window of the output.

    The weight is channels last [out, kh, kw, in], channels first [in, out, kh, kw]. ``padding`` is cut off the full result of size
    (H − 1)·stride + kernel; bottom and right may cut less than nothing through ``extra``, rows and columns of bias appended.
    """

    ARITY: ClassVar[Pair] = (2, 3)

    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    extra: Pair = (0, 0)
    activation: Activation = "none"


@dataclass(frozen=True)
class FullyConnected(Op):
    """Inputs: x [..., in], weight [out, in], and optionally bias [out]."""

    ARITY: ClassVar[Pair] = (2, 3)

    activation: Activation = "none"


@dataclass(frozen=True)
class BatchMatMul(Op):
    """Inputs: a [..., m, k] and b [..., k, n], leading axes broadcast; ``adjoint_b`` where b lies [..., n, k]."""

    ARITY: ClassVar[Pair] = (2, 2)

    adjoint_b: bool = False
