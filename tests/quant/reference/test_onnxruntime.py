"""The rounding profile onnxruntime against onnxruntime, on the files that the ONNX exporter writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.export.onnx import build
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.io import load
from edgekd.quant.reference import run
from edgekd.runtimes.onnxruntime import open_model
from tests.importers import onnx_cases as cases

TESTS = Path(__file__).parents[2]
#: The least share of integers foretold where onnxruntime sums or interpolates in float32 in an order of its own; never more than one off.
SHARES = {"mean_rows": 0.9, "sum": 0.9, "bilinear": 0.97, "bilinear_half": 0.97, "bilinear_corners": 0.97}


def both(graph: QuantGraph, x: np.ndarray, folder: Path, *, unsigned: bool = False) -> tuple[np.ndarray, np.ndarray]:
    (folder / "model.onnx").write_bytes(build(graph, unsigned=unsigned).SerializeToString())
    return run(graph, x, "onnxruntime")[graph.outputs[0]], open_model(folder / "model.onnx").run(x)


@pytest.mark.parametrize("student", sorted(p.name for p in (TESTS / "golden").iterdir() if p.is_dir()))
def test_golden_students_are_foretold(tmp_path, student):
    foretold, found = both(load(TESTS / "golden" / student), np.load(TESTS / "golden" / student / "inputs.npz")["x"], tmp_path)
    np.testing.assert_array_equal(foretold, found)


@pytest.mark.parametrize("name", list(cases.cases()))
def test_operators(tmp_path, name):
    case = cases.cases()[name]
    foretold, found = both(case.graph(), case.samples(48), tmp_path)
    difference = np.abs(foretold.astype(int) - found)
    assert difference.max() <= (name in SHARES) and (difference == 0).mean() >= SHARES.get(name, 1)


@pytest.mark.parametrize("kind", [ops.Add, ops.Mul, ops.Sub])
@pytest.mark.parametrize("factor", [1.0, 1.5, 2.0])
def test_all_pairs(tmp_path, kind, factor):
    """Scales in small ratios, so that there are ties."""
    every = np.arange(-128, 128, dtype=np.int8)
    x, b = (Tensor("x", "int8", (1, 256), Quantization.per_tensor(0.02, -1)), Quantization.per_tensor(0.02 / 3, 5))
    y = Quantization.per_tensor(0.02 * factor * (0.5 if kind is ops.Mul else 1), -7)
    tensors = {"x": x, "b": Tensor("b", "int8", (1, 256), b, every[None]), "y": Tensor("y", "int8", (1, 256), y)}
    graph = QuantGraph("pairs", "channels_last", tensors, (kind("op", ("x", "b"), ("y",)),), ("x",), ("y",))
    foretold, found = both(graph, np.repeat(every[:, None], 256, 1), tmp_path)
    np.testing.assert_array_equal(foretold, found)


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize(
    ("zero", "window", "padding", "activation"),
    [(-13, 2, 0, "none"), (-128, 3, 1, "none"), (7, 2, 1, "none"), (0, 6, 0, "none"), (-1, 4, 2, "none"), (-20, 2, 0, "relu6")],
)
def test_average_pools_round_ties_as_tflite_does(tmp_path, zero, window, padding, activation, unsigned):
    """Windows that padding cuts have other counts: of 2x2, 1, 2 and 4 values."""
    graph, x = pool(zero, window, padding, activation)
    foretold, found = both(graph.with_metadata(scheme={"symmetric_activations": False}), x, tmp_path, unsigned=unsigned)
    np.testing.assert_array_equal(foretold, found)
    np.testing.assert_array_equal(run(graph, x, "xnnpack")["y"], found)


@pytest.mark.parametrize(("window", "padding"), [(2, 0), (3, 1)])
def test_average_pools_of_a_symmetric_scheme(tmp_path, window, padding):
    graph, x = pool(0, window, padding)
    assert [n.op_type for n in build(graph).graph.node].count("AveragePool") == 1 == len(build(graph).graph.node) - 4
    foretold, found = both(graph, x, tmp_path)
    np.testing.assert_array_equal(foretold, found)


def pool(zero: int, window: int, padding: int, activation: str = "none") -> tuple[QuantGraph, np.ndarray]:
    q, out = Quantization.per_tensor(0.0231 * 2, zero), (6 - window + 2 * padding) // window + 1
    tensors = {"x": Tensor("x", "int8", (1, 6, 6, 8), q), "y": Tensor("y", "int8", (1, out, out, 8), q)}
    op = ops.AveragePool2D("pool", ("x",), ("y",), (window, window), (window, window), (padding,) * 4, activation)
    x = np.random.default_rng(0).integers(-128, 128, (100, 6, 6, 8)).astype(np.int8)
    return QuantGraph("pool", "channels_last", tensors, (op,), ("x",), ("y",)), x
