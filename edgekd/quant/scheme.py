"""The quantization scheme of a target: what its runtime wants, stated in the profile, trained under, carried into the files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgekd.errors import InputError


@dataclass(frozen=True)
class Scheme:
    """``numeric`` int8 (with the fields below) or float16 or float32 (where the fields below mean nothing)."""

    numeric: Literal["int8", "float16", "float32"] = "int8"
    symmetric_activations: bool = False
    per_channel_weights: bool = True

    def __post_init__(self) -> None:
        if self.numeric not in ("int8", "float16", "float32"):
            raise InputError(f"numeric {self.numeric!r}", where="scheme", expected="int8, float16 or float32")

    @property
    def is_integer(self) -> bool:
        return self.numeric == "int8"
