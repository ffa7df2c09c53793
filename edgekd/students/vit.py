"""Small vision transformers (Dosovitskiy et al. 2021): patches as tokens, encoder blocks that norm first, a mean or a class token.

What the options cost in int8 (counted and timed on frozen students of 28x28 pixels, otherwise as DEFAULTS: 7.7 M MAC, 81 operators,
an arena of 61 kB, 0.65 ms an image under XNNPACK on one x86 core; the ratios are what carries over):

- ``norm = "layer"`` (Ba et al. 2016) is nine operators a norm, each rounded to eight bits, most of them over all tokens, and no runtime
  has one kernel for them: 162 operators, 75 kB, 1.6 times the time. ``"batch"`` (Yao et al. 2021, who put one between the layers of the
  MLP, too) is folded into the linear layers beside it, exactly, and costs nothing. Of 4,000 grey images of clothes, three blocks of 32
  channels learned more with it in six passes: 76.6 % against 72.0 % (two seeds, float; not compared for longer).
- ``activation = "relu"`` is fused into the linear layer before it. ``"gelu"`` is an operator of its own, which TensorFlow Lite Micro lacks.
- ``heads = 1`` needs no Transpose (49 operators, 0.8 times the time); several need four a block, and four heads 1.2 times the time of two.
  The scores take heads · tokens² bytes: a patch of half the side costs 5.9 times the MACs, 4.2 times the arena and 9 times the time.
- ``pool = "token"`` adds a token and a Pad; "mean" averages all (as good on small data: Beyer et al. 2022).

Nothing here needs torch: a spec is counted before anything is built (vit_sketch.py); the module itself is in vit_net.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from edgekd import lazy
from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph
from edgekd.quant.scheme import Scheme
from edgekd.students.family import Family, Shape, combinations
from edgekd.students.spec import chosen, describe, distinct, multiplier, resolution, restored, whole

if TYPE_CHECKING:
    from torch import nn

#: Scores grow with the square of tokens.
MOST_TOKENS = 1 << 12
#: Of channels a head: the vector kernels of every target take four int8 values at a time.
LEAST = 4

#: What a recipe's options and space may name, and what stands where it names nothing.
DEFAULTS: Mapping[str, Any] = {
    "patch": 4,  # side of the square of pixels that becomes one token
    "dim": 64,  # channels of a token
    "depth": 4,  # encoder blocks
    "heads": 2,
    "mlp_ratio": 2.0,  # hidden over outer channels of each block's MLP
    "activation": "relu",  # or "gelu"
    "norm": "batch",  # or "layer"
    "pool": "mean",  # or "token", a class token
    "resolution": None,  # height that the student is fed; None is the data's own
}
_CHOICES = {"activation": ("relu", "gelu"), "norm": ("batch", "layer"), "pool": ("mean", "token")}
_WHERE = "student vit"


@dataclass(frozen=True)
class Spec:
    """One student, in final numbers. ``height`` and ``width`` are the pixels that it is fed, ``hidden`` the channels inside each MLP."""

    height: int
    width: int
    channels: int
    classes: int
    patch: int
    dim: int
    depth: int
    heads: int
    hidden: int
    activation: Literal["relu", "gelu"]
    norm: Literal["batch", "layer"]
    pool: Literal["mean", "token"]

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in _CHOICES:
                if value not in _CHOICES[f.name]:
                    raise InputError(f"{f.name} = {value!r}", where=_WHERE, expected=" or ".join(_CHOICES[f.name]))
            else:
                whole(f.name, value, 1, _WHERE)
        if self.height % self.patch or self.width % self.patch:
            raise InputError(
                f"patch = {self.patch} on images of {self.height}x{self.width}",
                where=_WHERE,
                expected="a patch that divides both sides",
                mend=f"resolution = {max(1, round(self.height / self.patch)) * self.patch}",
            )
        if self.dim % self.heads or min(self.dim // self.heads, self.hidden) < LEAST:
            raise InputError(
                f"heads = {self.heads} of dim = {self.dim}, hidden = {self.hidden}",
                where=_WHERE,
                expected=f"heads that divide dim, at least {LEAST} channels a head and hidden",
            )
        if not 2 <= self.tokens <= MOST_TOKENS:
            raise InputError(f"{self.tokens} tokens", where=_WHERE, expected=f"2 to {MOST_TOKENS}", mend="another patch")

    @property
    def tokens(self) -> int:
        """How many patches an image has; a class token comes on top."""
        return (self.height // self.patch) * (self.width // self.patch)


def spec_from(options: Mapping[str, Any], shape: Shape, classes: int) -> Spec:
    """The spec that ``options`` (keys of DEFAULTS) ask for on samples of ``shape``. Raises InputError for what makes no student."""
    where = "recipe, student.options"
    asked = chosen(options, DEFAULTS, "vit", where)
    ratio, resolution = multiplier("mlp_ratio", asked.pop("mlp_ratio"), where), asked.pop("resolution")
    dim = whole("dim", asked["dim"], 1, where)
    height, width, channels = shape
    if resolution is not None:
        whole("resolution", resolution, 1, where)
        height, width = resolution, max(1, round(resolution * width / height))
    return Spec(height=height, width=width, channels=channels, classes=classes, hidden=max(1, round(ratio * dim)), **asked)


def candidates(options: Mapping[str, Any], space: Mapping[str, list[Any]], shape: Shape, classes: int) -> Iterator[Spec]:
    """The spec of every combination of ``space`` over ``options``, each once."""
    return distinct(combinations(options, space), lambda asked: spec_from(asked, shape, classes))


def restore(body: Mapping[str, Any]) -> Spec:
    """The spec that ``describe`` wrote. Raises InputError if keys are missing or unknown."""
    return restored(Spec, body, _WHERE)


def sketch(spec: Spec, scheme: Scheme) -> QuantGraph:
    """The channels-last graph that the trained student will have: its operators, shapes and bytes, with arbitrary weights."""
    return lazy.load("edgekd.students.vit_sketch:sketch")(spec, scheme)


def build(spec: Spec) -> nn.Module:
    """The untrained module. Raises MissingDependency without torch."""
    return lazy.load("edgekd.students.vit_net:VitNet")(spec)


def wide(shape: Shape) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Patches that divide the image, in one to six blocks."""
    patches = [side for side in (2, 3, 4, 5, 7, 8, 16) if shape[0] % side == 0 and shape[1] % side == 0 and side < min(shape[:2])]
    return {"norm": "batch", "activation": "relu", "pool": "mean"}, {
        "patch": patches or [1],
        "dim": [16, 24, 32, 48, 64, 96],
        "depth": [1, 2, 3, 4, 5, 6],
        "heads": [1, 2, 4],
        "mlp_ratio": [1.0, 2.0, 3.0, 4.0],
    }


FAMILY = Family("vit", candidates, restore, describe, resolution, sketch, build, wide)
