"""The operators of a QuantGraph: frozen, validated when made, with TFLite's meaning in channels-last terms.

``inputs`` and ``outputs`` are names of tensors. Padding is explicit: (top, bottom, left, right), filled with real zero.
A fused ``activation`` clamps in the output's own scale. Axes count the batch as 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgekd.errors import InputError

Activation = Literal["none", "relu", "relu6"]
Pair = tuple[int, int]
Padding = tuple[int, int, int, int]


@dataclass(frozen=True)
class Op:
    """Abstract: a name (unique in the graph), what it reads and what it writes."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        if type(self) is Op:
            raise TypeError("Op is abstract")
        low, high = _ARITY[type(self).__name__]
        if not low <= len(self.inputs) <= high or len(self.outputs) != 1:
            raise InputError(
                f"{len(self.inputs)} inputs and {len(self.outputs)} outputs",
                where=f"{type(self).__name__} {self.name}",
                expected=f"{low} to {high} inputs, one output",
            )
        for attribute in ("stride", "dilation", "kernel"):
            value = getattr(self, attribute, (1, 1))
            if len(value) != 2 or min(value) < 1:
                raise InputError(f"{attribute} {value}", where=f"{type(self).__name__} {self.name}", expected="two sizes of at least 1")
        padding = getattr(self, "padding", (0, 0, 0, 0))
        if len(padding) != 4 or min(padding) < 0:
            raise InputError(f"padding {padding}", where=f"{type(self).__name__} {self.name}", expected="top, bottom, left, right ≥ 0")
        if getattr(self, "activation", "none") not in ("none", "relu", "relu6"):
            raise InputError(f"activation {getattr(self, 'activation', None)!r}", where=self.name, expected="none, relu or relu6")


@dataclass(frozen=True)
class Conv2D(Op):
    """Inputs: x, weight, and optionally bias (int32, scale = s_x·s_w)."""

    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    activation: Activation = "none"


@dataclass(frozen=True)
class DepthwiseConv2D(Op):
    """Inputs: x, weight, and optionally bias; output channel c reads input channel c // multiplier."""

    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    multiplier: int = 1
    activation: Activation = "none"


@dataclass(frozen=True)
class FullyConnected(Op):
    """Inputs: x [..., in], weight [out, in], and optionally bias [out]."""

    activation: Activation = "none"


@dataclass(frozen=True)
class Add(Op):
    """Sum of two tensors of the same shape, each with its own scale."""

    activation: Activation = "none"


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
class Reshape(Op):
    """To ``shape``, whose first entry is the batch (1); scale shared."""

    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Concat(Op):
    """Along ``axis``; all inputs and the output share one scale."""

    axis: int = -1


@dataclass(frozen=True)
class Pad(Op):
    """``amounts`` is (before, after) for every axis; filled with real zero, or before a max pool with the lowest value; scale shared."""

    amounts: tuple[Pair, ...] = ()
    fill: Literal["zero", "lowest"] = "zero"


@dataclass(frozen=True)
class Relu(Op):
    """A rectifier that could not be fused into its producer; input and output may differ in scale."""

    activation: Activation = "relu"


@dataclass(frozen=True)
class Softmax(Op):
    """Over the last axis; an int8 output has scale 1/256 and zero point −128, as TFLite prescribes."""


@dataclass(frozen=True)
class Logistic(Op):
    """Sigmoid; an int8 output has scale 1/256 and zero point −128, as TFLite prescribes."""


_ARITY = {
    "Conv2D": (2, 3),
    "DepthwiseConv2D": (2, 3),
    "FullyConnected": (2, 3),
    "Add": (2, 2),
    "AveragePool2D": (1, 1),
    "MaxPool2D": (1, 1),
    "Mean": (1, 1),
    "Reshape": (1, 1),
    "Concat": (1, 64),
    "Pad": (1, 1),
    "Relu": (1, 1),
    "Softmax": (1, 1),
    "Logistic": (1, 1),
}

#: Operators by name, for reading a graph from disk.
OPS: dict[str, type[Op]] = {
    cls.__name__: cls
    for cls in (
        Conv2D, DepthwiseConv2D, FullyConnected, Add, AveragePool2D, MaxPool2D, Mean, Reshape, Concat, Pad, Relu, Softmax, Logistic,
    )
}  # fmt: skip

#: Operators whose output must carry the scale of their input.
SHARES_SCALE: tuple[type[Op], ...] = (AveragePool2D, MaxPool2D, Reshape, Concat, Pad)
