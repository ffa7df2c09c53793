"""The flatbuffer: aligned, nothing written twice."""

from __future__ import annotations

from collections import Counter

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekd.export.tflite_file import FileOperator, FileTensor, pack

INT8, INT32 = schema.TensorType.INT8, schema.TensorType.INT32


def chain(layers: int, channels: int = 61) -> bytes:
    """1x1 depthwise convolutions one after another."""
    rng = np.random.default_rng(0)
    one = {"scale": np.array([0.1], np.float32), "zero_point": np.array([3])}
    tensors = [FileTensor("x", INT8, (1, 5, 5, channels), **one)]
    operators = []
    options = schema.DepthwiseConv2DOptionsT(schema.Padding.VALID, 1, 1, 1)
    for _ in range(layers):
        n = len(tensors)
        scales = [rng.random(channels).astype(np.float32) for _ in range(2)]
        zeros = np.zeros(channels, np.int64)
        weight = rng.integers(-9, 9, (1, 1, 1, channels)).astype(np.int8)
        bias = rng.integers(-9, 9, channels).astype(np.int32)
        tensors.append(FileTensor(None, INT8, weight.shape, scales[0], zeros, 3, weight))
        tensors.append(FileTensor(None, INT32, bias.shape, scales[1], zeros, 0, bias))
        tensors.append(FileTensor(None, INT8, (1, 5, 5, channels), **one))
        operators.append(FileOperator(schema.BuiltinOperator.DEPTHWISE_CONV_2D, 3, options, (n - 1, n, n + 1), (n + 2,)))
    return pack(tensors, operators, (0,), (len(tensors) - 1,), {"note": b"abc"})


def test_every_buffer_is_aligned_and_written_once():
    content = chain(5)
    model = schema.Model.GetRootAs(content, 0)
    start = np.frombuffer(content, np.uint8).__array_interface__["data"][0]
    blobs = []
    for index in range(1, model.BuffersLength()):
        data = model.Buffers(index).DataAsNumpy()
        assert (data.__array_interface__["data"][0] - start) % 16 == 0
        blobs.append(data.tobytes())
    assert model.Buffers(0).DataIsNone() and len(blobs) == 2 * 5 + 1
    assert max(Counter(blobs).values()) == 1
    assert len({model.Subgraphs(0).Operators(i).BuiltinOptions().Pos for i in range(5)}) == 1
    assert model.Metadata(0).Name() == b"note" and blobs[model.Metadata(0).Buffer() - 1] == b"abc"


def test_a_channel_costs_twelve_bytes():
    """int32 bias, float32 scales of weight and bias; the int64 zero points are shared by whatever has as many channels."""
    channels = 61
    layer = (len(chain(9, channels)) - len(chain(1, channels))) / 8
    assert layer - channels - 12 * channels < 240  # weights apart: tensors, operator, alignment
    assert content_reads_back(chain(2, channels), channels)


def content_reads_back(content: bytes, channels: int) -> bool:
    tensor = schema.Model.GetRootAs(content, 0).Subgraphs(0).Tensors(4)
    quantization = tensor.Quantization()
    return quantization.ScaleLength() == quantization.ZeroPointLength() == channels and quantization.QuantizedDimension() == 3


def test_one_operator_code_with_the_highest_version():
    x = FileTensor("x", INT8, (1, 4), np.array([0.1], np.float32), np.array([0]))
    relu = schema.BuiltinOperator.RELU
    model = schema.Model.GetRootAs(
        pack([x, x, x], [FileOperator(relu, 1, None, (0,), (1,)), FileOperator(relu, 2, None, (1,), (2,))], (0,), (2,), {}), 0
    )
    assert model.OperatorCodesLength() == 1
    assert (model.OperatorCodes(0).BuiltinCode(), model.OperatorCodes(0).DeprecatedBuiltinCode(), model.OperatorCodes(0).Version()) == (
        relu,
        relu,
        2,
    )
