"""What every operator has: a name, what it reads and what it writes, and checks when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from edgekd.errors import InputError

Activation = Literal["none", "relu", "relu6"]
Pair = tuple[int, int]
Padding = tuple[int, int, int, int]


@dataclass(frozen=True)
class Op:
    """Abstract: a name (unique in the graph), what it reads and what it writes. ``ARITY`` is the least and the largest count of inputs."""

    ARITY: ClassVar[Pair] = (1, 1)

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        if type(self) is Op:
            raise TypeError("Op is abstract")
        low, high = self.ARITY
        where = f"{type(self).__name__} {self.name}"
        if not low <= len(self.inputs) <= high or len(self.outputs) != 1:
            raise InputError(
                f"{len(self.inputs)} inputs and {len(self.outputs)} outputs", where=where, expected=f"{low} to {high} inputs, one output"
            )
        for attribute in ("stride", "dilation", "kernel"):
            value = getattr(self, attribute, (1, 1))
            if len(value) != 2 or min(value) < 1:
                raise InputError(f"{attribute} {value}", where=where, expected="two sizes of at least 1")
        padding = getattr(self, "padding", (0, 0, 0, 0))
        if len(padding) != 4 or min(padding) < 0:
            raise InputError(f"padding {padding}", where=where, expected="top, bottom, left, right ≥ 0")
        if getattr(self, "activation", "none") not in ("none", "relu", "relu6"):
            raise InputError(f"activation {getattr(self, 'activation', None)!r}", where=self.name, expected="none, relu or relu6")
