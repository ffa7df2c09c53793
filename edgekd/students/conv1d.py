"""Convolutions over time, frequencies as channels: TC-ResNet (Choi et al. 2019, "Temporal Convolution for Real-time Keyword Spotting").

The first convolution spans all frequencies, in one step, so that from there on every map is [frames, 1]: a 1-D network without
one Reshape or Transpose, in operators that every runtime has. Then stages of residual blocks of two convolutions over time, the first of
each stage with a stride; the mean over time; a linear layer. With ``separable`` the convolutions are depthwise, each before a pointwise
one: a ninth of the weights, in twice the operators.

Nothing here needs torch: a spec is counted before anything is built; the module itself is in conv1d_net.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekd import lazy
from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph
from edgekd.quant.scheme import Scheme
from edgekd.students import spec as common
from edgekd.students.family import Family, Shape, combinations
from edgekd.students.sketch import Sketch

if TYPE_CHECKING:
    from torch import nn

WHERE = "student conv1d"

#: What a recipe's options and space may name, and what stands where it names nothing: TC-ResNet8. Kernels and strides are in frames.
DEFAULTS: Mapping[str, Any] = {
    "stem": 16,  # channels of the first convolution, before the width multiplier
    "stem_kernel": 3,
    "stem_stride": 1,
    "widths": (24, 32, 48),  # channels of each stage, before the width multiplier
    "blocks": (1, 1, 1),  # residual blocks of each stage
    "strides": (2, 2, 2),  # stride of each stage's first block
    "kernel": 9,  # of the convolutions in the blocks
    "width": 1.0,  # multiplies stem and widths
    "separable": False,
}


@dataclass(frozen=True)
class Spec:
    """One student, in final numbers: ``widths``, ``blocks`` and ``strides`` have one entry a stage.

    ``height`` frames of ``width`` frequencies are fed, ``planes`` each. Raises InputError for what
    makes no student.
    """

    height: int
    width: int
    planes: int
    classes: int
    stem: int
    stem_kernel: int
    stem_stride: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    strides: tuple[int, ...]
    kernel: int
    separable: bool

    def __post_init__(self) -> None:
        for name in ("height", "width", "planes", "classes", "stem", "stem_kernel", "stem_stride", "kernel"):
            common.whole(name, getattr(self, name), 1, WHERE)
        stages = len(common.wholes("widths", self.widths, 1, WHERE))
        for name in ("blocks", "strides"):
            common.wholes(name, getattr(self, name), 1, WHERE, count=stages)
        if not isinstance(self.separable, bool):
            raise InputError(f"separable = {self.separable!r}", where=WHERE, expected="true or false")


@dataclass(frozen=True)
class Block:
    """One residual block; its shortcut is a strided 1x1 convolution where the shape changes."""

    before: int
    after: int
    stride: int

    @property
    def straight(self) -> bool:
        return self.stride == 1 and self.before == self.after


def blocks(spec: Spec) -> tuple[Block, ...]:
    """Every block in order, from the stem on."""
    made: list[Block] = []
    before = spec.stem
    for after, count, stride in zip(spec.widths, spec.blocks, spec.strides, strict=True):
        for n in range(count):
            made.append(Block(before, after, stride if n == 0 else 1))
            before = after
    return tuple(made)


def spec_from(options: Mapping[str, Any], shape: Shape, classes: int) -> Spec:
    """The spec that ``options`` (keys of DEFAULTS) ask for on samples of ``shape``. Raises InputError for what makes no student."""
    where = "recipe, student.options"
    found = common.chosen(options, DEFAULTS, "conv1d", where)
    factor = common.multiplier("width", found["width"], where)
    widths = common.wholes("widths", found["widths"], 1, where)
    height, width, planes = shape
    return Spec(
        height=height,
        width=width,
        planes=planes,
        classes=classes,
        stem=common.channels(common.whole("stem", found["stem"], 1, where) * factor),
        stem_kernel=found["stem_kernel"],
        stem_stride=found["stem_stride"],
        widths=tuple(common.channels(w * factor) for w in widths),
        blocks=common.wholes("blocks", found["blocks"], 1, where, count=len(widths)),
        strides=common.wholes("strides", found["strides"], 1, where, count=len(widths)),
        kernel=found["kernel"],
        separable=found["separable"],
    )


def candidates(options: Mapping[str, Any], space: Mapping[str, list[Any]], shape: Shape, classes: int) -> Iterator[Spec]:
    """The spec of every combination of ``space`` over ``options``, each once."""
    return common.distinct(combinations(options, space), lambda found: spec_from(found, shape, classes))


def restore(body: Mapping[str, Any]) -> Spec:
    """The spec that ``describe`` wrote. Raises InputError if keys are missing or unknown."""
    return common.restored(Spec, body, WHERE)


def sketch(spec: Spec, scheme: Scheme) -> QuantGraph:
    """The channels-last graph that the trained student will have: its operators, shapes and bytes, with arbitrary weights."""
    drawing = Sketch(scheme, (spec.height, spec.width, spec.planes))
    # SAME with a stride of all frequencies pads none of them and gives one.
    kernel, stride = (spec.stem_kernel, spec.width), (spec.stem_stride, spec.width)
    x = drawing.conv("stem", drawing.input, spec.stem, kernel=kernel, stride=stride, activation="relu")
    for n, block in enumerate(blocks(spec)):
        name = f"block{n}"
        start = x
        if not block.straight:
            start = drawing.conv(f"{name}.shortcut", x, block.after, stride=(block.stride, 1), activation="relu")
        x = _over_time(drawing, f"{name}.first", x, block.after, spec, stride=block.stride, rectified=True)
        x = _over_time(drawing, f"{name}.second", x, block.after, spec, stride=1, rectified=False)
        x = drawing.add(f"{name}.add", start, x, activation="relu")
    return drawing.finish("conv1d", drawing.linear("classifier", drawing.mean("pool", x), spec.classes))


def _over_time(drawing: Sketch, name: str, x: str, after: int, spec: Spec, *, stride: int, rectified: bool) -> str:
    kernel, steps = (spec.kernel, 1), (stride, 1)
    if not spec.separable:
        return drawing.conv(name, x, after, kernel=kernel, stride=steps, activation="relu" if rectified else "none")
    x = drawing.depthwise(f"{name}.depthwise", x, kernel=kernel, stride=steps, activation="relu")
    return drawing.conv(f"{name}.pointwise", x, after, activation="relu" if rectified else "none")


def build(spec: Spec) -> nn.Module:
    """The untrained module. Raises MissingDependency without torch."""
    return lazy.load("edgekd.students.conv1d_net:Conv1dNet")(spec)


def wide(shape: Shape) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Two to four stages of any widths and depths, with kernels of 60 to 300 ms where a frame is 20 ms; separable or not."""
    del shape
    return {}, {
        "stem": [8, 12, 16, 24, 32],
        "stem_kernel": [3, 5, 9],
        "strides": [[2, 2], [1, 2, 2], [2, 2, 2], [2, 2, 2, 2]],
        "widths[]": [8, 12, 16, 24, 32, 48, 64, 96],
        "blocks[]": [1, 2],
        "kernel": [3, 5, 7, 9, 15],
        "separable": [False, True],
    }


FAMILY = Family("conv1d", candidates, restore, common.describe, common.resolution, sketch, build, wide)
