"""QuantGraph → TFLite file: what the graph says and nothing more, so an int8 graph gets no operator that quantizes or dequantizes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekd.errors import InputError
from edgekd.export import tflite_plan
from edgekd.export.tflite_file import FileOperator, FileTensor, pack
from edgekd.export.tflite_ops import CODE, builtin
from edgekd.quant import ops
from edgekd.quant.arena import arrange
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.records import Artifact, Figure
from edgekd.runs import atomic_write

FILE_NAME = "model.tflite"
METADATA_NAME = "edgekd"
TYPES = {
    "int4": schema.TensorType.INT4,
    "int8": schema.TensorType.INT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "float16": schema.TensorType.FLOAT16,
    "float32": schema.TensorType.FLOAT32,
}
#: Which activations keep their names in the file: they take room that no runtime needs.
Names = Literal["borders", "all"]
#: Activations → the weights that go with them.
WEIGHTS = {"int8": ("int4", "int8"), "int16": ("int8",), "float16": ("float16", "float32"), "float32": ("float16", "float32")}
#: Operators that TFLite has 4-bit weights for.
FOUR_BITS = (ops.Conv2D, ops.DepthwiseConv2D, ops.FullyConnected)


def export(graph: QuantGraph, out: Path, *, names: Names = "borders") -> Artifact:
    """Write ``out``/model.tflite, atomically. Raises InputError as encode does."""
    content = encode(graph, names=names)
    atomic_write(out / FILE_NAME, content)
    figures = {"model_bytes": Figure(len(content), "B", "counted", "the file")}
    return Artifact("tflite", FILE_NAME, hashlib.sha256(content).hexdigest(), figures, (FILE_NAME,))


def encode(graph: QuantGraph, *, names: Names = "borders") -> bytes:
    """The bytes of the file; the same graph gives the same bytes. Tensors between the borders have names only if ``names`` is all.

    ``graph`` is channels last; its activations are int8 (weights int8 or int4), int16 (weights int8; biases become int64), float32,
    float16 (then the constants are float16 and the activations computed in float32, as TFLite's float16 quantization has it) or int32
    indices, mixed where its operators mix them. Where another order of operators or another placement of tensors makes TFLM's arena
    smaller, the file has that order, and the placement as a plan that TFLM heeds. Raises InputError for what TFLite cannot state.
    """
    if graph.layout != "channels_last":
        raise InputError(
            f"layout {graph.layout}", where=f"graph {graph.name}", expected="channels_last", mend="run the pass to_channels_last first"
        )
    arranged = arrange(graph)
    layout = _Layout(arranged.graph, names)
    document = json.dumps(dict(graph.metadata), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    metadata = {METADATA_NAME: document.encode()}
    if arranged.plan is not None:
        metadata[tflite_plan.NAME] = tflite_plan.offline_plan(arranged.plan, layout.numbers, len(layout.tensors))
    return pack(layout.tensors, layout.operators, layout.inputs, layout.outputs, metadata)


def tensor_numbers(graph: QuantGraph) -> dict[str, int]:
    """The number that each activation of ``graph`` has in the file (tensors between the borders carry no name there)."""
    numbers = _Layout(arrange(graph).graph).numbers
    return {name: numbers[name] for name, tensor in graph.tensors.items() if not tensor.is_constant and name in numbers}


def read_metadata(path: Path) -> dict[str, Any]:
    """The JSON document that export() put into the file. Raises InputError if it is no TFLite file or holds none."""
    content = path.read_bytes() if path.is_file() else b""
    if content[4:8] != b"TFL3":
        raise InputError("not a TFLite file", where=str(path), expected="a .tflite file")
    try:
        model = schema.ModelT.InitFromPackedBuf(content)
        for entry in model.metadata or []:
            name: Any = entry.name  # bytes, whatever the generated code says
            if name == METADATA_NAME.encode():
                return json.loads(np.asarray((model.buffers or [])[entry.buffer].data, np.uint8).tobytes())
    except Exception as error:  # a damaged flatbuffer fails in whatever way its offsets point
        raise InputError(f"damaged: {error}", where=str(path), expected="a whole TFLite file") from error
    raise InputError(f"no metadata named {METADATA_NAME!r}", where=str(path), expected="a file that edgekd exported")


class _Layout:
    """Tensors and operators as they will stand in the file, in a fixed order: inputs, then as the operators need them."""

    def __init__(self, graph: QuantGraph, names: Names = "borders") -> None:
        self.graph = graph
        self.tensors: list[FileTensor] = []
        self.operators: list[FileOperator] = []
        self.numbers: dict[str, int] = {}
        self._extra: dict[tuple[Any, ...], int] = {}
        self._shown = {*graph.inputs, *graph.outputs} if names == "borders" else set(graph.tensors)
        for name in graph.inputs:
            self._activation(name)
        for op in graph.ops:
            self._operator(op)
        self.inputs = tuple(self.numbers[name] for name in graph.inputs)
        self.outputs = tuple(self.numbers[name] for name in graph.outputs)

    def _append(self, tensor: FileTensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _operator(self, op: ops.Op) -> None:
        _check_scales(op, self.graph)
        spec = builtin(op, self.graph)
        if isinstance(op, ops.WEIGHTED):
            inputs = self._weighted_inputs(op)
        else:
            inputs = [self._activation(name) for name in op.inputs]
        like = self.graph.tensor(op.inputs[0])
        extra = [self._constant(constant, like) for constant in spec.constants]
        inputs = extra + inputs if spec.constants_first else inputs + extra
        outputs = tuple(self._activation(name) for name in op.outputs)
        self.operators.append(FileOperator(spec.code, spec.version, spec.options, tuple(inputs), outputs))

    def _weighted_inputs(self, op: ops.Op) -> list[int]:
        x, weight = self.graph.tensor(op.inputs[0]), self.graph.tensor(op.inputs[1])
        axis = 3 if isinstance(op, ops.DepthwiseConv2D) else 0
        numbers = [self._activation(x.name), self._weight(weight, axis, op)]
        if len(op.inputs) == 3:
            numbers.append(self._bias(self.graph.tensor(op.inputs[2]), x, weight, op))
        elif isinstance(op, ops.FullyConnected):
            numbers.append(-1)
        elif isinstance(op, ops.TransposeConv2D):
            pass
        else:  # LiteRT refuses a convolution without bias
            dtype = "int32" if x.dtype in ("int8", "int16") else weight.dtype
            size = weight.shape[axis]
            numbers.append(self._bias(Tensor(f"{op.name}.bias", dtype, (size,), data=np.zeros(size, dtype)), x, weight, op))
        if isinstance(op, ops.TransposeConv2D):  # which reads its weight first
            numbers[:2] = reversed(numbers[:2])
        return numbers

    def _activation(self, name: str) -> int:
        """A tensor that is computed, or a constant that is read like one."""
        if name in self.numbers:
            return self.numbers[name]
        tensor = self.graph.tensor(name)
        where = f"graph {self.graph.name}"
        if tensor.is_constant and tensor.dtype == "float16":
            return self._float_constant(tensor, where)
        shown = name if name in self._shown else None
        if tensor.dtype in ("float16", "float32"):
            entry = FileTensor(shown, TYPES["float32"], tensor.shape, data=tensor.data)
        elif tensor.dtype == "int32":
            entry = FileTensor(shown, TYPES["int32"], tensor.shape, data=tensor.data)
        elif tensor.dtype in ("int8", "int16") and tensor.quantization is not None:
            scale, zero_point = tensor.quantization.single
            scales = np.array([scale], np.float32)
            entry = FileTensor(shown, TYPES[tensor.dtype], tensor.shape, scales, np.array([zero_point]), 0, tensor.data)
        else:
            raise InputError(
                f"{name!r} is {tensor.dtype}{'' if tensor.quantization else ' without quantization'}",
                where=where,
                expected="int8 or int16 with a scale, int32, float16 or float32",
            )
        self.numbers[name] = self._append(entry)
        return self.numbers[name]

    def _weight(self, weight: Tensor, axis: int, op: ops.Op) -> int:
        if weight.name in self.numbers:
            return self.numbers[weight.name]
        where = f"graph {self.graph.name}, operator {op.name}"
        if weight.data is None:
            raise InputError(f"weight {weight.name!r} is not constant", where=where, expected="a constant")
        if weight.dtype in ("int4", "int8"):
            q = weight.quantization
            if q is None or q.zero_point.any() or q.axis not in (None, axis):
                raise InputError(
                    f"quantization of weight {weight.name!r}", where=where, expected=f"zero point 0, one scale or one along axis {axis}"
                )
            data = pack_int4(weight.data) if weight.dtype == "int4" else weight.data
            number = self._append(FileTensor(None, TYPES[weight.dtype], weight.shape, q.scale, q.zero_point, q.axis or 0, data))
        else:
            number = self._float_constant(weight, where)
        self.numbers[weight.name] = number
        return number

    def _bias(self, bias: Tensor, x: Tensor, weight: Tensor, op: ops.Op) -> int:
        where = f"graph {self.graph.name}, operator {op.name}"
        if bias.data is None or len(bias.shape) != 1:
            raise InputError(f"bias {bias.name!r} of shape {bias.shape}", where=where, expected="a constant [out]")
        if weight.dtype not in ("int4", "int8"):
            return self._float_constant(bias, where)
        allowed = ("int32", "int64") if x.dtype == "int16" else ("int32",)
        if bias.dtype not in allowed or x.quantization is None or weight.quantization is None:
            raise InputError(
                f"bias {bias.name!r} is {bias.dtype}", where=where, expected=f"{' or '.join(allowed)} beside {weight.dtype} weights"
            )
        # XNNPACK delegates a convolution only if its bias carries this product.
        scale = x.quantization.scale * weight.quantization.scale
        dtype = "int64" if x.dtype == "int16" else "int32"
        data = bias.data.astype(dtype, copy=False)
        return self._append(FileTensor(None, TYPES[dtype], bias.shape, scale, np.zeros(len(scale), np.int64), 0, data))

    def _float_constant(self, tensor: Tensor, where: str) -> int:
        """float16 constants are dequantized by an operator that XNNPACK takes away when it loads the file."""
        if tensor.dtype not in ("float16", "float32"):
            raise InputError(
                f"{tensor.name!r} is {tensor.dtype}",
                where=where,
                expected="int8, float16 or float32",
            )
        if tensor.name in self.numbers:
            return self.numbers[tensor.name]
        number = self._append(FileTensor(None, TYPES[tensor.dtype], tensor.shape, data=tensor.data))
        if tensor.dtype == "float16":
            wide = self._append(FileTensor(None, TYPES["float32"], tensor.shape))
            self.operators.append(FileOperator(CODE.DEQUANTIZE, 3, schema.DequantizeOptionsT(), (number,), (wide,)))
            number = wide
        self.numbers[tensor.name] = number
        return number

    def _constant(self, value: np.ndarray, like: Tensor) -> int:
        """An operator's own constant; a 0-d one is a value in the quantization of ``like``."""
        quantization = like.quantization.single if value.ndim == 0 and like.quantization is not None else None
        key = (value.dtype.name, value.shape, value.tobytes(), quantization)
        if key not in self._extra:
            scale = None if quantization is None else np.array(quantization[:1], np.float32)
            zero_point = None if quantization is None else np.array(quantization[1:])
            self._extra[key] = self._append(FileTensor(None, TYPES[value.dtype.name], value.shape or (1,), scale, zero_point, 0, value))
        return self._extra[key]


def pack_int4(values: np.ndarray) -> np.ndarray:
    """4-bit integers −8 … 7, two a byte, the first in the low half: uint8 [(size + 1) // 2]."""
    halves = np.append(values.ravel(), np.zeros(values.size % 2, np.int8)).astype(np.uint8) & 15
    return halves[::2] | halves[1::2] << 4


def _check_scales(op: ops.Op, graph: QuantGraph) -> None:
    """One dtype for inputs and output (save indices, and where the operator is there to change it), and one scale where it wants that."""
    names = op.inputs[:1] if isinstance(op, ops.WEIGHTED) else op.inputs
    tensors = [graph.tensor(name) for name in (*names, *op.outputs)]
    where = f"graph {graph.name}, operator {op.name}"
    kinds = {"float" if t.dtype in ("float16", "float32") else t.dtype for t in tensors}
    if isinstance(op, ops.Gather):
        kinds -= {"int32"}
    if len(kinds) != 1 and not isinstance(op, (ops.Quantize, ops.Dequantize)):
        raise InputError(f"{' and '.join(sorted(kinds))} in one operator", where=where, expected="one dtype for inputs and output")
    if isinstance(op, ops.WEIGHTED):
        weight = graph.tensor(op.inputs[1]).dtype
        allowed = WEIGHTS.get(tensors[0].dtype, ())
        if weight not in allowed or (weight == "int4" and not isinstance(op, FOUR_BITS)):
            allowed = allowed if isinstance(op, FOUR_BITS) else tuple(name for name in allowed if name != "int4")
            raise InputError(f"{weight} weights on {tensors[0].dtype}", where=where, expected=" or ".join(allowed))
    if isinstance(op, ops.SHARES_SCALE) and kinds in ({"int8"}, {"int16"}):
        found = {t.quantization.single if t.quantization else None for t in tensors if t.dtype in kinds}
        if len(found) != 1:
            raise InputError(f"scales and zero points {sorted(found, key=str)}", where=where, expected="one for inputs and output")
