"""The recipe's table [compress]: what becomes of a student that has been trained, before it is quantized."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from edgekd.profile.strict import Strict

Part = Annotated[float, Field(gt=0, lt=1)]


def _part_or_fit(value: Any) -> Any:
    """A union would say of every wrong value twice what it should be."""
    if value is None or value == "fit" or (isinstance(value, float | int) and not isinstance(value, bool) and 0 < value < 1):
        return value
    raise PydanticCustomError("part_or_fit", 'Input should be a share between 0 and 1, or "fit"')


class Compress(Strict):
    """One compressor, with the keys that it takes: ``channels`` (macs, importance, spread, samples), ``low_rank`` (energy or rank),
    ``sparsity`` (share or pattern). What it leaves is distilled again, by the same losses, and then quantized."""

    method: Literal["channels", "low_rank", "sparsity"]
    macs: Annotated[float | Literal["fit"] | None, BeforeValidator(_part_or_fit)] = Field(
        default=None, description='Share of the MACs that is left; "fit": the most that the target\'s budgets allow'
    )
    importance: Literal["taylor", "l2", "bn_scale"] | None = Field(default=None, description="What channels stay; none stands for taylor")
    spread: Literal["even", "importance"] | None = Field(
        default=None, description="even (or none): the same share of every layer; importance: the least important of all"
    )
    samples: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Training samples of taylor's gradients; none: 1024")
    energy: Part | None = Field(default=None, description="Share of the squared singular values that each layer keeps")
    rank: Part | None = Field(default=None, description="Share of the rank that each layer keeps")
    share: Part | None = Field(default=None, description="Zeros among the weights of each large layer")
    pattern: Annotated[str, Field(pattern=r"^[1-9][0-9]?:[1-9][0-9]?$")] | None = Field(
        default=None, description='"N:M": of every M neighbouring input channels N are left'
    )
    steps: Annotated[int, Field(ge=1, le=32)] = Field(default=1, description="Rounds of compressing and distilling")
    epochs: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Passes over the data after compressing, of all rounds together; none: the preset's float_epochs"
    )
    checkpoint: str | None = Field(
        default=None, description="safetensors file of the trained student, beside the recipe; none: it is trained first"
    )
