"""An ONNX file as plain data: nodes with their attributes, constants as NumPy arrays, inputs and outputs. Nothing in it is trusted.

Nothing is allocated from a size that the file merely states: a constant's bytes must be there, in the file or in one of external data that
lies in the same folder. Format: onnx.proto of ONNX 1.23 (2026).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto

from edgekd.errors import InputError

#: Larger graphs, tensors and ranks are no edge model, and keep a hostile file from costing memory or time.
NODES, LARGEST, RANK = 100_000, 1 << 31, 8
DOMAINS = ("", "ai.onnx", "com.microsoft")
_P = TensorProto
#: Element type → (NumPy type of the raw bytes, field for values that are not raw).
TYPES: Mapping[int, tuple[str, str]] = {
    _P.FLOAT: ("<f4", "float_data"), _P.DOUBLE: ("<f8", "double_data"), _P.FLOAT16: ("<f2", "int32_data"),
    _P.BFLOAT16: ("<u2", "int32_data"), _P.INT8: ("i1", "int32_data"), _P.UINT8: ("u1", "int32_data"),
    _P.INT16: ("<i2", "int32_data"), _P.UINT16: ("<u2", "int32_data"), _P.INT32: ("<i4", "int32_data"),
    _P.INT64: ("<i8", "int64_data"), _P.UINT32: ("<u4", "uint64_data"), _P.UINT64: ("<u8", "uint64_data"),
    _P.BOOL: ("?", "int32_data"), _P.INT4: ("i1", "int32_data"), _P.UINT4: ("u1", "int32_data"),
}  # fmt: skip
NIBBLES = (_P.INT4, _P.UINT4)


@dataclass(frozen=True, eq=False)
class Node:
    """One operator. An input that is left out is ''. ``place`` is what messages call it."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    @property
    def place(self) -> str:
        return f"{self.kind} {self.name}"

    def refuse(self, what: str, expected: str = "", mend: str = "") -> InputError:
        return InputError(what, where=self.place, expected=expected, mend=mend)


@dataclass(frozen=True, eq=False)
class Value:
    """An input of the file: element type and sizes, None where they are free."""

    name: str
    element: int
    shape: tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Model:
    """What a file holds. ``nibbles`` are the constants of 4 bits, one value a byte; ``opset`` is that of the standard operators."""

    name: str
    opset: int
    nodes: tuple[Node, ...]
    constants: Mapping[str, np.ndarray]
    nibbles: Mapping[str, str]
    inputs: tuple[Value, ...]
    outputs: tuple[str, ...]
    properties: Mapping[str, str]
    producer: str


def load(path: Path) -> Model:
    """Parse ``path``. Raises InputError for a file that is missing, damaged, or holds what no edge model has (control flow, functions)."""
    where = str(path)
    try:
        proto = onnx.ModelProto.FromString(path.read_bytes())
        graph = proto.graph
    except (OSError, DecodeError) as error:
        raise InputError(f"not an ONNX file ({error})", where=where, expected="an ONNX model") from error
    if not graph.node or not graph.output:
        raise InputError("it holds no operators or no outputs", where=where, expected="an ONNX model")
    if len(graph.node) > NODES:
        raise InputError(f"{len(graph.node)} operators", where=where, expected=f"at most {NODES}")
    if graph.sparse_initializer:
        raise InputError("sparse constants", where=where, expected="dense constants")
    constants, nibbles = {}, {}
    for tensor in graph.initializer:
        if tensor.name in constants:
            raise InputError(f"two constants are named {tensor.name!r}", where=where)
        constants[tensor.name] = array_of(tensor, path.parent)
        if tensor.data_type in NIBBLES:
            nibbles[tensor.name] = _P.DataType.Name(tensor.data_type)
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions or not 7 <= versions[0] <= 1000:
        raise InputError(f"operator set {versions}", where=where, expected="one of ONNX, 7 or later")
    nodes = tuple(_node(node, at, path.parent) for at, node in enumerate(graph.node))
    inputs = tuple(_value(value, where) for value in graph.input if value.name not in constants)
    producer = f"{proto.producer_name} {proto.producer_version}".strip()
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    return Model(graph.name, versions[0], nodes, constants, nibbles, inputs, tuple(v.name for v in graph.output), properties, producer)


def _value(value: onnx.ValueInfoProto, where: str) -> Value:
    if value.type.WhichOneof("value") != "tensor_type" or not value.type.tensor_type.HasField("shape"):
        raise InputError(f"input {value.name!r} is no tensor of known rank", where=where, expected="tensors with a shape")
    dims = value.type.tensor_type.shape.dim
    if len(dims) > RANK:
        raise InputError(f"input {value.name!r} has rank {len(dims)}", where=where, expected=f"at most {RANK}")
    shape = tuple(d.dim_value if d.WhichOneof("value") == "dim_value" and d.dim_value > 0 else None for d in dims)
    return Value(value.name, value.type.tensor_type.elem_type, shape)


def _node(node: onnx.NodeProto, at: int, folder: Path) -> Node:
    name = node.name or (node.output[0] if node.output else str(at))
    where = f"{node.op_type} {name}"
    if node.domain not in DOMAINS:
        raise InputError(
            f"an operator of domain {node.domain!r}",
            where=where,
            expected="standard operators, or com.microsoft's",
            mend="inline functions",
        )
    if not node.output or not node.output[0]:
        raise InputError("an operator without an output", where=where, expected="at least one")
    attributes = {a.name: _attribute(a, where, folder) for a in node.attribute}
    return Node(node.op_type, name, tuple(node.input), tuple(node.output), attributes)


def _attribute(attribute: onnx.AttributeProto, where: str, folder: Path) -> Any:
    kind = attribute.type
    if kind == AttributeProto.TENSOR:
        if attribute.t.data_type in NIBBLES:
            raise InputError("a constant of 4 bits as an attribute", where=where, expected="an initializer")
        return array_of(attribute.t, folder)
    plain = {AttributeProto.FLOAT: "f", AttributeProto.INT: "i", AttributeProto.FLOATS: "floats", AttributeProto.INTS: "ints"}
    if kind in plain:
        found = getattr(attribute, plain[kind])
        return found if kind in (AttributeProto.FLOAT, AttributeProto.INT) else tuple(found)
    if kind in (AttributeProto.STRING, AttributeProto.STRINGS):
        return (
            attribute.s.decode(errors="replace")
            if kind == AttributeProto.STRING
            else tuple(s.decode(errors="replace") for s in attribute.strings)
        )
    raise InputError(f"attribute {attribute.name!r} holds a graph or another thing of type {kind}", where=where, expected="no control flow")


def array_of(tensor: onnx.TensorProto, folder: Path) -> np.ndarray:
    """The constant as an array, read-only, a view of the file's bytes where it can be; bfloat16 as float32, 4 bits as a byte each.

    Raises InputError where type, sizes and bytes do not agree, or external data lies outside of ``folder``.
    """
    where = f"constant {tensor.name!r}"
    if tensor.data_type not in TYPES:
        raise InputError(f"element type {tensor.data_type}", where=where, expected="numbers of 4 to 64 bits")
    dims = tuple(tensor.dims)
    if len(dims) > RANK or any(d < 0 for d in dims) or math.prod(dims) > LARGEST:
        raise InputError(f"shape {list(dims)}", where=where, expected=f"sizes ≥ 0, at most {RANK} of them and {LARGEST} values")
    count = math.prod(dims)
    code, field = TYPES[tensor.data_type]
    dtype = np.dtype(code)
    size = (count + 1) // 2 if tensor.data_type in NIBBLES else count * dtype.itemsize
    if tensor.data_location == _P.EXTERNAL:
        raw = _external(tensor.external_data, folder, size, where)
    elif tensor.HasField("raw_data"):
        raw = tensor.raw_data
    else:
        raw = _typed(getattr(tensor, field), dtype, size, tensor.data_type, where)
    if len(raw) != size:
        raise InputError(f"{len(raw)} bytes of data for shape {list(dims)}", where=where, expected=f"{size} bytes")
    flat = np.frombuffer(raw, dtype)
    if tensor.data_type in NIBBLES:
        flat = _unpack(flat.view(np.uint8), count, signed=tensor.data_type == _P.INT4)
    elif tensor.data_type == _P.BFLOAT16:
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    return flat.reshape(dims)


def _typed(values: Sequence[Any], dtype: np.dtype, size: int, element: int, where: str) -> bytes:
    if len(values) * (1 if element in NIBBLES else dtype.itemsize) != size:
        raise InputError(f"{len(values)} values", where=where, expected=f"{size // dtype.itemsize}, as its shape says")
    if element == _P.FLOAT16 or element in NIBBLES:
        dtype = np.dtype("<u2" if element == _P.FLOAT16 else "u1")
    wide = np.array(values, np.float64 if dtype.kind == "f" else np.uint64 if element in (_P.UINT32, _P.UINT64) else np.int64)
    return wide.astype(dtype).tobytes()


def _unpack(packed: np.ndarray, count: int, *, signed: bool) -> np.ndarray:
    nibbles = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)[:count].astype(np.int8)
    return np.where(nibbles > 7, nibbles - 16, nibbles).astype(np.int8) if signed else nibbles.astype(np.uint8)


def _external(entries: Sequence[Any], folder: Path, size: int, where: str) -> bytes | np.ndarray:
    """The bytes that external data names; a map of the file, so that only what is used is read."""
    found = {entry.key: entry.value for entry in entries}
    folder = folder.resolve()
    try:
        path = (folder / found.get("location", "")).resolve()
        offset = int(found.get("offset", "0"))
        length = int(found.get("length", str(size)))
        if not path.is_relative_to(folder) or not path.is_file():
            raise InputError(
                f"its data is in {found.get('location')!r}", where=where, expected="a file in the model's own folder", mend="copy it there"
            )
        if offset < 0 or length != size or offset + size > path.stat().st_size:
            raise InputError(
                f"bytes {offset} to {offset + length} of {path.name}, which has {path.stat().st_size}",
                where=where,
                expected=f"{size} bytes",
            )
        return np.memmap(path, np.uint8, "r", offset, (size,)) if size else b""
    except (ValueError, OSError) as error:
        raise InputError(f"its external data cannot be read ({error})", where=where, expected="location, offset and length") from error
