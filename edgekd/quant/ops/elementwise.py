"""Operators that treat each value by itself. Those of two inputs broadcast as NumPy does, and either input may be a constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekd.quant.ops.base import Activation, Op, Pair


@dataclass(frozen=True)
class Add(Op):
    """a + b, each with its own scale."""

    ARITY: ClassVar[Pair] = (2, 2)

    activation: Activation = "none"


@dataclass(frozen=True)
class Sub(Op):
    """a − b, each with its own scale."""

    ARITY: ClassVar[Pair] = (2, 2)

    activation: Activation = "none"


@dataclass(frozen=True)
class Mul(Op):
    """a · b, each with its own scale."""

    ARITY: ClassVar[Pair] = (2, 2)

    activation: Activation = "none"


@dataclass(frozen=True)
class SquaredDifference(Op):
    """(a − b)², each with its own scale."""

    ARITY: ClassVar[Pair] = (2, 2)


@dataclass(frozen=True)
class Maximum(Op):
    """The larger of two; all share one scale."""

    ARITY: ClassVar[Pair] = (2, 2)


@dataclass(frozen=True)
class Minimum(Op):
    """The smaller of two; all share one scale."""

    ARITY: ClassVar[Pair] = (2, 2)


@dataclass(frozen=True)
class Relu(Op):
    """A rectifier that could not be fused into its producer; input and output may differ in scale."""

    activation: Activation = "relu"


@dataclass(frozen=True)
class LeakyRelu(Op):
    """x where x ≥ 0, else ``alpha``·x (float32)."""

    alpha: float = 0.01


@dataclass(frozen=True)
class PRelu(Op):
    """Inputs: x and a constant alpha that broadcasts over x: x where x ≥ 0, else alpha·x."""

    ARITY: ClassVar[Pair] = (2, 2)


@dataclass(frozen=True)
class HardSwish(Op):
    """x · relu6(x + 3) / 6."""


@dataclass(frozen=True)
class Gelu(Op):
    """x · Φ(x), or its approximation by tanh (Hendrycks and Gimpel 2016)."""

    approximate: bool = False


@dataclass(frozen=True)
class Rsqrt(Op):
    """1/√x."""


@dataclass(frozen=True)
class Softmax(Op):
    """Over the last axis; an int8 output has scale 1/256 and zero point −128, int16 1/32768 and 0, as TFLite prescribes."""


@dataclass(frozen=True)
class Logistic(Op):
    """Sigmoid; an int8 output has scale 1/256 and zero point −128, int16 1/32768 and 0, as TFLite prescribes."""


@dataclass(frozen=True)
class Tanh(Op):
    """An int8 output has scale 1/128 and zero point 0, int16 1/32768 and 0, as TFLite prescribes."""


@dataclass(frozen=True)
class Quantize(Op):
    """Float to integers, or integers into another scale or dtype; what the output tensor says."""


@dataclass(frozen=True)
class Dequantize(Op):
    """Integers to float32."""
