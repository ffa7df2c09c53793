from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph
from edgekd.quant.scheme import Scheme
from edgekd.students.inverted_residual import FAMILY, Spec, blocks, candidates, describe, restore, spec_from
from edgekd.students.inverted_residual_net import EPS
from tests.frozen_students import anatomy, frozen

OPTIONS: list[dict[str, Any]] = [
    {},
    {"stem_stride": 2, "fused": 3, "head": 24, "expansion": [1, 2, 4]},
    {"width": 0.25, "depth": 1.5, "expansion": 1, "resolution": 13, "fused": 1},
    {"kernel": [3, 7, 5], "fused": 1, "width": 0.5},
]
SHAPE, CLASSES = (14, 18, 3), 7


@pytest.mark.parametrize("options", OPTIONS)
def test_the_net_is_what_the_spec_says(options: dict[str, Any]) -> None:
    spec = spec_from(options, SHAPE, CLASSES)
    net = FAMILY.build(spec).eval()
    assert net(torch.zeros(2, spec.channels, spec.height, spec.width)).shape == (2, CLASSES)
    assert {m.eps for m in net.modules() if isinstance(m, nn.BatchNorm2d)} == {EPS}


def quantized(spec: Spec, scheme: Scheme) -> QuantGraph:
    torch.manual_seed(0)
    return frozen(FAMILY.build(spec), (spec.channels, spec.height, spec.width), scheme)


@pytest.mark.parametrize(
    "scheme", [Scheme(), Scheme(symmetric_activations=True), Scheme(per_channel_weights=False), Scheme(weight_bits=4), Scheme("float16")]
)
@pytest.mark.parametrize("options", OPTIONS)
def test_the_sketch_is_what_capture_and_freeze_make(options: dict[str, Any], scheme: Scheme) -> None:
    spec = spec_from(options, SHAPE, CLASSES)
    assert FAMILY.sketch is not None
    assert anatomy(FAMILY.sketch(spec, scheme)) == anatomy(quantized(spec, scheme))


def test_no_two_constants_of_a_sketch_are_alike() -> None:
    assert FAMILY.sketch is not None
    graph = FAMILY.sketch(spec_from({"blocks": [2, 3, 3]}, SHAPE, CLASSES), Scheme())
    data = [t.data.tobytes() for t in graph.tensors.values() if t.data is not None]
    scales = [t.quantization.scale.tobytes() for t in graph.tensors.values() if t.quantization is not None]
    assert len(set(data)) == len(data)
    assert len(set(scales)) == len(scales)


def test_a_spec_survives_json() -> None:
    spec = spec_from({"expansion": [1, 2, 3], "head": 8}, SHAPE, CLASSES)
    assert restore(json.loads(json.dumps(describe(spec)))) == spec
    assert FAMILY.resolution(spec) == SHAPE[:2]


def test_kernels_of_three_are_what_a_spec_was_before_there_were_others() -> None:
    assert (
        "kernels" not in describe(spec_from({"kernel": 3}, SHAPE, CLASSES))
        and spec_from({"kernel": [3, 3, 3]}, SHAPE, CLASSES).kernels == ()
    )
    spec = spec_from({"kernel": 5}, SHAPE, CLASSES)
    assert describe(spec)["kernels"] == [5, 5, 5] and restore(json.loads(json.dumps(describe(spec)))) == spec


def test_multipliers() -> None:
    spec = spec_from({"width": 0.6, "depth": 1.5, "resolution": 7}, SHAPE, CLASSES)
    assert (spec.height, spec.width) == (7, 9)
    assert spec.stem % 4 == 0
    assert all(w % 4 == 0 for w in spec.widths)
    assert spec.blocks == (2, 3, 3)
    assert [b.residual for b in blocks(spec)] == [spec.stem == spec.widths[0], True, False, True, True, False, True, True]


def test_candidates_are_every_combination_once() -> None:
    space = {"width": [1.0, 1.01], "stem_stride": [1, 2], "head": [0, 8]}
    found = list(candidates({"depth": 1.0}, space, SHAPE, CLASSES))
    assert len(found) == len(set(found)) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widht": 1.0}, "'widht' is not an option"),
        ({"width": 0}, "width = 0"),
        ({"width": "1"}, "width = '1'"),
        ({"width": float("nan")}, "width = nan"),
        ({"depth": True}, "depth = True"),
        ({"widths": 16}, "widths = 16"),
        ({"widths": [16, 10**9, 8]}, "widths = 1000000000"),
        ({"widths": [16, 32]}, r"blocks = \(1, 2, 2\) beside widths = \(16, 32\)"),
        ({"blocks": [1, 2.5, 2]}, "blocks = 2.5"),
        ({"strides": [1, 3, 2]}, "stride 3"),
        ({"stem_stride": "two"}, "stride 'two'"),
        ({"expansion": 0}, "expansions = 0"),
        ({"expansion": [2, 2]}, r"expansions = \(2, 2\)"),
        ({"expansion": None}, "expansions = None"),
        ({"fused": 4}, "fused = 4"),
        ({"head": -1}, "head = -1"),
        ({"kernel": 4}, r"kernel = \(4, 4, 4\)"),
        ({"kernel": [3, 5]}, r"kernel = \(3, 5\)"),
        ({"kernel": [[3], 3, 3]}, "kernel = "),
        ({"resolution": 0}, "resolution = 0"),
        ({"stem": 1.5}, "stem = 1.5"),
    ],
)
def test_options_that_make_no_student_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        spec_from(options, SHAPE, CLASSES)


@pytest.mark.parametrize(
    ("change", "message"), [({"stem": None}, "stem"), ({"widths": 3}, "widths = 3"), ({"height": [1]}, "height"), ({"more": 1}, "'more'")]
)
def test_a_damaged_record_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        restore({**describe(spec_from({}, SHAPE, CLASSES)), **change})
