"""Depthwise-separable CNN for spoken words (Zhang et al. 2017, "Hello Edge"; its small one is MLPerf Tiny's, Banbury et al. 2021).

One full convolution over time and frequency, then blocks of a depthwise and a pointwise one, all of the same width; the mean over time and
frequency; a linear layer. Nothing here needs torch: a spec is counted before anything is built; the module itself is in ds_cnn_net.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgekd import lazy
from edgekd.quant.graph import QuantGraph
from edgekd.quant.scheme import Scheme
from edgekd.students import spec as common
from edgekd.students.family import Family, Shape, Shared, combinations
from edgekd.students.sketch import Size, Sketch

if TYPE_CHECKING:
    from torch import nn

KERNEL = (3, 3)
WHERE = "student ds_cnn"

#: What a recipe's options and space may name, and what stands where it names nothing. Sizes and strides are [time, frequency].
DEFAULTS: Mapping[str, Any] = {
    "channels": 64,  # of every convolution, before the width multiplier
    "blocks": 4,  # depthwise and pointwise
    "width": 1.0,  # multiplies channels
    "stem_kernel": (10, 4),
    "stem_stride": (2, 2),
    "block_stride": (1, 1),  # of the first block
}


@dataclass(frozen=True)
class Spec:
    """One student, in final numbers. ``height`` are the frames and ``width`` the frequencies fed, ``planes`` the input's channels.

    Raises InputError for what makes no student.
    """

    height: int
    width: int
    planes: int
    classes: int
    channels: int
    blocks: int
    stem_kernel: Size
    stem_stride: Size
    block_stride: Size

    def __post_init__(self) -> None:
        for name in ("height", "width", "planes", "classes", "channels", "blocks"):
            common.whole(name, getattr(self, name), 1, WHERE)
        for name in ("stem_kernel", "stem_stride", "block_stride"):
            common.wholes(name, getattr(self, name), 1, WHERE, count=2)


def spec_from(options: Mapping[str, Any], shape: Shape, classes: int) -> Spec:
    """The spec that ``options`` (keys of DEFAULTS) ask for on samples of ``shape``. Raises InputError for what makes no student."""
    where = "recipe, student.options"
    found = common.chosen(options, DEFAULTS, "ds_cnn", where)
    wanted = common.whole("channels", found["channels"], 1, where) * common.multiplier("width", found["width"], where)
    height, width, planes = shape
    pairs = {name: common.wholes(name, found[name], 1, where, count=2) for name in ("stem_kernel", "stem_stride", "block_stride")}
    return Spec(height, width, planes, classes, common.channels(wanted), found["blocks"], **pairs)  # type: ignore[arg-type] -- of two


def candidates(options: Mapping[str, Any], space: Mapping[str, list[Any]], shape: Shape, classes: int) -> Iterator[Spec]:
    """The spec of every combination of ``space`` over ``options``, each once."""
    return common.distinct(combinations(options, space), lambda found: spec_from(found, shape, classes))


def restore(body: Mapping[str, Any]) -> Spec:
    """The spec that ``describe`` wrote. Raises InputError if keys are missing or unknown."""
    return common.restored(Spec, body, WHERE)


def sketch(spec: Spec, scheme: Scheme) -> QuantGraph:
    """The channels-last graph that the trained student will have: its operators, shapes and bytes, with arbitrary weights."""
    drawing = Sketch(scheme, (spec.height, spec.width, spec.planes))
    x = drawing.conv("stem", drawing.input, spec.channels, kernel=spec.stem_kernel, stride=spec.stem_stride, activation="relu")
    for n in range(spec.blocks):
        stride = spec.block_stride if n == 0 else (1, 1)
        x = drawing.depthwise(f"block{n}.depthwise", x, kernel=KERNEL, stride=stride, activation="relu")
        x = drawing.conv(f"block{n}.pointwise", x, spec.channels, activation="relu")
    return drawing.finish("ds_cnn", drawing.linear("classifier", drawing.mean("pool", x), spec.classes))


def build(spec: Spec) -> nn.Module:
    """The untrained module. Raises MissingDependency without torch."""
    return lazy.load("edgekd.students.ds_cnn_net:DsCnnNet")(spec)


def wide(shape: Shape) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Channels, depth, and how fast frames and frequencies are left behind."""
    del shape
    return {}, {
        "channels": [8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 80, 96, 128, 160],
        "blocks": [1, 2, 3, 4, 5, 6],
        "stem_kernel": [[10, 4], [8, 4], [6, 4], [5, 5], [4, 10], [3, 3]],
        "stem_stride": [[1, 1], [2, 1], [2, 2], [4, 2]],
        "block_stride": [[1, 1], [2, 1], [2, 2]],
    }


def kin(spec: Spec) -> tuple[Any, ...]:
    """What must be alike: sizes of maps, and the stem: with a stride, kernels of other sizes are padded to other places."""
    return spec.height, spec.width, spec.planes, spec.classes, spec.stem_kernel, spec.stem_stride, spec.block_stride


def fixed(spec: Spec) -> dict[str, Any]:
    """The options that decide ``kin``."""
    return {key: list(getattr(spec, key)) for key in ("stem_kernel", "stem_stride", "block_stride")}


def hull(specs: Sequence[Spec]) -> Spec:
    """The most channels and blocks."""
    return replace(specs[0], **{name: max(getattr(spec, name) for spec in specs) for name in ("channels", "blocks")})


def parts(net: Any, spec: Spec) -> dict[str, Any]:
    """The stem, each block by its place, and the classifier."""
    del spec
    return {"stem": net.stem, **{f"block{n}": block for n, block in enumerate(net.blocks)}, "classifier": net.classifier}


FAMILY = Family("ds_cnn", candidates, restore, common.describe, common.resolution, sketch, build, wide, Shared(kin, fixed, hull, parts))
