"""Graphs of one elementwise operator that meet every int8 value, or every pair, and what the real runtimes compute for them.

The runtimes are run as they are, without edgekd's runners, which look through the QUANTIZE and DEQUANTIZE at a file's borders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_micro.python.tflite_micro.runtime import Interpreter as Micro

from edgekd.export.tflite import encode
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.reference import PROFILES, run
from edgekd.quant.reference.profiles import UNSUPPORTED
from edgekd.runtimes.c_stderr import c_stderr

Q = tuple[float, int]
VALUES = np.arange(-128, 128).astype(np.int8)


def tensor(name: str, shape: tuple[int, ...], where: Q | None = None, data: np.ndarray | None = None) -> Tensor:
    """int8 with ``where`` (scale, zero point), float32 without."""
    quantization = None if where is None else Quantization.per_tensor(*where)
    return Tensor(name, "float32" if where is None else "int8", shape, quantization, data)


def graph_of(tensors: Sequence[Tensor], *operators: ops.Op) -> QuantGraph:
    """Its input is the first tensor, its output what the last operator writes."""
    return QuantGraph("case", "channels_last", {t.name: t for t in tensors}, operators, (tensors[0].name,), operators[-1].outputs)


def unary(op: type[ops.Op], x: Q, y: Q, **options: Any) -> QuantGraph:
    """Of x int8 [1, 256]."""
    return graph_of([tensor("x", (1, 256), x), tensor("y", (1, 256), y)], op("op", ("x",), ("y",), **options))


def pairs(op: type[ops.Op], a: Q, b: Q, y: Q, *, swapped: bool = False, **options: Any) -> QuantGraph:
    """Of x int8 [1, 256, 1] and a constant with every value: all pairs if x has every value. ``swapped``: the constant is the first."""
    tensors = [
        tensor("x", (1, 256, 1), b if swapped else a),
        tensor("c", (256,), a if swapped else b, VALUES),
        tensor("y", (1, 256, 256), y),
    ]
    return graph_of(tensors, op("op", ("c", "x") if swapped else ("x", "c"), ("y",), **options))


def two_activations(op: type[ops.Op], a: Q, b: Q, y: Q, **options: Any) -> QuantGraph:
    """The same without a constant: x [1, 256] is reshaped to [1, 256, 1] and requantized to [1, 1, 256]."""
    tensors = [
        tensor("x", (1, 256), a), tensor("a", (1, 256, 1), a), tensor("r", (1, 256), b), tensor("b", (1, 1, 256), b),
        tensor("y", (1, 256, 256), y),
    ]  # fmt: skip
    return graph_of(
        tensors,
        ops.Reshape("rows", ("x",), ("a",), (1, 256, 1)),
        ops.Quantize("requantize", ("x",), ("r",)),
        ops.Reshape("columns", ("r",), ("b",), (1, 1, 256)),
        op("op", ("a", "b"), ("y",), **options),
    )


def computed(profile: str, graph: QuantGraph, x: np.ndarray) -> np.ndarray:
    """By the runtime that ``profile`` foretells, from the exported file."""
    content = encode(graph)
    with c_stderr():
        if profile == "tflm":
            return _micro(content, x)
        resolver = OpResolverType.BUILTIN_REF if profile == "litert_ref" else OpResolverType.AUTO
        interpreter = Interpreter(model_content=content, experimental_op_resolver_type=resolver, num_threads=1)
        entry, leave = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
        if interpreter.get_input_details()[0]["shape"][0] != len(x):
            interpreter.resize_tensor_input(entry, x.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(entry, x)
        interpreter.invoke()
        return interpreter.get_tensor(leave)


def _micro(content: bytes, x: np.ndarray) -> np.ndarray:
    interpreter = Micro.from_bytes(content, arena_size=1 << 20)
    rows: list[np.ndarray] = []
    for row in x:
        interpreter.set_input(np.ascontiguousarray(row[None]), 0)
        interpreter.invoke()
        rows.append(interpreter.get_output(0))
    return np.concatenate(rows)


def assert_foretold(graph: QuantGraph, x: np.ndarray) -> None:
    """The reference gives every runtime's output, bit for bit."""
    for profile in PROFILES:
        if not any(isinstance(op, UNSUPPORTED.get(profile, ())) for op in graph.ops):
            found = run(graph, x, profile)[graph.outputs[0]]
            np.testing.assert_array_equal(found, computed(profile, graph, x), err_msg=f"{profile}, {_scales(graph)}, {graph.ops[-1]}")


def _scales(graph: QuantGraph) -> dict[str, Q]:
    return {t.name: t.quantization.single for t in graph.tensors.values() if t.quantization is not None and t.quantization.axis is None}
