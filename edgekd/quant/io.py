"""A QuantGraph on disk: ``graph.json`` (operators, tensors, metadata) and ``weights.safetensors`` (constants, scales, zero points).

Scales lie in the safetensors file as float32, so they come back bit for bit. The same graph gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from edgekd.errors import InputError
from edgekd.quant.graph import STORAGE, QuantGraph, Quantization, Tensor
from edgekd.quant.ops import OPS, Op
from edgekd.runs import atomic_write

SCHEMA_VERSION = 1
GRAPH, WEIGHTS = "graph.json", "weights.safetensors"
#: More elements than any tensor of an edge device; keeps a hostile shape from costing memory or time.
LARGEST = 1 << 31
_KEYS = {"schema_version", "name", "layout", "inputs", "outputs", "operators", "tensors", "metadata", "weights_sha256"}
_DATA, _SCALE, _ZERO = "data/", "scale/", "zero_point/"


def save(graph: QuantGraph, folder: Path) -> None:
    """Write the graph into ``folder``, which is made if need be; each file is replaced at once, the weights first.

    Raises InputError if the folder cannot be written or the metadata is not JSON.
    """
    text, weights = _encode(graph)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / WEIGHTS, weights)
        atomic_write(folder / GRAPH, text)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", where=str(folder), expected="a folder that can be written") from error


def load(folder: Path) -> QuantGraph:
    """The graph in ``folder``. Raises InputError for a file that is missing, damaged, of another version or not consistent."""
    where = str(folder / GRAPH)
    body = _object(_parse(_read(folder / GRAPH), where), where)
    version = body.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise InputError(f"schema_version is {version!r}", where=where, expected=str(SCHEMA_VERSION), mend="edgekd build … makes it anew")
    if set(body) != _KEYS:
        raise InputError(f"keys {sorted(set(body) ^ _KEYS)} are missing or unknown", where=where, expected=", ".join(sorted(_KEYS)))
    raw = _read(folder / WEIGHTS)
    if hashlib.sha256(raw).hexdigest() != body["weights_sha256"]:
        raise InputError("is not the file that graph.json was written with", where=str(folder / WEIGHTS), expected="both files of one save")
    try:
        arrays = safetensors.load(raw)
    except (SafetensorError, KeyError, ValueError, OverflowError) as error:
        raise InputError(f"is damaged ({error})", where=str(folder / WEIGHTS), expected="a safetensors file") from error
    left = dict(arrays)
    tensors = {t.name: t for t in (_tensor(row, left, where) for row in _list(body["tensors"], "tensors", where))}
    if len(tensors) != len(body["tensors"]):
        raise InputError("two tensors have one name", where=where, expected="each name once")
    if left:
        raise InputError(f"{min(left)!r} belongs to no tensor", where=str(folder / WEIGHTS), expected=f"what {GRAPH} names")
    ops = tuple(_operator(row, where) for row in _list(body["operators"], "operators", where))
    if len({op.name for op in ops}) != len(ops):
        raise InputError("two operators have one name", where=where, expected="each name once")
    if body["layout"] not in ("channels_last", "channels_first"):
        raise InputError(f"layout is {body['layout']!r}", where=where, expected="channels_last or channels_first")
    name, inputs, outputs = (_typed(body[key], hint, key, where) for key, hint in (("name", str), ("inputs", _NAMES), ("outputs", _NAMES)))
    return QuantGraph(name, body["layout"], tensors, ops, inputs, outputs, _object(body["metadata"], where, "metadata"))


def fingerprint(graph: QuantGraph) -> str:
    """SHA-256 of everything in the graph: names, operators, weights, scales, metadata."""
    return hashlib.sha256(_encode(graph)[0]).hexdigest()


def _encode(graph: QuantGraph) -> tuple[bytes, bytes]:
    arrays: dict[str, np.ndarray] = {}
    rows: list[dict[str, Any]] = []
    for tensor in graph.tensors.values():
        row: dict[str, Any] = {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape), "constant": tensor.is_constant}
        if tensor.data is not None:
            arrays[_DATA + tensor.name] = np.asarray(tensor.data, order="C")  # ascontiguousarray would give a scalar an axis
        if tensor.quantization is not None:
            row["quantization"] = {"axis": tensor.quantization.axis}
            arrays[_SCALE + tensor.name] = np.ascontiguousarray(tensor.quantization.scale)
            arrays[_ZERO + tensor.name] = np.ascontiguousarray(tensor.quantization.zero_point)
        rows.append(row)
    weights = safetensors.save({name: arrays[name] for name in sorted(arrays)})
    body = {
        "schema_version": SCHEMA_VERSION,
        "name": graph.name,
        "layout": graph.layout,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "operators": [{"kind": type(op).__name__, **{f.name: getattr(op, f.name) for f in fields(op)}} for op in graph.ops],
        "tensors": rows,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "metadata": dict(graph.metadata),
    }
    try:
        text = json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise InputError(f"the metadata is not JSON ({error})", where=f"graph {graph.name}", expected="text, numbers, lists") from error
    return text.encode(), weights


def _tensor(row: Any, left: dict[str, np.ndarray], where: str) -> Tensor:
    row = _object(row, where, "a tensor")
    if not {"name", "dtype", "shape", "constant"} <= set(row) <= {"name", "dtype", "shape", "constant", "quantization"}:
        raise InputError(f"a tensor has the keys {sorted(row)}", where=where, expected="name, dtype, shape, constant, perhaps quantization")
    name = _typed(row["name"], str, "a tensor's name", where)
    where = f"{where}, tensor {name}"
    shape = _typed(row["shape"], tuple[int, ...], "shape", where)
    if any(size < 1 for size in shape) or math.prod(shape) > LARGEST:
        raise InputError(f"shape {list(shape)}", where=where, expected=f"positive sizes, {LARGEST} elements at most")
    dtype = _typed(row["dtype"], str, "dtype", where)
    if dtype not in STORAGE:
        raise InputError(f"dtype {dtype!r}", where=where, expected=", ".join(STORAGE))
    data = _take(left, _DATA + name, where) if _typed(row["constant"], bool, "constant", where) else None
    quantization = None
    if "quantization" in row:
        axis = _object(row["quantization"], where, "quantization").get("axis")
        if axis is not None and (_typed(axis, int, "axis", where) < 0):
            raise InputError(f"axis {axis}", where=where, expected="0 or more, or null")
        quantization = Quantization(_take(left, _SCALE + name, where), _take(left, _ZERO + name, where), axis)
    return Tensor(name, dtype, shape, quantization, data)


def _take(left: dict[str, np.ndarray], key: str, where: str) -> np.ndarray:
    if key not in left:
        raise InputError(f"{WEIGHTS} has no {key!r}", where=where, expected="both files as they were written together")
    return left.pop(key)


def _operator(row: Any, where: str) -> Op:
    row = _object(row, where, "an operator")
    kind = row.get("kind")
    cls = OPS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise InputError(f"operator kind {kind!r}", where=where, expected=", ".join(OPS))
    where = f"{where}, operator {row.get('name')!r}"
    hints = get_type_hints(cls)
    names = {f.name for f in fields(cls)}
    if set(row) != names | {"kind"}:
        raise InputError(
            f"keys {sorted(set(row) ^ (names | {'kind'}))} are missing or unknown", where=where, expected=", ".join(sorted(names))
        )
    return cls(**{name: _typed(row[name], hints[name], name, where) for name in names})


_NAMES = tuple[str, ...]


def _typed(value: Any, hint: Any, what: str, where: str) -> Any:
    """``value`` of JSON as the annotation ``hint`` wants it: lists become tuples, nothing else is converted."""
    origin, arguments = get_origin(hint), get_args(hint)
    wrong = InputError(
        f"{what} is {json.dumps(value)[:80]}", where=where, expected=str(getattr(hint, "__name__", hint)).replace("typing.", "")
    )
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise InputError(wrong.what, where=where, expected=", ".join(map(str, arguments)))
        return value
    if origin is tuple:
        if not isinstance(value, list) or (arguments[-1] is not ... and len(value) != len(arguments)):
            raise wrong
        inner = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        return tuple(_typed(item, part, what, where) for item, part in zip(value, inner, strict=True))
    if type(value) is not hint:
        raise wrong
    if hint is int and abs(value) > LARGEST:
        raise InputError(f"{what} is {value}", where=where, expected=f"at most {LARGEST}")
    return value


def _object(value: Any, where: str, what: str = "the file") -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{what} is a {type(value).__name__}", where=where, expected="a JSON object")
    return value


def _list(value: Any, what: str, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{what} is a {type(value).__name__}", where=where, expected="a JSON list")
    return value


def _parse(raw: bytes, where: str) -> Any:
    try:
        found = json.loads(raw)
        json.dumps(found, ensure_ascii=False).encode()  # half of a surrogate pair is no text that could be written again
        return found
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON ({error})", where=where, expected="graph.json as edgekd writes it") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(path), expected="a graph that edgekd has saved") from error
