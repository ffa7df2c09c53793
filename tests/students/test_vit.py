from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgekd import lazy
from edgekd.errors import InputError
from edgekd.export import EXPORTERS
from edgekd.quant import size
from edgekd.quant.capture import capture
from edgekd.quant.freeze import freeze
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Transpose
from edgekd.quant.prepare import QatModule
from edgekd.quant.reference import run
from edgekd.quant.scheme import Scheme
from edgekd.runtimes import RUNTIMES
from edgekd.students.vit import FAMILY, Spec, candidates, describe, restore, spec_from
from edgekd.students.vit_net import EPS, Block
from tests.frozen_students import anatomy
from tests.small_builds import edgekd, recipe

SMALL: dict[str, Any] = {"dim": 16, "depth": 2, "heads": 2, "patch": 4}
OPTIONS: list[dict[str, Any]] = [
    SMALL,
    {**SMALL, "norm": "layer", "activation": "gelu", "pool": "token"},
    {**SMALL, "heads": 1, "mlp_ratio": 1.5, "depth": 1, "resolution": 4, "patch": 2, "pool": "token"},
    {**SMALL, "heads": 4, "norm": "layer", "depth": 1},
]
SHAPE, CLASSES = (8, 12, 3), 7


def settled(spec: Spec) -> nn.Module:
    """With statistics and norms that are not those of a fresh model, so that leaving one out is seen."""
    torch.manual_seed(0)
    net = FAMILY.build(spec)
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.BatchNorm1d):
                assert part.running_mean is not None and part.running_var is not None
                part.running_mean.normal_(0, 0.3)
                part.running_var.uniform_(0.5, 1.5)
        for parameter in net.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn(parameter.shape)
    return net.eval()


def images(spec: Spec, n: int, seed: int = 0) -> np.ndarray:
    """int8 [n, height, width, channels], as a device feeds them."""
    return np.random.default_rng(seed).integers(-128, 128, (n, spec.height, spec.width, spec.channels), np.int8)


def fed(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x.astype(np.float32) / 128).permute(0, 3, 1, 2)


@cache
def captured(spec: Spec) -> QuantGraph:
    return capture(settled(spec), (spec.channels, spec.height, spec.width))


def frozen(spec: Spec, scheme: Scheme) -> QuantGraph:
    module = QatModule(captured(spec), scheme)
    if scheme.is_integer:
        module.calibrate([fed(images(spec, 16))])
    return freeze(module)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_net_is_what_the_spec_says(options: dict[str, Any]) -> None:
    spec = spec_from(options, SHAPE, CLASSES)
    net = FAMILY.build(spec)
    x = fed(images(spec, 5))
    assert net(x).shape == (5, CLASSES)
    net(x)[:, 0].sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert {m.eps for m in net.modules() if isinstance(m, nn.BatchNorm1d | nn.LayerNorm)} == {EPS}
    assert len([part for part in net.modules() if isinstance(part, Block)]) == spec.depth


def test_batch_norms_in_the_weights_compute_what_they_compute_apart() -> None:
    spec = spec_from(SMALL, SHAPE, CLASSES)
    net = settled(spec).double()
    x = fed(images(spec, 4)).double()
    folded = net(x)
    net.train()  # norms then stand apart; a hook has them use their running statistics all the same
    for part in net.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.momentum = 0.0
            part.register_forward_hook(as_evaluated)
    torch.testing.assert_close(net(x), folded, rtol=1e-9, atol=1e-9)


def as_evaluated(norm: nn.Module, inputs: tuple[torch.Tensor, ...], _: torch.Tensor) -> torch.Tensor:
    """What a batch norm answers by its running statistics, whatever its mode."""
    assert isinstance(norm, nn.BatchNorm1d)
    return nn.functional.batch_norm(
        inputs[0], norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, momentum=0.0, eps=norm.eps
    )


@pytest.mark.parametrize("options", OPTIONS)
def test_captured_as_it_computes(options: dict[str, Any]) -> None:
    spec = spec_from(options, SHAPE, CLASSES)
    graph = frozen(spec, Scheme("float32"))
    x = images(spec, 4)
    with torch.no_grad():
        expected = settled(spec)(fed(x)).numpy()
    found = run(graph, x.astype(np.float32) / 128, "float")[graph.outputs[0]]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    moved = sum(isinstance(op, Transpose) for op in graph.ops)
    assert moved == (0 if spec.heads == 1 else 4 * spec.depth)


@pytest.mark.parametrize("scheme", [Scheme(), Scheme(symmetric_activations=True, per_channel_weights=False), Scheme("float16")])
@pytest.mark.parametrize("options", OPTIONS)
def test_the_sketch_is_what_capture_and_freeze_make(options: dict[str, Any], scheme: Scheme, tmp_path: Path) -> None:
    spec = spec_from(options, SHAPE, CLASSES)
    assert FAMILY.sketch is not None
    drawn, made = FAMILY.sketch(spec, scheme), frozen(spec, scheme)
    assert anatomy(drawn) == anatomy(made)
    assert (size.macs(drawn), size.parameters(drawn)) == (size.macs(made), size.parameters(made))
    if scheme.symmetric_activations:
        return  # TFLite prescribes a zero point for what a softmax writes
    counted, written = ((tmp_path / lazy.load(EXPORTERS["tflite"])(g, tmp_path).path).stat().st_size for g in (drawn, made))
    # Norms whose epsilons or zero points come out equal share them in the file; nothing of a sketch is equal.
    assert 0 <= counted - written <= 0.04 * written, (counted, written)


@pytest.mark.parametrize("options", OPTIONS[:2])
def test_integers_are_the_same_everywhere(options: dict[str, Any], tmp_path: Path) -> None:
    spec = spec_from(options, SHAPE, CLASSES)
    graph, x = frozen(spec, Scheme()), images(spec, 40, 3)
    path = tmp_path / lazy.load(EXPORTERS["tflite"])(graph, tmp_path).path
    on_boards = spec.activation == "relu"  # TFLM has no Gelu
    for profile, runtime in (("tflm", "tflm"), ("litert_ref", "litert_ref"), ("xnnpack", "litert_xnnpack"))[0 if on_boards else 1 :]:
        expected = run(graph, x, profile)[graph.outputs[0]]
        assert len(np.unique(expected)) > 20
        np.testing.assert_array_equal(lazy.load(RUNTIMES[runtime])(path, threads=1).run(x), expected, err_msg=profile)


def test_a_spec_survives_json() -> None:
    spec = spec_from({**SMALL, "norm": "layer"}, SHAPE, CLASSES)
    assert restore(json.loads(json.dumps(describe(spec)))) == spec
    assert FAMILY.resolution(spec) == SHAPE[:2]
    assert spec_from({"resolution": 16, "patch": 8}, SHAPE, CLASSES).width == 24
    with pytest.raises(InputError, match="'more'"):
        restore({**describe(spec), "more": 1})
    with pytest.raises(InputError, match="heads = None"):
        restore({**describe(spec), "heads": None})


def test_candidates_are_every_combination_once() -> None:
    found = list(candidates({"patch": 4}, {"dim": [16, 32], "mlp_ratio": [2, 2.0], "norm": ["batch", "layer"]}, SHAPE, CLASSES))
    assert len(found) == len(set(found)) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pach": 4}, "'pach' is not an option of vit"),
        ({"patch": 5}, "patch = 5 on images of 8x12(.|\n)*resolution = 10"),
        ({"patch": 0}, "patch = 0"),
        ({"dim": 16, "heads": 3}, "heads = 3 of dim = 16"),
        ({"dim": 8, "heads": 4}, "heads = 4 of dim = 8"),
        ({"dim": 8.5}, "dim = 8.5"),
        ({"dim": 1 << 14}, "dim = 16384"),
        ({"depth": True}, "depth = True"),
        ({"mlp_ratio": 0}, "mlp_ratio = 0"),
        ({"mlp_ratio": float("nan")}, "mlp_ratio = nan"),
        ({"mlp_ratio": "2"}, "mlp_ratio = '2'"),
        ({"norm": "group"}, "norm = 'group'(.|\n)*batch or layer"),
        ({"activation": ["relu"]}, r"activation = \['relu'\](.|\n)*relu or gelu"),
        ({"pool": None}, "pool = None"),
        ({"resolution": 0}, "resolution = 0"),
        ({"resolution": 512, "patch": 4}, "24576 tokens"),
    ],
)
def test_options_that_make_no_student_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        spec_from(options, SHAPE, CLASSES)


@pytest.mark.slow
def test_builds_for_four_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    changes = {
        'family = "inverted_residual"': 'family = "vit"',
        "options = { stem = 8, widths = [8, 12], blocks = [1, 2], strides = [1, 2], stem_stride = 2, expansion = 2 }": (
            "options = { patch = 3, depth = 1, heads = 2 }"
        ),
        "width = [0.5, 1.0]": "dim = [8, 16]",
    }
    where = recipe(tmp_path / "recipe", changes)
    targets = ("nucleo-l4r5zi", "pixel-8", "orin-nano", "intel-n100")
    asked = [word for target in targets for word in ("-t", target)]
    code, out, _ = edgekd(
        "build", where, *asked, "--runs", tmp_path / "runs", "--threads", "1", "--json", "--budget", "accuracy_drop_pp=100"
    )
    found = json.loads(out)
    assert code == 0, found
    assert [row["target"] for row in found] == list(targets)
    for row in found:
        assert row["ok"] and row["records"]["plan"]["body"]["value"]["spec"]["dim"] == 16, row
        assert row["records"]["measure"]["figures"]["accuracy"]["value"] > 0.8, row["records"]["measure"]
    for row in found[:2]:
        verdicts = row["records"]["verify"]["body"]["value"]
        assert verdicts and all(v["figures"]["bit_equal"]["value"] == 1 for v in verdicts)
