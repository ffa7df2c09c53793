"""Export to ONNX, import again: the same integers of the reference, bit for bit; and onnxruntime against the reference."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgekd.errors import InputError
from edgekd.export.onnx import build
from edgekd.importers.onnx import read
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.reference import run
from edgekd.quant.reference.profiles import UNSUPPORTED
from edgekd.runtimes.onnxruntime import open_model
from tests.importers import onnx_cases as cases

NAMES = list(cases.cases())
#: How far onnxruntime may be off; sums are three operators in a row.
MOST = 2


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_round_trip(tmp_path, name, dtype):
    case = cases.cases(dtype)[name]
    graph, x = case.graph(), case.samples(12)
    path = tmp_path / "case.onnx"
    path.write_bytes(build(graph).SerializeToString())
    again = read(path)
    assert not again.metadata.get("notes"), again.metadata
    for before, after in zip(graph.ops, again.ops, strict=False):
        assert graph.tensor(before.outputs[0]).dtype == again.tensor(after.outputs[0]).dtype, f"{after} is an island"
    there = open_model(path).run(x)
    if dtype == "int16":
        again_path = tmp_path / "again.onnx"
        again_path.write_bytes(build(again).SerializeToString())
        np.testing.assert_array_equal(open_model(again_path).run(x), there)
        return
    lacking = any(isinstance(op, UNSUPPORTED["tflm"]) for op in graph.ops)
    profile = "float" if dtype == "float32" else "litert_ref" if lacking else "tflm"
    expected = run(graph, x, profile)[graph.outputs[0]]
    found = run(again, x, profile)[again.outputs[0]]
    if dtype == "float32":
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(there, expected, atol=1e-4)
    else:
        np.testing.assert_array_equal(found, expected)
        assert np.abs(there.astype(int) - expected).max() <= MOST, "onnxruntime differs"


def test_tokens_and_weights_of_4_bits(tmp_path):
    case = cases.Case((1, 4))
    table = case.constant("table", (20, 8))
    case.tensors["x"] = Tensor("x", "int32", (1, 4))
    case.op(ops.Gather, (1, 4, 8), inputs=(table, "x"), fixed=case.tensors[table].quantization)
    case.op(ops.FullyConnected, (1, 4, 3), *case.weights((3, 8), 0, "int4"), limit=2.0)
    path = tmp_path / "case.onnx"
    path.write_bytes(build(case.graph()).SerializeToString())
    again = read(path)
    assert [type(op) for op in again.ops] == [ops.Gather, ops.FullyConnected]
    weight = again.tensor(again.ops[1].inputs[1])
    assert weight.dtype == "int4" and again.tensor(again.inputs[0]).dtype == "int32"
    np.testing.assert_array_equal(weight.data, case.tensors["w"].data)
    y = open_model(path).run(np.array([[3, 0, 19, 7]], np.int32))
    assert y.dtype == np.int8 and y.shape == (1, 4, 3)


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize(("kernel", "padding"), [((2, 2), (0, 0, 0, 0)), ((3, 4), (1, 1, 2, 1)), ((6, 5), (0, 0, 0, 0))])
def test_average_pools_that_round_ties_come_back(tmp_path, kernel, padding, unsigned):
    path, graph = tmp_path / "pool.onnx", rounded_pool(kernel, padding)
    model = build(graph, unsigned=unsigned)
    assert [node.op_type for node in model.graph.node].count("Sign") == 1
    path.write_bytes(model.SerializeToString())
    again = read(path)
    (op,) = again.ops
    assert (type(op), op.kernel, op.padding) == (ops.AveragePool2D, kernel, padding)
    x = np.random.default_rng(0).integers(-128, 128, (20, 6, 5, 8)).astype(np.int8)
    np.testing.assert_array_equal(run(again, x, "tflm")[again.outputs[0]], run(graph, x, "tflm")["y"])
    np.testing.assert_array_equal(open_model(path).run(x), run(graph, x, "tflm")["y"])


@pytest.mark.parametrize("what", ["half", "shift"])
def test_signs_that_mean_something_else_are_not_taken_for_ties(tmp_path, what):
    path, model = tmp_path / "pool.onnx", build(rounded_pool((2, 2), (0, 0, 0, 0)))
    (constant,) = (i for i in model.graph.initializer if i.name.endswith(f"/{what}"))
    constant.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(constant) * np.float32(3), constant.name))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="Sign .*: is not supported"):
        read(path)


def rounded_pool(kernel: tuple[int, int], padding: tuple[int, int, int, int]) -> QuantGraph:
    q, size = Quantization.per_tensor(0.04, -9), [(n + sum(padding[2 * i : 2 * i + 2]) - kernel[i]) // 2 + 1 for i, n in enumerate((6, 5))]
    tensors = {"x": Tensor("x", "int8", (1, 6, 5, 8), q), "y": Tensor("y", "int8", (1, *size, 8), q)}
    op = ops.AveragePool2D("pool", ("x",), ("y",), kernel, (2, 2), padding)
    return QuantGraph("pool", "channels_last", tensors, (op,), ("x",), ("y",))
