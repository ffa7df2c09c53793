"""The flatbuffer of a TFLite file, schema version 3: small, and its buffers aligned.

Equal vectors, strings and tables are written once and pointed to from wherever they are needed (a flatbuffer is a graph, not a tree). That
matters: zero points are int64, so those of per-channel weights and biases would alone cost 16 bytes a channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

#: The schema's force_align of a buffer's data; the Python packer does not heed it.
ALIGNMENT = 16


@dataclass(frozen=True, eq=False)
class FileTensor:
    """``type`` is a schema.TensorType; ``shape`` has batch 1; ``scale``: float32 [1] or [channels] along ``axis``; ``data``: constants."""

    name: str | None
    type: int
    shape: tuple[int, ...]
    scale: np.ndarray | None = None
    zero_point: np.ndarray | None = None
    axis: int = 0
    data: np.ndarray | None = None


@dataclass(frozen=True)
class FileOperator:
    """``code`` is a schema.BuiltinOperator, ``options`` one of its *OptionsT; inputs and outputs are tensor numbers, −1 for none."""

    code: int
    version: int
    options: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def pack(
    tensors: list[FileTensor], operators: list[FileOperator], inputs: tuple[int, ...], outputs: tuple[int, ...], metadata: dict[str, bytes]
) -> bytes:
    """The whole file: one subgraph, ``metadata`` as named buffers."""
    writer = _Writer()
    blobs: list[bytes] = [b""]
    numbers = {b"": 0}

    def buffer_of(data: bytes) -> int:
        if data not in numbers:
            numbers[data] = len(blobs)
            blobs.append(data)
        return numbers[data]

    tensor_buffers = [0 if t.data is None else buffer_of(t.data.tobytes()) for t in tensors]
    metadata_buffers = {name: buffer_of(data) for name, data in metadata.items()}
    buffer_offsets = [writer.buffer(blob) for blob in blobs]
    versions: dict[int, int] = {}
    for operator in operators:
        versions[operator.code] = max(operator.version, versions.get(operator.code, 1))
    code_numbers = {code: number for number, code in enumerate(versions)}

    tensor_offsets = [writer.tensor(t, buffer) for t, buffer in zip(tensors, tensor_buffers, strict=True)]
    operator_offsets = [writer.operator(o, code_numbers[o.code]) for o in operators]
    subgraph = writer.subgraph(tensor_offsets, operator_offsets, inputs, outputs)
    codes = [schema.OperatorCodeT(min(code, 127), None, version, code).Pack(writer.builder) for code, version in versions.items()]
    entries = [writer.metadata(name, number) for name, number in metadata_buffers.items()]
    return writer.model(codes, subgraph, buffer_offsets, entries)


class _Writer:
    """Writes each distinct vector, string and table once."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1 << 16)
        self._written: dict[Any, int] = {}

    def _once(self, key: Any, write: Callable[[], int]) -> int:
        if key not in self._written:
            self._written[key] = write()
        return self._written[key]

    def vector(self, values: Any, dtype: type) -> int:
        array = np.ascontiguousarray(values, dtype)
        return self._once((dtype, array.tobytes()), lambda: self.builder.CreateNumpyVector(array))

    def string(self, text: str) -> int:
        return self._once(text, lambda: self.builder.CreateString(text))

    def offsets(self, offsets: list[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return self.builder.EndVector()

    def buffer(self, blob: bytes) -> int:
        builder = self.builder
        data = 0
        if blob:
            builder.StartVector(1, len(blob), ALIGNMENT)
            builder.head -= len(blob)
            builder.Bytes[builder.head : builder.head + len(blob)] = blob
            data = builder.EndVector()
        # The table fills the gap that the next aligned vector leaves.
        schema.BufferStart(builder)
        if blob:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)

    def quantization(self, tensor: FileTensor) -> int:
        scale, zero_point = self.vector(tensor.scale, np.float32), self.vector(tensor.zero_point, np.int64)

        def write() -> int:
            schema.QuantizationParametersStart(self.builder)
            schema.QuantizationParametersAddScale(self.builder, scale)
            schema.QuantizationParametersAddZeroPoint(self.builder, zero_point)
            schema.QuantizationParametersAddQuantizedDimension(self.builder, tensor.axis)
            return schema.QuantizationParametersEnd(self.builder)

        return self._once(("quantization", scale, zero_point, tensor.axis), write)

    def tensor(self, tensor: FileTensor, buffer: int) -> int:
        builder = self.builder
        shape = self.vector(tensor.shape, np.int32)
        name = None if tensor.name is None else self.string(tensor.name)
        quantization = None if tensor.scale is None else self.quantization(tensor)
        schema.TensorStart(builder)
        # Widest first, so that no field needs padding.
        schema.TensorAddShape(builder, shape)
        schema.TensorAddBuffer(builder, buffer)
        if name is not None:
            schema.TensorAddName(builder, name)
        if quantization is not None:
            schema.TensorAddQuantization(builder, quantization)
        schema.TensorAddType(builder, tensor.type)
        return schema.TensorEnd(builder)

    def operator(self, operator: FileOperator, code: int) -> int:
        builder = self.builder
        inputs, outputs = self.vector(operator.inputs, np.int32), self.vector(operator.outputs, np.int32)
        options, kind = None, 0
        if operator.options is not None:
            table = type(operator.options).__name__.removesuffix("T")
            kind = getattr(schema.BuiltinOptions, table)
            fields = tuple(sorted(vars(operator.options).items()))
            options = self._once((table, fields), lambda: operator.options.Pack(builder))
        schema.OperatorStart(builder)
        schema.OperatorAddOpcodeIndex(builder, code)
        schema.OperatorAddInputs(builder, inputs)
        schema.OperatorAddOutputs(builder, outputs)
        if options is not None:
            schema.OperatorAddBuiltinOptions(builder, options)
            schema.OperatorAddBuiltinOptionsType(builder, kind)
        return schema.OperatorEnd(builder)

    def subgraph(self, tensors: list[int], operators: list[int], inputs: tuple[int, ...], outputs: tuple[int, ...]) -> int:
        builder = self.builder
        tensor_vector, operator_vector = self.offsets(tensors), self.offsets(operators)
        input_vector, output_vector = self.vector(inputs, np.int32), self.vector(outputs, np.int32)
        schema.SubGraphStart(builder)
        schema.SubGraphAddTensors(builder, tensor_vector)
        schema.SubGraphAddInputs(builder, input_vector)
        schema.SubGraphAddOutputs(builder, output_vector)
        schema.SubGraphAddOperators(builder, operator_vector)
        return schema.SubGraphEnd(builder)

    def metadata(self, name: str, buffer: int) -> int:
        text = self.string(name)
        schema.MetadataStart(self.builder)
        schema.MetadataAddName(self.builder, text)
        schema.MetadataAddBuffer(self.builder, buffer)
        return schema.MetadataEnd(self.builder)

    def model(self, codes: list[int], subgraph: int, buffers: list[int], metadata: list[int]) -> bytes:
        builder = self.builder
        code_vector, subgraph_vector, buffer_vector = self.offsets(codes), self.offsets([subgraph]), self.offsets(buffers)
        metadata_vector = self.offsets(metadata)
        schema.ModelStart(builder)
        schema.ModelAddVersion(builder, 3)
        schema.ModelAddOperatorCodes(builder, code_vector)
        schema.ModelAddSubgraphs(builder, subgraph_vector)
        schema.ModelAddBuffers(builder, buffer_vector)
        schema.ModelAddMetadata(builder, metadata_vector)
        builder.Finish(schema.ModelEnd(builder), b"TFL3")
        return bytes(builder.Output())
