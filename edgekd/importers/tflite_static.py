"""A TFLite file made static: shapes that the file computes at run time are computed here, once, for a batch of 1.

Given   x ── SHAPE ── GATHER ── PACK ─┐                Result  x ── RESHAPE ── y, and y's shape is right
        x ───────────────────────── RESHAPE ── y
Given   x ── SPACE_TO_BATCH_ND ── CONV_2D (VALID) ── BATCH_TO_SPACE_ND ── y
Result  x ── CONV_2D (dilated, padded by amounts) ── y: how converters wrote a dilated convolution before TFLite had any
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgekd.importers.tflite_tables import File, FileOperator, FileTensor

#: Values of shape arithmetic are lists of a few integers.
MOST_VALUES = 64
_INTEGERS = {"INT32": np.int32, "INT64": np.int64}
_ELEMENTWISE = frozenset(
    ("ADD", "SUB", "MUL", "SQUARED_DIFFERENCE", "MAXIMUM", "MINIMUM", "PRELU", "RELU", "RELU6", "LEAKY_RELU", "GELU", "SOFTMAX",
     "HARD_SWISH", "RSQRT", "LOGISTIC", "TANH", "QUANTIZE", "DEQUANTIZE", "NEG")
)  # fmt: skip


def make_static(file: File) -> File:
    """``file`` without shape arithmetic and without space-to-batch around convolutions; what cannot be resolved stays as it is."""
    tensors = list(file.tensors)
    kept: list[FileOperator] = []
    moved: set[int] = set()
    for op in file.operators:
        if _folds(op, tensors):
            continue
        kept.append(op)
        shape = _new_shape(op, tensors, moved)
        if shape is not None and shape != tensors[op.outputs[0]].shape:
            tensors[op.outputs[0]] = replace(tensors[op.outputs[0]], shape=shape)
            moved.add(op.outputs[0])
    return replace(file, tensors=tuple(tensors), operators=tuple(_dilated(kept, tensors)))


def _values(number: int, tensors: list[FileTensor]) -> np.ndarray | None:
    """A small integer constant in its shape; None for anything else."""
    if number < 0:
        return None
    tensor = tensors[number]
    dtype = _INTEGERS.get(tensor.type)
    if tensor.data is None or dtype is None or tensor.refused or math.prod(tensor.shape) > MOST_VALUES:
        return None
    if tensor.data.size != math.prod(tensor.shape) * np.dtype(dtype).itemsize:
        return None
    return np.frombuffer(tensor.data.tobytes(), dtype).reshape(tensor.shape).astype(np.int64)


def _folds(op: FileOperator, tensors: list[FileTensor]) -> bool:
    """Whether ``op`` computes small integers from constants or from a shape; then its output is a constant from now on."""
    rule = _ARITHMETIC.get(op.kind)
    if rule is None or len(op.outputs) != 1 or not op.inputs or min(op.inputs) < 0 or tensors[op.outputs[0]].data is not None:
        return False
    if op.kind == "SHAPE":
        source = tensors[op.inputs[0]]
        arguments: list[np.ndarray] = [] if source.refused else [np.array(source.shape, np.int64)]
    else:
        found = [_values(number, tensors) for number in op.inputs]
        arguments = [value for value in found if value is not None]
        if len(arguments) != len(found):
            return False
    dtype = _INTEGERS.get(tensors[op.outputs[0]].type)
    if not arguments or dtype is None:
        return False
    try:
        value = np.asarray(rule(op.options, *arguments))
    except (ValueError, IndexError, TypeError):
        return False
    if value.size > MOST_VALUES or value.ndim > 2 or np.any(np.abs(value) > np.iinfo(np.int32).max):
        return False
    data = np.frombuffer(value.astype(dtype).tobytes(), np.uint8)
    tensors[op.outputs[0]] = replace(tensors[op.outputs[0]], shape=value.shape, data=data, refused="" if value.size else "empty")
    return True


def _strided(options: Mapping[str, Any], x: np.ndarray, begin: np.ndarray, end: np.ndarray, step: np.ndarray) -> np.ndarray:
    if x.ndim != 1 or begin.size != 1 or options["EllipsisMask"] or options["NewAxisMask"]:
        raise ValueError("not a vector")
    start, stop, stride = int(begin[0]), int(end[0]), int(step[0])
    if options["ShrinkAxisMask"]:
        return x[start]
    return x[slice(None if options["BeginMask"] else start, None if options["EndMask"] else stop, stride)]


def _pick(options: Mapping[str, Any], x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    if options["Axis"] != 0 or options["BatchDims"] != 0:
        raise ValueError("another axis")
    return x[indices]


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "SHAPE": lambda options, shape: shape,
    "GATHER": _pick,
    "REDUCE_PROD": lambda options, x, axes: np.prod(x, axis=tuple(int(a) for a in axes.ravel()), keepdims=bool(options["KeepDims"])),
    "CONCATENATION": lambda options, *parts: np.concatenate(parts, axis=options["Axis"]),
    "PACK": lambda options, *parts: np.stack(parts, axis=options["Axis"]),
    "STRIDED_SLICE": _strided,
    "CAST": lambda options, x: x,
    "RESHAPE": lambda options, x, shape: x.reshape([int(d) for d in shape.ravel()]),
    "SQUEEZE": lambda options, x: x.reshape(() if x.size == 1 else -1),
    "EXPAND_DIMS": lambda options, x, axis: np.expand_dims(x, int(axis.ravel()[0])),
    "ADD": lambda options, a, b: a + b,
    "SUB": lambda options, a, b: a - b,
    "MUL": lambda options, a, b: a * b,
    "FLOOR_DIV": lambda options, a, b: a // b if np.all(b > 0) else [],
    "MAXIMUM": lambda options, a, b: np.maximum(a, b),
    "MINIMUM": lambda options, a, b: np.minimum(a, b),
}


def _new_shape(op: FileOperator, tensors: list[FileTensor], moved: set[int]) -> tuple[int, ...] | None:
    """The output's shape where the file cannot have known it: behind a reshape to a computed shape, until one that it did know."""
    if len(op.outputs) != 1 or not op.inputs or op.inputs[0] < 0:
        return None
    x = tensors[op.inputs[0]].shape
    if op.kind == "RESHAPE":
        wanted = _values(op.inputs[1], tensors) if len(op.inputs) == 2 else None
        return None if wanted is None or wanted.ndim != 1 else _resolved([int(d) for d in wanted], math.prod(x))
    if not moved.intersection(op.inputs):
        return None
    if op.kind == "FULLY_CONNECTED" and len(op.inputs) > 1 and len(weight := tensors[op.inputs[1]].shape) == 2:
        if op.options["KeepNumDims"]:
            return (*x[:-1], weight[0])
        return (math.prod(x) // max(weight[1], 1), weight[0])
    if op.kind in _ELEMENTWISE:
        try:
            return np.broadcast_shapes(*(tensors[number].shape for number in op.inputs if number >= 0))
        except ValueError:
            return None
    return None


def _resolved(wanted: list[int], elements: int) -> tuple[int, ...] | None:
    """``wanted`` with its one −1 filled in; None where that does not come out."""
    known = math.prod(d for d in wanted if d != -1)
    if wanted.count(-1) == 1 and known > 0 and elements % known == 0:
        wanted = [elements // known if d == -1 else d for d in wanted]
    return tuple(wanted) if min(wanted, default=1) > 0 and math.prod(wanted) == elements else None


def _dilated(operators: list[FileOperator], tensors: list[FileTensor]) -> list[FileOperator]:
    """Convolutions between space-to-batch and batch-to-space, each as the one dilated convolution that it is."""
    readers: dict[int, int] = {}
    for op in operators:
        for number in op.inputs:
            readers[number] = readers.get(number, 0) + 1
    result: list[FileOperator] = []
    for op in operators:
        before = result[-2:]
        merged = None
        if op.kind == "BATCH_TO_SPACE_ND" and [b.kind for b in before[:1]] == ["SPACE_TO_BATCH_ND"] and len(before) == 2:
            alone = all(readers.get(b.outputs[0]) == 1 for b in before if b.outputs)
            merged = _merge(before[0], before[1], op, tensors) if alone else None
        if merged is not None:
            result[-2:] = [merged]
        else:
            result.append(op)
    return result


def _merge(spread: FileOperator, conv: FileOperator, gather: FileOperator, tensors: list[FileTensor]) -> FileOperator | None:
    if conv.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D") or len(spread.inputs) != 3 or len(gather.inputs) != 3:
        return None
    chained = (spread.outputs, conv.outputs) == (conv.inputs[:1], gather.inputs[:1])
    block, pads, again, crops = (_values(number, tensors) for number in (*spread.inputs[1:], *gather.inputs[1:]))
    plain = all(conv.options[name] == 1 for name in ("StrideH", "StrideW", "DilationHFactor", "DilationWFactor", "Padding"))
    if block is None or pads is None or again is None or crops is None or not chained or not plain:
        return None
    if block.shape != (2,) or pads.shape != (2, 2) or crops.shape != (2, 2) or not np.array_equal(block, again):
        return None
    amounts = (int(pads[0, 0]), int(pads[0, 1] - crops[0, 1]), int(pads[1, 0]), int(pads[1, 1] - crops[1, 1]))
    if crops[:, 0].any() or min(amounts) < 0 or min(block) < 1:
        return None
    options = {**conv.options, "DilationHFactor": int(block[0]), "DilationWFactor": int(block[1]), "Amounts": amounts}
    return FileOperator(conv.kind, (spread.inputs[0], *conv.inputs[1:]), gather.outputs, options)
