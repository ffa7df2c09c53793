"""Inverted residuals with linear bottlenecks (MobileNetV2, Sandler et al. 2018), the first stages fused if wanted
(EfficientNetV2, Tan and Le 2021). ReLU throughout: it costs nothing once fused, and its range is learned.

Nothing here needs torch: a spec is counted before anything is built; the module itself is in inverted_residual_net.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgekd import lazy
from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph
from edgekd.quant.scheme import Scheme
from edgekd.students.family import Family, Shape, Shared, combinations
from edgekd.students.sketch import Sketch
from edgekd.students.spec import channels, chosen, describe, distinct, multiplier, resolution, restored, whole, wholes

if TYPE_CHECKING:
    from torch import nn

#: Of the stem and of fused blocks; of depthwise convolutions where nothing else is said.
KERNEL = 3
#: Of depthwise convolutions. Even ones pad unequally in every layout, and beyond 7 even large maps gain nothing (Tan and Le 2019, MixConv).
KERNELS = (3, 5, 7)

#: What a recipe's options and space may name, and what stands where it names nothing.
DEFAULTS: Mapping[str, Any] = {
    "stem": 16,  # channels of the first convolution, before the width multiplier
    "widths": (16, 32, 64),  # channels of each stage, before the width multiplier
    "blocks": (1, 2, 2),  # blocks of each stage, before the depth multiplier
    "strides": (1, 2, 2),  # stride of each stage's first block
    "width": 1.0,  # multiplies stem and widths
    "depth": 1.0,  # multiplies blocks, rounded up
    "expansion": 4,  # expanded over input channels of a block: one number, or one a stage
    "stem_stride": 1,
    "resolution": None,  # height that the student is fed; None is the data's own
    "fused": 0,  # how many of the first stages have expansion and depthwise fused into one full 3x3 convolution
    "head": 0,  # channels of a 1x1 convolution before the pooling; 0 is none
    "kernel": KERNEL,  # of the depthwise convolutions, 3, 5 or 7: one number, or one a stage
}


@dataclass(frozen=True)
class Spec:
    """One student, in final numbers: ``widths``, ``blocks``, ``strides``, ``expansions`` and ``kernels`` have one entry a stage;
    no ``kernels`` are 3 everywhere.

    ``height`` and ``width`` are the pixels that the student is fed, ``channels`` those of the image.
    """

    height: int
    width: int
    channels: int
    classes: int
    stem: int
    stem_stride: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    strides: tuple[int, ...]
    expansions: tuple[int, ...]
    fused: int
    head: int
    kernels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        where = "student inverted_residual"
        for name in ("height", "width", "channels", "classes", "stem"):
            whole(name, getattr(self, name), 1, where)
        for name in ("widths", "blocks", "strides", "expansions"):
            values = getattr(self, name)
            if not isinstance(values, tuple) or not values or (isinstance(self.widths, tuple) and len(values) != len(self.widths)):
                raise InputError(f"{name} = {values!r} beside widths = {self.widths!r}", where=where, expected="one entry a stage")
            for value in values:
                whole(name, value, 1, where)
        for stride in (self.stem_stride, *self.strides):
            if stride not in (1, 2):
                raise InputError(f"stride {stride!r}", where=where, expected="1 or 2")
        if any(kernel not in KERNELS for kernel in self.kernels) or len(self.kernels) not in (0, len(self.widths)):
            raise InputError(f"kernel = {self.kernels!r}", where=where, expected="3, 5 or 7, or a list of these, one a stage")
        whole("head", self.head, 0, where)
        whole("fused", self.fused, 0, where)
        if self.fused > len(self.widths):
            raise InputError(f"fused = {self.fused}", where=where, expected=f"0 to {len(self.widths)}, the number of stages")


@dataclass(frozen=True)
class Block:
    """One inverted residual: ``inner`` channels between ``before`` and ``after``; ``kernel`` is that of its depthwise convolution."""

    before: int
    inner: int
    after: int
    stride: int
    fused: bool
    kernel: int = KERNEL

    @property
    def residual(self) -> bool:
        return self.stride == 1 and self.before == self.after


def blocks(spec: Spec) -> tuple[Block, ...]:
    """Every block in order, from the stem on."""
    made: list[Block] = []
    before = spec.stem
    for stage, (after, count, stride, expansion) in enumerate(zip(spec.widths, spec.blocks, spec.strides, spec.expansions, strict=True)):
        for n in range(count):
            kernel = spec.kernels[stage] if spec.kernels else KERNEL
            made.append(Block(before, before * expansion, after, stride if n == 0 else 1, stage < spec.fused, kernel))
            before = after
    return tuple(made)


def spec_from(options: Mapping[str, Any], shape: Shape, classes: int) -> Spec:
    """The spec that ``options`` (keys of DEFAULTS) ask for on samples of ``shape``. Raises InputError for what makes no student."""
    where = "recipe, student.options"
    asked = chosen(options, DEFAULTS, "inverted_residual", where)
    wide, deep = (multiplier(key, asked[key], where) for key in ("width", "depth"))
    widths, counts, strides = (wholes(key, asked[key], 1, where) for key in ("widths", "blocks", "strides"))
    stem = whole("stem", asked["stem"], 1, where)
    height, width, planes = shape
    if (resolution := asked["resolution"]) is not None:
        whole("resolution", resolution, 1, where)
        height, width = resolution, max(1, round(resolution * width / height))
    expansion, kernel = asked["expansion"], asked["kernel"]
    kernels = tuple(kernel) if isinstance(kernel, list | tuple) else (kernel,) * len(widths)
    return Spec(
        height=height,
        width=width,
        channels=planes,
        classes=classes,
        stem=channels(stem * wide),
        stem_stride=asked["stem_stride"],
        widths=tuple(channels(w * wide) for w in widths),
        blocks=tuple(max(1, -int(-n * deep // 1)) for n in counts),
        strides=strides,
        expansions=tuple(expansion) if isinstance(expansion, list | tuple) else (expansion,) * len(widths),
        fused=asked["fused"],
        head=asked["head"],
        kernels=() if all(k == KERNEL for k in kernels) else kernels,
    )


def candidates(options: Mapping[str, Any], space: Mapping[str, list[Any]], shape: Shape, classes: int) -> Iterator[Spec]:
    """The spec of every combination of ``space`` over ``options``, each once."""
    return distinct(combinations(options, space), lambda asked: spec_from(asked, shape, classes))


def restore(body: Mapping[str, Any]) -> Spec:
    """The spec that ``describe`` wrote. Raises InputError if keys are missing or unknown."""
    return restored(Spec, body, "student inverted_residual")


def sketch(spec: Spec, scheme: Scheme) -> QuantGraph:
    """The channels-last graph that the trained student will have: its operators, shapes and bytes, with arbitrary weights."""
    drawing = Sketch(scheme, (spec.height, spec.width, spec.channels))
    x = drawing.conv("stem", drawing.input, spec.stem, kernel=KERNEL, stride=spec.stem_stride, activation="relu")
    for n, block in enumerate(blocks(spec)):
        name, start = f"block{n}", x
        if block.fused and block.inner == block.before:
            x = drawing.conv(f"{name}.project", x, block.after, kernel=KERNEL, stride=block.stride, activation="relu")
        elif block.fused:
            x = drawing.conv(f"{name}.expand", x, block.inner, kernel=KERNEL, stride=block.stride, activation="relu")
            x = drawing.conv(f"{name}.project", x, block.after)
        else:
            if block.inner != block.before:
                x = drawing.conv(f"{name}.expand", x, block.inner, activation="relu")
            x = drawing.depthwise(f"{name}.depthwise", x, kernel=block.kernel, stride=block.stride, activation="relu")
            x = drawing.conv(f"{name}.project", x, block.after)
        if block.residual:
            x = drawing.add(f"{name}.add", start, x)
    if spec.head:
        x = drawing.conv("head", x, spec.head, activation="relu")
    return drawing.finish("inverted_residual", drawing.linear("classifier", drawing.mean("pool", x), spec.classes))


def build(spec: Spec) -> nn.Module:
    """The untrained module. Raises MissingDependency without torch."""
    return lazy.load("edgekd.students.inverted_residual_net:InvertedResidualNet")(spec)


def wide(shape: Shape) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Three stages of any widths, depths, expansions and kernels; images above 24 pixels are seen smaller as well."""
    height = shape[0]
    sizes = sorted({round(height * share / 4) * 4 for share in (0.6, 0.75, 0.875)} - {0, height}) if height > 24 else []
    return {}, {
        "stem": [4, 8, 12, 16, 24, 32],
        "stem_stride": [1, 2],
        "strides": [[1, 2, 2], [2, 1, 2], [2, 2, 1], [2, 2, 2]],
        "widths[]": [8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 128, 160],
        "blocks[]": [1, 2, 3, 4],
        "expansion[]": [1, 2, 3, 4, 6],
        "kernel[]": [3, 3, 5, 7],
        "fused": [0, 1, 2, 3],
        "head": [0, 32, 64, 96, 128, 192, 256],
        "resolution": [None, None, *sizes],
    }


def kin(spec: Spec) -> tuple[Any, ...]:
    """What must be alike: sizes of maps, which stages are fused, and whether these expand: one layer cannot lie within two."""
    fused = tuple(expansion > 1 for expansion in spec.expansions[: spec.fused])
    return spec.height, spec.width, spec.channels, spec.classes, spec.stem_stride, spec.strides, fused, bool(spec.head)


def fixed(spec: Spec) -> dict[str, Any]:
    """The options that decide ``kin``, but for expansions."""
    sizes = {"resolution": spec.height, "strides": list(spec.strides), "stem_stride": spec.stem_stride}
    return {**sizes, "fused": spec.fused, **({} if spec.head else {"head": 0})}


def hull(specs: Sequence[Spec]) -> Spec:
    """The largest of every stage."""

    def most(name: str) -> tuple[int, ...]:
        return tuple(map(max, zip(*(getattr(spec, name) for spec in specs), strict=True)))

    largest = {name: most(name) for name in ("widths", "blocks", "expansions")}
    kernels = tuple(map(max, zip(*(spec.kernels or (KERNEL,) * len(spec.widths) for spec in specs), strict=True)))
    sizes = {name: max(getattr(spec, name) for spec in specs) for name in ("stem", "head")}
    return replace(specs[0], **largest, **sizes, kernels=() if all(k == KERNEL for k in kernels) else kernels)


def parts(net: Any, spec: Spec) -> dict[str, Any]:
    """The stem, each block by its stage and place, the head and the classifier."""
    names = [f"stage{stage}.block{n}" for stage, count in enumerate(spec.blocks) for n in range(count)]
    return {"stem": net.stem, **dict(zip(names, net.blocks, strict=True)), "head": net.head, "classifier": net.classifier}


FAMILY = Family("inverted_residual", candidates, restore, describe, resolution, sketch, build, wide, Shared(kin, fixed, hull, parts))
