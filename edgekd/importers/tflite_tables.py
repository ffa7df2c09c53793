"""A TFLite file as plain nouns, read with every count, index and size checked before it is followed.

The flatbuffer's generated accessors believe every offset. Python then raises rather than reads elsewhere, so memory is safe; what has to be
bounded is work: vectors that claim billions of entries, a thousand tensors that share one large vector, text without end. Buffers
stay views of the file's bytes and are never copied here.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekd.errors import InputError

#: A flatbuffer's own limit.
LARGEST_FILE = (1 << 31) - 1
MOST_TENSORS, MOST_OPERATORS, MOST_OPERANDS = 65_536, 16_384, 512
HIGHEST_RANK, LARGEST_TENSOR, LONGEST_NAME, LARGEST_DOCUMENT = 8, 1 << 28, 1024, 1 << 20
#: The document that edgekd's exporter leaves in a file.
METADATA_NAME = "edgekd"

#: What a damaged flatbuffer makes the accessors raise.
_DAMAGE = (struct.error, ValueError, IndexError, TypeError, OverflowError, AttributeError, AssertionError)
_KINDS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
_TYPES = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
_WINDOW = "Padding StrideH StrideW FusedActivationFunction"
_POOL = ("Pool2DOptions", f"{_WINDOW} FilterHeight FilterWidth")
_RESIZE = "AlignCorners HalfPixelCenters"
_REDUCER = ("ReducerOptions", "KeepDims")
#: Kind of operator → its table of options and the fields that decide what it computes. Kinds without an entry have none.
OPTIONS: Mapping[str, tuple[str, str]] = {
    "CONV_2D": ("Conv2DOptions", f"{_WINDOW} DilationHFactor DilationWFactor"),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", f"{_WINDOW} DilationHFactor DilationWFactor DepthMultiplier"),
    "TRANSPOSE_CONV": ("TransposeConvOptions", _WINDOW),
    "FULLY_CONNECTED": ("FullyConnectedOptions", "FusedActivationFunction WeightsFormat KeepNumDims"),
    "BATCH_MATMUL": ("BatchMatMulOptions", "AdjX AdjY"),
    "AVERAGE_POOL_2D": _POOL,
    "MAX_POOL_2D": _POOL,
    "MEAN": _REDUCER,
    "SUM": _REDUCER,
    "REDUCE_MAX": _REDUCER,
    "REDUCE_PROD": _REDUCER,
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", _RESIZE),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", _RESIZE),
    "ADD": ("AddOptions", "FusedActivationFunction PotScaleInt16"),
    "SUB": ("SubOptions", "FusedActivationFunction PotScaleInt16"),
    "MUL": ("MulOptions", "FusedActivationFunction"),
    "LEAKY_RELU": ("LeakyReluOptions", "Alpha"),
    "GELU": ("GeluOptions", "Approximate"),
    "SOFTMAX": ("SoftmaxOptions", "Beta"),
    "CONCATENATION": ("ConcatenationOptions", "Axis FusedActivationFunction"),
    "PACK": ("PackOptions", "Axis"),
    "UNPACK": ("UnpackOptions", "Axis"),
    "GATHER": ("GatherOptions", "Axis BatchDims"),
    "STRIDED_SLICE": ("StridedSliceOptions", "BeginMask EndMask EllipsisMask NewAxisMask ShrinkAxisMask Offset"),
}
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class FileTensor:
    """``data`` is the raw bytes of a constant (uint8, a view), None for an activation. ``refused`` says why it cannot be used, if so."""

    name: str
    type: str
    shape: tuple[int, ...]
    scale: np.ndarray | None
    zero_point: np.ndarray | None
    axis: int
    data: np.ndarray | None
    refused: str = ""


@dataclass(frozen=True)
class FileOperator:
    """``kind`` is the name of the builtin, or "custom NAME"; inputs are tensor numbers, −1 for none."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class File:
    """One subgraph. Every number of a tensor is within range. ``document`` is edgekd's own metadata, {} where there is none."""

    tensors: tuple[FileTensor, ...]
    operators: tuple[FileOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    document: Mapping[str, Any]
    size: int


def read_file(path: Path) -> File:
    """Raises InputError for what is no TFLite file, is damaged, or is larger than any limit above."""
    try:
        with open(path, "rb") as stream:
            head, size = stream.read(8), os.fstat(stream.fileno()).st_size
            if head[4:8] != b"TFL3" or size > LARGEST_FILE:
                what = f"{size} bytes" if head[4:8] == b"TFL3" else "not a TFLite file"
                raise InputError(what, where=str(path), expected=f"a .tflite file of at most {LARGEST_FILE} bytes")
            stream.seek(0)
            content = stream.read(size)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(path), expected="a .tflite file") from error
    return parse(content, str(path))


def parse(content: bytes, where: str) -> File:
    """The file's bytes → nouns."""
    if len(content) < 16 or content[4:8] != b"TFL3":
        raise InputError("not a TFLite file", where=where, expected="a .tflite file")
    try:
        return _Parser(content, where).file()
    except _DAMAGE as error:
        raise InputError(f"damaged: {error}", where=where, expected="a whole TFLite file") from error


class _Parser:
    """Final. Reads one file."""

    def __init__(self, content: bytes, where: str) -> None:
        self._content, self._where = content, where
        self._model = schema.Model.GetRootAs(content, 0)

    def file(self) -> File:
        model = self._model
        if (count := model.SubgraphsLength()) != 1:
            raise self._refuse(f"{count} subgraphs", "one: control flow is not supported")
        graph = self._there(model.Subgraphs(0), "subgraph")
        tensors = self._count(graph.TensorsLength(), MOST_TENSORS, "tensors")
        operators = self._count(graph.OperatorsLength(), MOST_OPERATORS, "operators")
        inputs = self._numbers(graph.InputsLength(), graph.InputsAsNumpy, tensors, "input", none=False)
        outputs = self._numbers(graph.OutputsLength(), graph.OutputsAsNumpy, tensors, "output", none=False)
        return File(
            tuple(self._tensor(self._there(graph.Tensors(i), f"tensor {i}"), i) for i in range(tensors)),
            tuple(self._operator(self._there(graph.Operators(i), f"operator {i}"), i, tensors) for i in range(operators)),
            inputs,
            outputs,
            self._document(),
            len(self._content),
        )

    def _tensor(self, tensor: Any, number: int) -> FileTensor:
        what = f"tensor {number}"
        raw: Any = tensor.Name() or b""
        name = raw[:LONGEST_NAME].decode("utf-8", "replace").replace("\0", "")
        rank = self._count(tensor.ShapeLength(), HIGHEST_RANK, f"axes of {what}")
        shape = [int(d) for d in tensor.ShapeAsNumpy()] if rank else []
        if shape and shape[0] in (-1, 0):  # a dynamic batch
            shape[0] = 1
        refused = ""
        elements = 1
        for size in shape:
            elements *= size if size > 0 else LARGEST_TENSOR + 1
        if elements > LARGEST_TENSOR:
            refused = f"shape {shape}"
        if tensor.IsVariable():
            refused = "a variable, which keeps its value from one inference to the next"
        if tensor.Sparsity() is not None:
            refused = "sparse"
        quantization = tensor.Quantization()
        scale = zero_point = None
        axis = 0
        if quantization is not None and quantization.ScaleLength():
            axis = quantization.QuantizedDimension()
            count = quantization.ScaleLength()
            if quantization.DetailsType() != 0:
                refused = "a quantization that is not affine"
            elif count != 1 and (not 0 <= axis < rank or shape[axis] != count):
                refused = f"{count} scales along axis {axis} of shape {shape}"
            else:
                scale = self._array(quantization.ScaleAsNumpy(), count, what)
                zeros = quantization.ZeroPointLength()
                if zeros not in (0, count):
                    refused = f"{zeros} zero points for {count} scales"
                elif zeros:
                    zero_point = self._array(quantization.ZeroPointAsNumpy(), count, what)
        return FileTensor(name, _TYPES.get(tensor.Type(), f"type {tensor.Type()}"), tuple(shape), scale, zero_point, axis,
                          self._buffer(tensor.Buffer(), what), refused)  # fmt: skip

    def _operator(self, operator: Any, number: int, tensors: int) -> FileOperator:
        what = f"operator {number}"
        index = operator.OpcodeIndex()
        if index >= self._model.OperatorCodesLength():
            raise self._refuse(f"{what} has opcode {index}", f"below {self._model.OperatorCodesLength()}")
        code = self._there(self._model.OperatorCodes(index), "operator code")
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        kind = _KINDS.get(builtin, f"builtin {builtin}")
        if kind == "CUSTOM":
            custom: Any = code.CustomCode() or b""
            kind = f"custom {custom[:LONGEST_NAME].decode('utf-8', 'replace')}"
        inputs = self._numbers(operator.InputsLength(), operator.InputsAsNumpy, tensors, f"input of {what}", none=True)
        outputs = self._numbers(operator.OutputsLength(), operator.OutputsAsNumpy, tensors, f"output of {what}", none=False)
        return FileOperator(kind, inputs, outputs, self._options(operator, kind, what))

    def _options(self, operator: Any, kind: str, what: str) -> dict[str, Any]:
        if kind not in OPTIONS:
            return {}
        table, fields = OPTIONS[kind]
        found, expected = operator.BuiltinOptionsType(), getattr(schema.BuiltinOptions, table)
        options = getattr(schema, table)()
        if found == 0:  # an operator without options has the schema's defaults: those of an empty table
            options.Init(b"\x04\x00\x04\x00\x04\x00\x00\x00", 4)
        elif found != expected:
            raise self._refuse(f"{what} ({kind}) has options of type {found}", f"{table}, type {expected}")
        else:
            union = self._there(operator.BuiltinOptions(), f"options of {what}")
            options.Init(union.Bytes, union.Pos)
        return {field: getattr(options, field)() for field in fields.split()}

    def _buffer(self, number: int, what: str) -> np.ndarray | None:
        """None for buffer 0 and for empty ones, which stand for "no constant"."""
        if number == 0:
            return None
        if number >= self._model.BuffersLength():
            raise self._refuse(f"{what} has buffer {number}", f"below {self._model.BuffersLength()}")
        buffer = self._there(self._model.Buffers(number), f"buffer {number}")
        if buffer.Offset() > 1:  # data that follows the flatbuffer, in files over 2 GiB
            start, size = buffer.Offset(), buffer.Size()
            if start + size > len(self._content):
                raise self._refuse(f"buffer {number} ends at {start + size}", f"within {len(self._content)} bytes")
            return np.frombuffer(self._content, np.uint8, size, start)
        count = buffer.DataLength()
        return self._array(buffer.DataAsNumpy(), count, what) if count else None

    def _document(self) -> dict[str, Any]:
        """edgekd's metadata. Another tool's file may hold anything under any name, so what cannot be read is not there."""
        for i in range(min(self._model.MetadataLength(), 64)):
            entry = self._model.Metadata(i)
            name: Any = entry.Name() if entry is not None else None
            if entry is None or name != METADATA_NAME.encode() or not 0 < entry.Buffer() < self._model.BuffersLength():
                continue
            raw = self._buffer(entry.Buffer(), "metadata")
            if raw is not None and raw.size <= LARGEST_DOCUMENT:
                try:
                    document = json.loads(raw.tobytes())
                except (ValueError, RecursionError):
                    return {}
                return document if isinstance(document, dict) else {}
        return {}

    def _numbers(self, count: int, numbers: Callable[[], Any], tensors: int, what: str, *, none: bool) -> tuple[int, ...]:
        self._count(count, MOST_OPERANDS, f"{what}s")
        found = tuple(int(n) for n in numbers()) if count else ()
        for number in found:
            if not (-1 if none else 0) <= number < tensors:
                raise self._refuse(f"{what} is tensor {number}", f"below {tensors}")
        return found

    def _count(self, count: int, most: int, what: str) -> int:
        if count > most:
            raise self._refuse(f"{count} {what}", f"at most {most}")
        return count

    def _array(self, array: Any, count: int, what: str) -> np.ndarray:
        if not isinstance(array, np.ndarray) or array.size != count:
            raise self._refuse(f"a vector of {what} cannot be read", f"{count} entries")
        return array

    def _there(self, table: T | None, what: str) -> T:
        if table is None:
            raise self._refuse(f"no {what}", "a whole TFLite file")
        return table

    def _refuse(self, what: str, expected: str) -> InputError:
        return InputError(what, where=self._where, expected=expected)
