"""What the exporter writes for elementwise operators, and what it refuses because a runtime would fail, or die of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekd.errors import InputError
from edgekd.export.tflite import encode, export
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.reference import PROFILES, run
from edgekd.runtimes import litert, tflm
from tests.elementwise_cases import VALUES, graph_of, pairs, tensor, unary

OPEN = {"tflm": tflm.open_model, "litert_ref": litert.open_reference, "xnnpack": litert.open_xnnpack}
NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
A, B = (0.1, 3), (0.2, -5)


def operators(graph: QuantGraph) -> list[tuple[str, int]]:
    """Name and version of each operator in the file."""
    model = schema.ModelT.InitFromPackedBuf(encode(graph))
    codes = [(NAMES[code.builtinCode], code.version) for code in model.operatorCodes]
    return [codes[operator.opcodeIndex] for operator in model.subgraphs[0].operators]


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (pairs(ops.Add, A, B, B), ("ADD", 2)),
        (pairs(ops.Sub, A, B, B), ("SUB", 2)),
        (pairs(ops.Mul, A, B, B), ("MUL", 2)),
        (pairs(ops.Mul, A, B, (0.001, 0)), ("MUL", 3)),
        (pairs(ops.Maximum, A, A, A), ("MAXIMUM", 2)),
        (pairs(ops.Minimum, A, A, A), ("MINIMUM", 2)),
        (pairs(ops.SquaredDifference, A, B, B), ("SQUARED_DIFFERENCE", 2)),
        (unary(ops.LeakyRelu, A, B, alpha=0.3), ("LEAKY_RELU", 1)),
        (unary(ops.HardSwish, A, B), ("HARD_SWISH", 1)),
        (unary(ops.Tanh, A, (1 / 128, 0)), ("TANH", 2)),
        (unary(ops.Gelu, A, B), ("GELU", 2)),
        (unary(ops.Rsqrt, A, B), ("RSQRT", 2)),
        (unary(ops.Quantize, A, B), ("QUANTIZE", 1)),
    ],
)
def test_lowest_version_that_does(graph: QuantGraph, expected: tuple[str, int]) -> None:
    assert operators(graph) == [expected]


def test_constants_keep_shape_scale_and_values() -> None:
    graph = pairs(ops.Mul, A, B, B)
    found = schema.ModelT.InitFromPackedBuf(encode(graph)).subgraphs[0].tensors[1]
    assert list(found.shape) == [256] and found.quantization.scale[0] == np.float32(0.2) and found.quantization.zeroPoint[0] == -5


def test_float16_constant_is_widened_once() -> None:
    half = Tensor("c", "float16", (8,), None, np.ones(8, np.float16))
    tensors = [tensor("x", (1, 8)), half, tensor("a", (1, 8)), tensor("y", (1, 8))]
    graph = graph_of(tensors, ops.Add("add", ("x", "c"), ("a",)), ops.Mul("mul", ("a", "c"), ("y",)))
    assert [name for name, _ in operators(graph)] == ["DEQUANTIZE", "ADD", "MUL"]


def test_indices_enter_and_are_constants() -> None:
    table = Tensor("table", "int8", (7, 4), tensor("t", (7, 4), A).quantization, VALUES[:28].reshape(7, 4))
    x = Tensor("x", "int32", (1, 5))
    graph = graph_of([x, table, tensor("y", (1, 5, 4), A)], ops.Gather("gather", ("table", "x"), ("y",)))
    model = schema.ModelT.InitFromPackedBuf(encode(graph))
    assert model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].type == schema.TensorType.INT32


def test_batches_through_the_runners(tmp_path: Path) -> None:
    """A constant that broadcasts over the batch survives that LiteRT resizes it."""
    constant = tensor("c", (1, 4, 3), B, VALUES[:12].reshape(1, 4, 3))
    graph = graph_of([tensor("x", (1, 4, 3), A), constant, tensor("y", (1, 4, 3), B)], ops.Mul("op", ("c", "x"), ("y",)))
    export(graph, tmp_path)
    x = np.random.default_rng(0).integers(-128, 128, (70, 4, 3)).astype(np.int8)
    for profile in PROFILES:
        np.testing.assert_array_equal(run(graph, x, profile)["y"], OPEN[profile](tmp_path / "model.tflite").run(x))


def refused(graph: QuantGraph, match: str) -> None:
    with pytest.raises(InputError, match=match):
        encode(graph)


def test_refusals_of_shapes() -> None:
    shape = (1, 3, 4)
    x, y = tensor("x", shape, A), tensor("y", shape, A)
    add = ops.Add("op", ("x", "c"), ("y",))
    refused(graph_of([x, tensor("c", (3,), A, VALUES[:3]), y], add), r"operator op: shapes \(1, 3, 4\) and \(3,\) to \(1, 3, 4\)")
    batch = tensor("c", (2, 3, 4), A, np.zeros((2, 3, 4), np.int8))
    refused(graph_of([x, batch, tensor("y", (2, 3, 4), A)], add), r"operator op: constant 'c' of shape \(2, 3, 4\)\n.*without a batch")
    low = graph_of([x, tensor("c", (1, 4), A), y], ops.ReduceMax("max", ("x",), ("c",), axes=(1,)), add)
    refused(low, r"operator op: 'c' of shape \(1, 4\)[\s\S]*a Reshape before it")
    refused(graph_of([x, y], ops.PRelu("op", ("x", "x"), ("y",))), "operator op: alpha 'x' is computed\n.*a constant")


def test_refusals_of_scales() -> None:
    refused(unary(ops.Tanh, A, B), r"operator op: output scale and zero point .*\n.*1/128 and 0")
    refused(unary(ops.HardSwish, (1.0, 0), (0.005, 0)), r"operator op: output scale 0.005\n.*above 0.0078125")
    refused(pairs(ops.SquaredDifference, A, B, (1e-6, 0)), r"operator op: output scale 1e-06\n.*above 9.7656")
    refused(pairs(ops.Sub, (1e3, 0), B, (1e-4, 0)), r"operator op: output scale 0.0001\n.*above 0.0019")
    refused(pairs(ops.Maximum, A, B, A), "operator op: scales and zero points")


def test_refusals_of_dtypes() -> None:
    x, y = tensor("x", (1, 4), A), tensor("y", (1, 4))
    refused(graph_of([x, y], ops.Quantize("op", ("x",), ("y",))), "operator op: int8 to float32\n.*float, int8 or int16 to int8 or int16")
    refused(graph_of([y, x], ops.Dequantize("op", ("y",), ("x",))), "operator op: float32 to int8\n.*int8 or int16 to float")
    refused(graph_of([x, y], ops.HardSwish("op", ("x",), ("y",))), "operator op: float and int8 in one operator")
