"""The reference against the real runtimes, run live: every operator under every profile, on every output bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.export.tflite import export
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.reference import PROFILES, run
from edgekd.runtimes import litert, tflm
from tests.graph_cases import Builder, as_float, inverted_residuals

OPEN = {"tflm": tflm.open_model, "litert_ref": litert.open_reference, "xnnpack": litert.open_xnnpack}


def assert_equal(graph: QuantGraph, x: np.ndarray, profile: str, folder: Path) -> None:
    export(graph, folder)
    found = OPEN[profile](folder / "model.tflite").run(x)
    foretold = run(graph, x, profile)[graph.outputs[0]]
    difference = found.reshape(foretold.shape).astype(int) - foretold
    assert not difference.any(), f"{(difference != 0).sum()} of {difference.size} differ, by {np.unique(difference)}"
    assert len(np.unique(foretold)) > 2


def _two(b: Builder, **options: object) -> Builder:
    first = b.conv(6, gain=2.0).last
    b.last = "x"
    return b.conv(6, gain=0.7).add(first, **options)  # type: ignore[arg-type]


def _far(b: Builder) -> Builder:
    """Scales so far apart that XNNPACK declines the addition."""
    first = b.conv(6, gain=1e4).last
    b.last = "x"
    return b.conv(6).add(first)


def _concat(b: Builder, axis: int) -> Builder:
    return b.pool("max", (3, 3)).concat("x", axis=axis)


CASES: dict[str, Callable[[Builder], Builder]] = {
    "conv": lambda b: b.conv(9),
    "conv strided": lambda b: b.conv(9, stride=(2, 2), activation="relu"),
    "conv padded": lambda b: b.conv(9, (3, 2), padding=(1, 0, 2, 1), activation="relu6"),
    "conv dilated": lambda b: b.conv(9, (3, 3), dilation=(2, 2)),
    "conv in groups": lambda b: b.conv(9, (3, 3), groups=3, activation="relu"),
    "conv in groups of one": lambda b: b.conv(6, (3, 3), groups=6),
    "conv without bias": lambda b: b.conv(9, bias=False),
    "conv, wide multiplier": lambda b: b.conv(9, gain=200.0),
    "conv, narrow multiplier": lambda b: b.conv(9, gain=0.02),
    "depthwise": lambda b: b.depthwise(),
    "depthwise strided": lambda b: b.depthwise((5, 3), stride=(2, 2), activation="relu"),
    "depthwise multiplied": lambda b: b.depthwise(multiplier=3, activation="relu6"),
    "depthwise dilated": lambda b: b.depthwise(dilation=(2, 2)),
    "fully connected": lambda b: b.reshape((336,)).fully_connected(40),
    "fully connected, relu": lambda b: b.reshape((336,)).fully_connected(40, activation="relu", gain=3.0),
    "fully connected, one output": lambda b: b.reshape((336,)).fully_connected(1),
    "fully connected, rank 4": lambda b: b.fully_connected(11),
    "add": _two,
    "add, relu6": lambda b: _two(b, activation="relu6", gain=2.0),
    "add, far scales": _far,
    "add to itself": lambda b: b.add("x"),
    "average pool": lambda b: b.pool("average", (3, 3), activation="relu"),
    "average pool, all": lambda b: b.pool("average", (8, 7), padding=(0, 0, 0, 0)),
    "max pool": lambda b: b.pool("max", (3, 3), stride=(2, 2), padding=(1, 1, 1, 1)),
    "max pool, relu6": lambda b: b.pool("max", (2, 2), activation="relu6"),
    "mean": lambda b: b.mean((1, 2)),
    "mean, kept": lambda b: b.mean((1, 2), keepdims=True, gain=0.5),
    "mean, channels": lambda b: b.mean((3,)),
    "mean, all": lambda b: b.mean((1, 2, 3)),
    "relu": lambda b: b.relu(),
    "relu6": lambda b: b.relu("relu6"),
    "relu, finer scale": lambda b: b.relu(scale=b.quantization()[0] / 3.3, zero_point=-128),
    "relu, coarser scale": lambda b: b.relu(scale=b.quantization()[0] * 1.4, zero_point=-100),
    "softmax": lambda b: b.softmax(),
    "logistic": lambda b: b.logistic(),
    "pad": lambda b: b.pad(((1, 2), (0, 1), (2, 0))),
    "concat": lambda b: _concat(b, -1),
    "concat, rows": lambda b: _concat(b, 1),
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("case", CASES)
def test_operator_equals_runtime(case: str, profile: str, tmp_path: Path) -> None:
    for seed, symmetric, per_channel in ((1, False, True), (2, True, True), (3, False, False)):
        b = CASES[case](Builder(seed, symmetric=symmetric, per_channel=per_channel).input((8, 7, 6), 0.05))
        assert_equal(b.graph(), b.images(12), profile, tmp_path)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("case", ["conv", "depthwise", "add", "mean", "fully connected"])
def test_ties_equal_runtime(case: str, profile: str, tmp_path: Path) -> None:
    """Scales that are powers of two put sums exactly half-way between integers."""
    b = CASES[case](Builder(5).input((8, 7, 6), 2.0**-5))
    tensors = {}
    for t in b.tensors.values():
        assert t.quantization is not None
        scale = np.exp2(np.round(np.log2(t.quantization.scale))).astype(np.float32)
        tensors[t.name] = Tensor(t.name, t.dtype, t.shape, Quantization(scale, t.quantization.zero_point, t.quantization.axis), t.data)
    b.tensors = tensors
    assert_equal(b.graph(), b.images(40), profile, tmp_path)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("symmetric", [False, True])
def test_student_equals_runtime(profile: str, symmetric: bool, tmp_path: Path) -> None:
    graph = inverted_residuals(3, channels=(8, 8, 12, 16), symmetric=symmetric)
    x = np.random.default_rng(0).integers(-128, 128, (12, 28, 28, 1)).astype(np.int8)
    assert_equal(graph, x, profile, tmp_path)


def test_profiles_differ() -> None:
    b = Builder(1).input((6, 6, 8)).conv(32)
    graph, x = b.graph(), b.images(200)
    tflm_, xnnpack = (run(graph, x, profile)[graph.outputs[0]].astype(int) for profile in ("tflm", "xnnpack"))
    assert 0 < (tflm_ != xnnpack).mean() < 0.01
    assert np.abs(tflm_ - xnnpack).max() == 1


def test_chunks_do_not_matter_and_keep_returns_every_tensor() -> None:
    graph = inverted_residuals(1, channels=(8, 8, 8, 8))
    x = np.random.default_rng(0).integers(-128, 128, (7, 28, 28, 1)).astype(np.int8)
    names = [t.name for t in graph.tensors.values() if not t.is_constant]
    all_at_once, one_by_one = (run(graph, x, "tflm", keep=names, batch=batch) for batch in (64, 1))
    assert set(all_at_once) == set(names)
    for name in names:
        assert all_at_once[name].dtype == np.int8
        assert all_at_once[name].shape == (7, *graph.tensor(name).shape[1:])
        np.testing.assert_array_equal(all_at_once[name], one_by_one[name])
    np.testing.assert_array_equal(all_at_once["x"], x)
    # What is kept is what the operators after it read: running without keeping gives the same output.
    np.testing.assert_array_equal(run(graph, x, "tflm")[graph.outputs[0]], all_at_once[graph.outputs[0]])


def test_wide_sums_leave_float32(tmp_path: Path) -> None:
    """5,000 products exceed 2^24."""
    b = Builder(2).input((5000,)).fully_connected(6)
    for profile in PROFILES:
        assert_equal(b.graph(), b.images(30), profile, tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_float_graph_is_close_to_runtime(dtype: str, tmp_path: Path) -> None:
    b = Builder(4).input((12, 10, 4)).conv(8, (3, 3), stride=(2, 2), activation="relu6")
    branch = b.last
    b.depthwise(multiplier=1).add(branch, activation="relu").pool("max", (2, 2)).pool("average", (3, 3)).pad(((0, 1), (1, 0), (0, 0)))
    b.conv(8, groups=2).relu().mean((1,)).fully_connected(5).softmax().logistic()
    graph = as_float(b.graph(), dtype)
    x = b.rng.normal(size=(5, 12, 10, 4)).astype(np.float32)
    export(graph, tmp_path)
    found = litert.open_xnnpack(tmp_path / "model.tflite").run(x)
    foretold = run(graph, x, "float")[graph.outputs[0]]
    assert foretold.dtype == np.float32
    np.testing.assert_allclose(found, foretold, atol=1e-5)


def test_bad_input_is_named() -> None:
    b = Builder(1).input((4, 4, 2)).conv(3)
    graph, x = b.graph(), b.images(2)
    with pytest.raises(InputError, match="profile 'tf'[\\s\\S]*tflm, litert_ref, xnnpack"):
        run(graph, x, "tf")
    with pytest.raises(InputError, match=r"input int8 \(2, 4, 4\)[\s\S]*\(N, 4, 4, 2\)"):
        run(graph, x[..., 0], "tflm")
    with pytest.raises(InputError, match="input float64"):
        run(graph, x.astype(float), "tflm")
    with pytest.raises(InputError, match="profile 'float' for int8"):
        run(graph, x, "float")
    with pytest.raises(InputError, match="'nobody' is not an activation"):
        run(graph, x, "tflm", keep=("nobody",))
    with pytest.raises(InputError, match="multiplier .*[\\s\\S]*below 256"):
        run(Builder(1).input((4, 4, 2)).conv(3, gain=1e6).graph(), x, "xnnpack")
    b.pool("max", (2, 2))
    b.tensors[b.last] = Tensor(b.last, "int8", b.tensors[b.last].shape, Quantization.per_tensor(9.0))
    with pytest.raises(InputError, match="MaxPool2D[\\s\\S]*one for all"):
        run(b.graph(), x, "tflm")
