"""TFLite file → QuantGraph, channels last: int8, uint8 (shifted to int8), 16x8, int4 weights, float16 and float32.

What the file holds is kept: integers, scales, and names where they are unique. Left out are operators that nothing needs (the shape
arithmetic of dynamic batches among them), DEQUANTIZE of constants, and QUANTIZE and DEQUANTIZE at the borders: the graph's input is
what the first kernel reads. ``metadata`` holds the file's own document, if edgekd made it, and under "source" what was changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgekd.errors import InputError
from edgekd.importers import tflite_ops, tflite_shape
from edgekd.importers.check import FLOATS, check
from edgekd.importers.tflite_build import Build
from edgekd.importers.tflite_static import make_static
from edgekd.importers.tflite_tables import File, FileOperator, parse, read_file
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Tensor

READERS = {**tflite_ops.READERS, **tflite_shape.READERS}
#: Inputs that decide the output's values; others only say what its shape is, which is known by then.
_DATA_INPUTS = {"RESHAPE": slice(1), "SQUEEZE": slice(1), "EXPAND_DIMS": slice(1), "TRANSPOSE_CONV": slice(1, None)}


def read(path: Path) -> QuantGraph:
    """The graph of ``path``. Raises InputError, naming the operator, for a file that is damaged, hostile or holds what is not supported."""
    return convert(read_file(path), path.stem, str(path))


def read_bytes(content: bytes, name: str = "model") -> QuantGraph:
    """The graph of a file's bytes; raises as read() does."""
    return convert(parse(content, name), name, name)


def convert(file: File, name: str, where: str) -> QuantGraph:
    """The graph of an opened file."""
    if len(file.inputs) != 1 or not file.outputs or len(set(file.outputs)) != len(file.outputs):
        said = f"{len(file.inputs)} inputs, {len(file.outputs)} outputs" + (
            ", one of them twice" * (len(file.inputs) == 1 < len(file.outputs))
        )
        raise InputError(said, where=where, expected="one input, and each output once")
    file = make_static(file)
    build = Build(file, where)
    if build.is_constant(file.inputs[0]) or build.lifted(file.inputs[0]):
        raise InputError(
            f"input of shape {list(build.entry(file.inputs[0]).shape)}", where=where, expected="a batch of 1 (or a dynamic one) first"
        )
    build.read(file.inputs[0])
    for op in _needed(file):
        if _folded(build, op):
            continue
        reader = READERS.get(op.kind)
        if reader is None:
            raise build.refuse(op, f"{op.kind} is not supported", ", ".join(sorted(READERS)))
        try:
            reader(build, op)
        except InputError as error:
            if error.where.startswith(where):
                raise
            raise InputError(
                error.what, where=build.refuse(op, "", "").where, expected=error.expected, mend=error.mend
            ) from error  # the operator that was to be made has no name yet; the file's has
    first, outputs, chosen, border = _without_borders(build)
    used = {name for op in chosen for name in (*op.inputs, *op.outputs)} | {first, *outputs}
    tensors = {name: tensor for name, tensor in build.tensors.items() if name in used}
    metadata: dict[str, Any] = {**file.document, "source": {"format": "tflite", **border, "notes": build.notes}}
    return check(QuantGraph(name, "channels_last", tensors, tuple(chosen), (first,), outputs, metadata), where)


def _needed(file: File) -> list[FileOperator]:
    """Operators that the outputs depend on, in the order in which they run."""
    wanted, needed = set(file.outputs), []
    for op in reversed(file.operators):
        if wanted.intersection(op.outputs):
            needed.append(op)
            wanted.update(op.inputs[_DATA_INPUTS.get(op.kind, slice(None))])
    return needed[::-1]


def _folded(build: Build, op: FileOperator) -> bool:
    """Whether ``op`` dequantizes or moves constants, and so is one itself: float16 stays float16, integers become float32."""
    if op.kind not in ("DEQUANTIZE", "RESHAPE") or not op.inputs or op.inputs[0] < 0 or not build.is_constant(op.inputs[0]):
        return False
    if len(op.outputs) != 1 or build.file.tensors[op.outputs[0]].data is not None:
        raise build.refuse(op, f"{len(op.outputs)} outputs, or one that is constant", "one")
    tensor = build.constant(op.inputs[0])
    name, data, shape = build.name(op.outputs[0]), np.asarray(tensor.data), build.entry(op.outputs[0]).shape
    if data.size != np.prod(shape, dtype=np.int64) or (op.kind == "DEQUANTIZE" and data.shape != shape):
        raise build.refuse(op, f"{list(data.shape)} to {list(shape)}", "as many values")
    if op.kind == "RESHAPE":
        quantization = tensor.quantization if tensor.quantization is None or tensor.quantization.axis is None else None
        build.fold(op.outputs[0], Tensor(name, tensor.dtype, shape, quantization, data.reshape(shape)))
        return True
    if tensor.dtype in FLOATS:
        build.fold(op.outputs[0], Tensor(name, tensor.dtype, shape, None, data))
        return True
    if tensor.quantization is None:
        raise build.refuse(op, f"{tensor.name!r} has no scale", "a quantized constant")
    scale, zero = tensor.quantization.scale, tensor.quantization.zero_point
    if tensor.quantization.axis is not None:
        along = tuple(-1 if i == tensor.quantization.axis else 1 for i in range(len(shape)))
        scale, zero = scale.reshape(along), zero.reshape(along)
    build.fold(op.outputs[0], Tensor(name, "float32", shape, None, (data.astype(np.float32) - zero) * scale))
    return True


def _without_borders(build: Build) -> tuple[str, tuple[str, ...], list[ops.Op], dict[str, Any]]:
    """Input, outputs and operators without what only converts at the borders, and what types the borders had."""
    first, outputs = build.read(build.file.inputs[0]), [build.read(number) for number in build.file.outputs]
    types = [build.entry(number).type.lower() for number in (build.file.inputs[0], *build.file.outputs)]
    border = {"input_dtype": types[0], "output_dtype": types[1] if len(outputs) == 1 else types[1:]}
    chosen = list(build.ops)
    readers = [op for op in chosen if first in op.inputs]
    if len(readers) == 1 and first not in outputs and _converts(build, readers[0]):
        chosen.remove(readers[0])
        first = readers[0].outputs[0]
    for at, last in enumerate(outputs):
        makers = [op for op in chosen if last in op.outputs]
        if not makers or any(last in op.inputs for op in chosen) or not _converts(build, makers[0]):
            continue
        if makers[0].inputs[0] not in (first, *outputs):
            chosen.remove(makers[0])
            outputs[at] = makers[0].inputs[0]
    return first, tuple(outputs), chosen, border


def _converts(build: Build, op: ops.Op) -> bool:
    """Whether the operator only changes between floats and integers, or between integers of the same meaning (uint8 and int8)."""
    if not isinstance(op, (ops.Quantize, ops.Dequantize)):
        return False
    x, y = build.tensors[op.inputs[0]], build.tensors[op.outputs[0]]
    if (x.dtype in FLOATS) != (y.dtype in FLOATS):
        return x.shape == y.shape
    if x.quantization is None or y.quantization is None or x.dtype != y.dtype:
        return False
    return x.quantization.single == y.quantization.single
