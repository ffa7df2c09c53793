"""What operators that move, reduce, resize or multiply whole tensors are in the file, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from edgekd.errors import InputError
from edgekd.export.tflite import encode
from edgekd.quant import ops
from edgekd.quant.graph import Quantization, Tensor
from tests.shape_cases import single

Q = Quantization.per_tensor(0.1, 3)
CODE = schema.BuiltinOperator


def weight(shape: tuple[int, ...]) -> Tensor:
    return Tensor("w", "int8", shape, Quantization.per_tensor(0.1), np.ones(shape, np.int8))


CASES: dict[str, tuple[Any, int, int]] = {
    "slice": (single(ops.Slice, (4, 5), (2, 3), (Q, Q), begin=(0, 1, 2), size=(1, 2, 3), step=(1, 1, 1)), CODE.STRIDED_SLICE, 2),
    "strided": (single(ops.Slice, (4, 5), (2, 3), (Q, Q), begin=(0, 1, 0), size=(1, 2, 3), step=(1, 2, 2)), CODE.STRIDED_SLICE, 2),
    "rank 5": (single(ops.Slice, (1, 1, 1, 4), (1, 1, 1, 2), (Q, Q), begin=(0,) * 5, size=(1, 1, 1, 1, 2), step=(1,) * 5), CODE.SLICE, 2),
    "transpose": (single(ops.Transpose, (4, 5), (5, 4), (Q, Q), order=(0, 2, 1)), CODE.TRANSPOSE, 2),
    "sum": (single(ops.Sum, (4, 5), (5,), (Q, Q), axes=(-2,)), CODE.SUM, 2),
    "maximum": (single(ops.ReduceMax, (4, 5), (1, 5), (Q, Q), axes=(1,), keepdims=True), CODE.REDUCE_MAX, 2),
    "float": (single(ops.Sum, (4, 5), (5,), (None, None), axes=(1,)), CODE.SUM, 1),
    "nearest": (single(ops.ResizeNearest, (2, 2, 3), (4, 5, 3), (Q, Q), size=(4, 5)), CODE.RESIZE_NEAREST_NEIGHBOR, 2),
    "bilinear": (
        single(ops.ResizeBilinear, (2, 2, 3), (4, 5, 3), (Q, Q), size=(4, 5), half_pixel_centers=True),
        CODE.RESIZE_BILINEAR,
        3,
    ),
    "matmul": (single(ops.BatchMatMul, (4, 5), (4, 2), (Q, Q), constants=(weight((1, 5, 2)),)), CODE.BATCH_MATMUL, 2),
    "transposed": (single(ops.TransposeConv2D, (4, 4, 2), (4, 4, 3), (Q, Q), constants=(weight((3, 1, 1, 2)),)), CODE.TRANSPOSE_CONV, 2),
}


@pytest.mark.parametrize("case", CASES)
def test_code_and_version(case: str) -> None:
    graph, code, version = CASES[case]
    (found,) = schema.ModelT.InitFromPackedBuf(encode(graph)).operatorCodes or []
    assert (found.builtinCode, found.version) == (code, version)


@pytest.mark.parametrize("case", CASES)
def test_batch_is_open_where_tflite_can_say_so(case: str) -> None:
    graph, code, _ = CASES[case]
    interpreter = Interpreter(model_content=encode(graph))
    (entry,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(entry["index"], (3, *graph.tensor("x").shape[1:]))
    if code not in (CODE.SLICE, CODE.TRANSPOSE_CONV):
        interpreter.allocate_tensors()
        made = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        assert made.shape == (3, *graph.tensor("y").shape[1:])


REFUSED: dict[str, tuple[Any, str]] = {
    "slice beyond": (
        single(ops.Slice, (4,), (3,), (Q, Q), begin=(0, 2), size=(1, 3), step=(1, 1)),
        "a part of the input",
    ),
    "order": (single(ops.Transpose, (4, 5), (4, 5), (Q, Q), order=(0, 2, 1)), r"to \(1, 4, 5\)[\s\S]*as it follows"),
    "batch": (single(ops.Sum, (4,), (4,), (Q, Q), axes=(0,)), "axes other than the batch"),
    "left": (single(ops.ReduceMax, (4, 5), (5,), (Q, Q), axes=(2,)), r"to \(1, 4\)"),
    "size": (single(ops.ResizeNearest, (2, 2, 3), (4, 4, 3), (Q, Q), size=(4, 5)), "height, width"),
    "depth": (single(ops.BatchMatMul, (4, 6), (4, 2), (Q, Q), constants=(weight((1, 5, 2)),)), "m, k"),
    "channels": (single(ops.TransposeConv2D, (4, 4, 5), (4, 4, 3), (Q, Q), constants=(weight((3, 1, 1, 2)),)), "out, kh, kw, in"),
    "size of transposed": (
        single(ops.TransposeConv2D, (4, 4, 2), (5, 4, 3), (Q, Q), constants=(weight((3, 1, 1, 2)),)),
        r"output size \(5, 4\)[\s\S]*4 along axis 1",
    ),
    "rank": (single(ops.Transpose, (1,) * 6, (1,) * 6, (Q, Q), order=tuple(range(7))), "rank 7[\\s\\S]*at most 6"),
    "scale": (single(ops.ReduceMax, (4,), (1,), (Q, Quantization.per_tensor(0.2)), axes=(1,), keepdims=True), "one for inputs and output"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_stated_is_refused(case: str) -> None:
    graph, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        encode(graph)


def test_dynamic_index_table_is_refused() -> None:
    tensors = {"x": Tensor("x", "int8", (1, 4), Q), "i": Tensor("i", "int8", (1, 1), Q), "y": Tensor("y", "int8", (1, 1, 4), Q)}
    graph = single(ops.Reshape, (4,), (4,), (Q, Q), shape=(1, 4))
    made = ops.Gather("gather", ("x", "i"), ("y",))
    graph = type(graph)("case", "channels_last", tensors, (made,), ("x", "i"), ("y",))
    with pytest.raises(InputError, match="constant table"):
        encode(graph)
