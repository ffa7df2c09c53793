"""The rounding profile openvino against OpenVINO, on the IRs that its exporter writes. Only on the instruction set that it was found on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.export.openvino import export
from edgekd.host import environment
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.io import load
from edgekd.quant.reference import run
from edgekd.quant.reference.openvino import holds_on
from edgekd.runtimes.openvino import open_model
from tests.importers import onnx_cases as cases

TESTS = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not holds_on(environment()["cpu_flags"].split()), reason="the rules were found on another instruction set")
#: The least share of integers foretold where ties fall another way; never more than one off.
SHARES = {"mean_rows": 0.9, "sum": 0.9, "bilinear": 0.9, "bilinear_half": 0.95}
NAMES = ("conv", "vector", "add", "sub", "mul", "squared", "average_pool", "mean", "mean_rows", "sum", "bilinear", "hard_swish", "softmax")


def both(graph: QuantGraph, x: np.ndarray, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    export(graph, folder)
    return run(graph, x, "openvino")[graph.outputs[0]], open_model(folder / "model.xml").run(x)


@pytest.mark.parametrize(
    ("student", "share"), [("branches_per_tensor", 1), ("inverted_residual", 0.98), ("inverted_residual_symmetric", 1)]
)
def test_golden_students_are_foretold(tmp_path, student, share):
    foretold, found = both(load(TESTS / "golden" / student), np.load(TESTS / "golden" / student / "inputs.npz")["x"], tmp_path)
    assert (foretold == found).mean() >= share


@pytest.mark.parametrize("name", NAMES)
def test_operators(tmp_path, name):
    case = cases.cases()[name]
    foretold, found = both(case.graph(), case.samples(48), tmp_path)
    difference = np.abs(foretold.astype(int) - found)
    assert difference.max() <= (name in SHARES) and (difference == 0).mean() >= SHARES.get(name, 1), (difference == 0).mean()


@pytest.mark.parametrize("kind", [ops.Add, ops.Mul, ops.Sub])
@pytest.mark.parametrize("zeros", [(0, 0, 0), (-1, 5, -7)])
def test_all_pairs_that_tie(tmp_path, kind, zeros):
    every = np.arange(-128, 128, dtype=np.int8)
    x, b = (Tensor("x", "int8", (1, 256), Quantization.per_tensor(0.02, zeros[0])), Quantization.per_tensor(0.02 / 3, zeros[1]))
    y = Quantization.per_tensor(0.04 * (0.5 if kind is ops.Mul else 1), zeros[2])
    tensors = {"x": x, "b": Tensor("b", "int8", (1, 256), b, every[None]), "y": Tensor("y", "int8", (1, 256), y)}
    graph = QuantGraph("pairs", "channels_last", tensors, (kind("op", ("x", "b"), ("y",)),), ("x",), ("y",))
    foretold, found = both(graph, np.repeat(every[:, None], 256, 1), tmp_path)
    difference = np.abs(foretold.astype(int) - found)
    assert difference.max() <= 1 and (difference == 0).mean() >= (1 if not any(zeros) and kind is not ops.Mul else 0.985)


@pytest.mark.parametrize("zero", [0, -13, -128])
@pytest.mark.parametrize(("window", "padding"), [(2, 0), (3, 1)])
def test_average_pools(tmp_path, zero, window, padding):
    q, out = Quantization.per_tensor(0.0231, zero), (6 - window + 2 * padding) // window + 1
    tensors = {"x": Tensor("x", "int8", (1, 6, 6, 8), q), "y": Tensor("y", "int8", (1, out, out, 8), q)}
    op = ops.AveragePool2D("pool", ("x",), ("y",), (window, window), (window, window), (padding,) * 4)
    x = np.random.default_rng(0).integers(-128, 128, (60, 6, 6, 8)).astype(np.int8)
    foretold, found = both(QuantGraph("pool", "channels_last", tensors, (op,), ("x",), ("y",)), x, tmp_path)
    np.testing.assert_array_equal(foretold, found)
