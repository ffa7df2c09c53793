"""ds_cnn and conv1d: what is counted before training is what training makes, and it runs everywhere with the same integers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgekd import lazy
from edgekd.errors import InputError
from edgekd.export.tflite import export
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference import run
from edgekd.quant.scheme import Scheme
from edgekd.runtimes import RUNTIMES
from edgekd.students import conv1d, ds_cnn
from edgekd.students.unit import EPS
from tests.frozen_students import anatomy, frozen

FAMILIES: dict[str, Any] = {"ds_cnn": ds_cnn, "conv1d": conv1d}
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("ds_cnn", {}),
    ("ds_cnn", {"channels": 20, "blocks": 2, "stem_kernel": [5, 3], "stem_stride": [2, 1], "block_stride": [2, 2]}),
    ("ds_cnn", {"width": 0.2, "blocks": 1, "stem_stride": [1, 3]}),
    ("conv1d", {}),
    ("conv1d", {"separable": True, "width": 0.5, "blocks": [2, 1, 1], "strides": [1, 2, 3], "stem_stride": 2}),
    ("conv1d", {"widths": [16], "blocks": [2], "strides": [1], "kernel": 4, "stem_kernel": 1}),
]
SHAPE, CLASSES = (39, 24, 1), 10


def spec_of(name: str, options: dict[str, Any], shape: tuple[int, int, int] = SHAPE) -> Any:
    return FAMILIES[name].spec_from(options, shape, CLASSES)


@pytest.mark.parametrize(("name", "options"), OPTIONS)
@pytest.mark.parametrize("shape", [SHAPE, (17, 7, 2)])
def test_the_net_is_what_the_spec_says(name: str, options: dict[str, Any], shape: tuple[int, int, int]) -> None:
    spec = spec_of(name, options, shape)
    net = FAMILIES[name].FAMILY.build(spec).eval()
    assert net(torch.zeros(2, shape[2], *shape[:2])).shape == (2, CLASSES)
    assert {m.eps for m in net.modules() if isinstance(m, nn.BatchNorm2d)} == {EPS}
    assert FAMILIES[name].FAMILY.resolution(spec) == shape[:2]


def quantized(name: str, spec: Any, scheme: Scheme) -> QuantGraph:
    torch.manual_seed(0)
    net = FAMILIES[name].FAMILY.build(spec)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.bias, 0, 0.1)  # a file holds equal biases once
    return frozen(net, (spec.planes, spec.height, spec.width), scheme)


OTHER_SCHEMES = (Scheme(symmetric_activations=True), Scheme(weight_bits=4), Scheme("float16"))


@pytest.mark.parametrize(
    ("name", "options", "scheme"),
    [*((*case, Scheme()) for case in OPTIONS), *((*OPTIONS[n], scheme) for n in (1, 4) for scheme in OTHER_SCHEMES)],
)
def test_the_sketch_is_what_capture_and_freeze_make(name: str, options: dict[str, Any], scheme: Scheme, tmp_path: Path) -> None:
    spec = spec_of(name, options)
    drawn, made = FAMILIES[name].FAMILY.sketch(spec, scheme), quantized(name, spec, scheme)
    assert anatomy(drawn) == anatomy(made)
    if scheme == Scheme():
        bytes_of = [(tmp_path / export(graph, tmp_path).path).stat().st_size for graph in (drawn, made)]
        assert abs(bytes_of[0] - bytes_of[1]) <= 512, f"{bytes_of}: only the names of tensors differ"


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_every_kernel_gives_the_reference_integers(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    graph = quantized(name, spec_of(name, options), Scheme())
    assert not any(isinstance(op, ops.Pad | ops.Reshape | ops.Transpose) for op in graph.ops)
    x = np.random.default_rng(1).integers(-128, 128, (6, *SHAPE), np.int8)
    path = tmp_path / export(graph, tmp_path).path
    for profile, runtime in (("tflm", "tflm"), ("litert_ref", "litert_ref"), ("xnnpack", "litert_xnnpack")):
        found = lazy.load(RUNTIMES[runtime])(path, threads=1).run(x)
        assert np.array_equal(found, run(graph, x, profile)[graph.outputs[0]]), profile


def test_mlperf_tinys_student() -> None:
    """49 frames of 10 features, 12 words: 2.66 million multiplications in the published file."""
    graph = ds_cnn.sketch(ds_cnn.spec_from({}, (49, 10, 1), 12), Scheme())
    weights = [t.shape for t in graph.tensors.values() if t.data is not None and len(t.shape) > 1]
    assert weights == [(64, 10, 4, 1), *[(1, 3, 3, 64), (64, 1, 1, 64)] * 4, (12, 64)]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_spec_survives_json(name: str) -> None:
    spec = spec_of(name, {"width": 0.5})
    assert FAMILIES[name].restore(json.loads(json.dumps(FAMILIES[name].FAMILY.describe(spec)))) == spec
    with pytest.raises(InputError, match="'more'"):
        FAMILIES[name].restore({**FAMILIES[name].FAMILY.describe(spec), "more": 1})


@pytest.mark.parametrize("name", FAMILIES)
def test_candidates_are_every_combination_once(name: str) -> None:
    found = list(FAMILIES[name].candidates({}, {"width": [1.0, 1.01, 0.5], "blocks": [[1, 1, 1]] if name == "conv1d" else [3]}, SHAPE, 10))
    assert len(found) == len(set(found)) == 2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ds_cnn", {"chanels": 4}, "'chanels' is not an option of ds_cnn"),
        ("ds_cnn", {"channels": 0}, "channels = 0"),
        ("ds_cnn", {"width": "1"}, "width = '1'"),
        ("ds_cnn", {"blocks": 0}, "blocks = 0"),
        ("ds_cnn", {"blocks": None}, "blocks = None"),
        ("ds_cnn", {"stem_kernel": 3}, "stem_kernel = 3.*a list of 2"),
        ("ds_cnn", {"stem_stride": [2, 0]}, "stem_stride = 0"),
        ("ds_cnn", {"block_stride": [1, 1, 1]}, r"block_stride = \[1, 1, 1\]"),
        ("conv1d", {"chanels": 4}, "'chanels' is not an option of conv1d"),
        ("conv1d", {"width": float("nan")}, "width = nan"),
        ("conv1d", {"widths": 16}, "widths = 16"),
        ("conv1d", {"widths": [16, 10**9]}, "widths = 1000000000"),
        ("conv1d", {"widths": []}, r"widths = \[\]"),
        ("conv1d", {"blocks": [1, 1]}, r"blocks = \[1, 1\].*a list of 3"),
        ("conv1d", {"strides": [1, 0, 2]}, "strides = 0"),
        ("conv1d", {"kernel": 2.5}, "kernel = 2.5"),
        ("conv1d", {"stem": True}, "stem = True"),
        ("conv1d", {"separable": 1}, "separable = 1"),
    ],
)
def test_options_that_make_no_student_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"(?s){message}"):
        spec_of(name, options)
