"""The quantization scheme of a target: what its runtime wants, stated in the profile, trained under, carried into the files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgekd.errors import InputError
from edgekd.quant.ops import Conv2D, FullyConnected, Op

#: Operators that may have weights of 4 bits.
FOUR_BITS = (Conv2D, FullyConnected)


@dataclass(frozen=True)
class Scheme:
    """``numeric`` int8 (with the fields below) or float16 or float32 (where the fields below mean nothing).

    ``weight_bits`` are those of all operators that may have 4 (see ``weights_of``); where they are 8, those named in ``four_bits`` have 4.
    ``sixteen_bits`` names operators whose outputs, and whatever shares their scales, have 16 bits instead of 8 (see sixteen_bits.py).
    """

    numeric: Literal["int8", "float16", "float32"] = "int8"
    symmetric_activations: bool = False
    per_channel_weights: bool = True
    weight_bits: Literal[4, 8] = 8
    four_bits: tuple[str, ...] = ()
    sixteen_bits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.numeric not in ("int8", "float16", "float32"):
            raise InputError(f"numeric {self.numeric!r}", where="scheme", expected="int8, float16 or float32")
        if self.weight_bits not in (4, 8):
            raise InputError(f"{self.weight_bits} bits a weight", where="scheme", expected="4 or 8")

    @property
    def is_integer(self) -> bool:
        return self.numeric == "int8"

    def weights_of(self, op: type[Op], name: str = "") -> tuple[int, bool]:
        """Bits of the weights of an operator of this kind and ``name``, and whether each of its outputs has a scale of its own.

        Only convolutions and fully connected layers take 4 bits: a depthwise convolution has few weights and suffers most. A fully
        connected layer of 4 bits has one scale, because TFLM knows no other.
        """
        bits = (4 if name in self.four_bits else self.weight_bits) if issubclass(op, FOUR_BITS) else 8
        return bits, self.per_channel_weights and not (bits == 4 and issubclass(op, FullyConnected))

    def document(self) -> dict[str, Any]:
        """What distinguishes the scheme, as JSON: 8 bits go without saying, so that trainings that predate others are found."""
        unsaid = {"weight_bits": 8, "four_bits": (), "sixteen_bits": ()}
        return {key: value for key, value in asdict(self).items() if key not in unsaid or value != unsaid[key]}
