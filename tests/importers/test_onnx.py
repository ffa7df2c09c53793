"""Models quantized by others: onnxruntime's quantizer in both formats, NNCF. Made here, from a float network with random weights."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edgekd.errors import InputError
from edgekd.export.tflite import export as export_tflite
from edgekd.importers.onnx import read
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.io import load
from edgekd.quant.reference import run
from edgekd.runtimes.litert import open_reference, open_xnnpack
from edgekd.runtimes.onnxruntime import open_model

GOLDEN = Path(__file__).parents[1] / "golden"
FORMATS = {
    "qdq_u8": (QuantFormat.QDQ, QuantType.QUInt8, True),
    "qdq_s8": (QuantFormat.QDQ, QuantType.QInt8, True),
    "qoperator_u8": (QuantFormat.QOperator, QuantType.QUInt8, True),
    "qoperator_s8_per_tensor": (QuantFormat.QOperator, QuantType.QInt8, False),
}


class Net:
    """A float ONNX network, node by node, with weights drawn from one seed."""

    def __init__(self) -> None:
        self.rng, self.nodes, self.constants = np.random.default_rng(0), [], []

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, name: str, *shape: int) -> str:
        return self.constant(name, self.rng.normal(0, 1.4 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32))

    def vector(self, name: str, size: int, mean: float = 0.0) -> str:
        return self.constant(name, self.rng.normal(mean, 0.1, size).astype(np.float32))

    def node(self, kind: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{output}_node", **attributes))
        return output

    def save(self, path: Path, shape: list, output: str) -> Path:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        y = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "net", [x], [y], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(onnx.shape_inference.infer_shapes(model), path)
        return path


def float_network(path: Path, *, free_reshape: bool = False) -> Path:
    """Stem, depthwise, a residual sum, max pool, batch norm after a convolution, SiLU, global pool, flatten, logits."""
    n = Net()
    n.node("Conv", ["x", n.weight("w1", 8, 3, 3, 3), n.vector("b1", 8)], "stem", pads=[1, 1, 1, 1], strides=[2, 2])
    n.node("Relu", ["stem"], "stem_relu")
    n.node("Conv", ["stem_relu", n.weight("w2", 8, 1, 3, 3), n.vector("b2", 8)], "depth", pads=[1, 1, 1, 1], group=8)
    n.node("Clip", ["depth", n.constant("zero", np.float32(0)), n.constant("six", np.float32(6))], "depth_relu6")
    n.node("Conv", ["depth_relu6", n.weight("w3", 8, 8, 1, 1), n.vector("b3", 8)], "project")
    n.node("Add", ["project", "stem_relu"], "sum")
    n.node("MaxPool", ["sum"], "max", kernel_shape=[2, 2], strides=[2, 2])
    n.node("Conv", ["max", n.weight("w4", 16, 8, 3, 3)], "wide", pads=[1, 1, 1, 1])
    norm = [n.vector("gamma", 16, 1), n.vector("beta", 16), n.vector("mean", 16), n.constant("variance", np.full(16, 1.1, np.float32))]
    n.node("BatchNormalization", ["wide", *norm], "norm")
    n.node("Mul", ["norm", n.node("Sigmoid", ["norm"], "gate")], "silu")
    n.node("GlobalAveragePool", ["silu"], "pooled")
    if free_reshape:
        size = n.node("Gather", [n.node("Shape", ["pooled"], "shape"), n.constant("first", np.array(0))], "size", axis=0)
        batch = n.node("Unsqueeze", [size, n.constant("axes", np.array([0]))], "batch")
        n.node("Reshape", ["pooled", n.node("Concat", [batch, n.constant("rest", np.array([-1]))], "target", axis=0)], "flat")
    else:
        n.node("Flatten", ["pooled"], "flat")
    n.node("Gemm", ["flat", n.weight("w5", 10, 16), n.vector("b5", 10)], "logits", transB=1)
    return n.save(path, ["N", 3, 16, 16], "logits")


class Reader(CalibrationDataReader):
    def __init__(self) -> None:
        self.left = iter(np.random.default_rng(1).uniform(-1, 1, (12, 1, 3, 16, 16)).astype(np.float32))

    def get_next(self):
        x = next(self.left, None)
        return None if x is None else {"x": x}


def quantized(path: Path, name: str) -> Path:
    """The network as onnxruntime's quantizer writes it."""
    form, activations, per_channel = FORMATS[name]
    source = float_network(path / "float.onnx")
    quantize_static(
        source,
        path / "model.onnx",
        Reader(),
        quant_format=form,
        activation_type=activations,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
    )
    return path / "model.onnx"


def images(graph: QuantGraph, n: int = 48) -> np.ndarray:
    real = np.random.default_rng(5).uniform(-1, 1, (n, *graph.tensor(graph.inputs[0]).shape[1:])).astype(np.float32)
    q = graph.tensor(graph.inputs[0]).quantization
    return real if q is None else np.clip(np.rint(real / q.scale) + q.zero_point, -128, 127).astype(np.int8)


@pytest.mark.parametrize("name", FORMATS)
def test_onnxruntimes_quantizer(tmp_path, name):
    path = quantized(tmp_path, name)
    graph = read(path)
    assert {t.dtype for t in graph.tensors.values()} == {"int8", "int32"}, Counter(type(op).__name__ for op in graph.ops)
    x = images(graph)
    expected = run(graph, x, "tflm")[graph.outputs[0]]
    there = open_model(path).run(x)
    difference = np.abs(there.astype(int) - expected)
    assert difference.max() <= 2 and (difference == 0).mean() > 0.5 and (there.argmax(1) == expected.argmax(1)).mean() > 0.9
    export_tflite(graph, tmp_path)
    file = next(tmp_path.glob("*.tflite"))
    assert np.array_equal(open_reference(file).run(x), run(graph, x, "litert_ref")[graph.outputs[0]])
    assert np.array_equal(open_xnnpack(file).run(x), run(graph, x, "xnnpack")[graph.outputs[0]])


@pytest.mark.slow
def test_nncf(tmp_path):
    import nncf

    source = onnx.load(float_network(tmp_path / "float.onnx"))
    data = nncf.Dataset([{"x": x} for x in np.random.default_rng(1).uniform(-1, 1, (8, 1, 3, 16, 16)).astype(np.float32)])
    onnx.save(nncf.quantize(source, data, subset_size=8), tmp_path / "model.onnx")
    graph = read(tmp_path / "model.onnx")
    kinds = {type(op): graph.tensor(op.outputs[0]).dtype for op in graph.ops[:4]}
    assert set(kinds) == {ops.Conv2D, ops.DepthwiseConv2D, ops.Add} and set(kinds.values()) == {"int8"}
    # NNCF states no scale for the logits, nor between the convolution and the SiLU.
    assert graph.tensor(graph.outputs[0]).dtype == "float32" and any("stays float" in note for note in graph.metadata["notes"])


def test_float_network_and_shapes_that_are_computed(tmp_path):
    one, two = (read(float_network(tmp_path / f"{free}.onnx", free_reshape=free)) for free in (False, True))
    assert [type(op) for op in one.ops] == [type(op) for op in two.ops]
    assert not {"Transpose", "Reshape"} & {type(op).__name__ for op in one.ops}, "flatten and layout leave nothing behind"
    x = images(one)
    expected = open_model(tmp_path / "False.onnx").run(x)
    for graph in (one, two):
        np.testing.assert_allclose(run(graph, x, "float")[graph.outputs[0]], expected, atol=2e-5)


@pytest.mark.parametrize("student", sorted(p.name for p in GOLDEN.iterdir() if p.is_dir()))
def test_golden_students_come_back(tmp_path, student):
    from edgekd.export.onnx import build

    graph = load(GOLDEN / student)
    for unsigned in (False, True) if not student.endswith("symmetric") else (False,):
        (tmp_path / "model.onnx").write_bytes(build(graph, unsigned=unsigned).SerializeToString())
        again = read(tmp_path / "model.onnx")
        x = np.load(GOLDEN / student / "inputs.npz")["x"]
        for profile in ("tflm", "xnnpack"):
            assert np.array_equal(run(again, x, profile)[again.outputs[0]], run(graph, x, profile)[graph.outputs[0]])
        assert [type(op) for op in again.ops] == [type(op) for op in graph.ops]
        assert {n: again.metadata.get(n) for n in graph.metadata} == dict(graph.metadata)


def gelu(path: Path) -> Path:
    n = Net()
    n.node("MatMul", ["x", n.weight("w", 8, 8)], "product")
    n.node("Add", ["product", n.vector("b", 8)], "sum")
    scaled = n.node("Div", ["sum", n.constant("root", np.float32(np.sqrt(2)))], "scaled")
    plus = n.node("Add", [n.node("Erf", [scaled], "erf"), n.constant("one", np.float32(1))], "plus")
    n.node("Mul", [n.node("Mul", ["sum", plus], "double"), n.constant("half", np.float32(0.5))], "gelu")
    mean = n.node("ReduceMean", ["gelu"], "average", axes=[-1], keepdims=1)
    centred = n.node("Sub", ["gelu", mean], "centred")
    square = n.node("Pow", [centred, n.constant("two", np.float32(2))], "square")
    variance = n.node("ReduceMean", [square], "variance", axes=[-1], keepdims=1)
    root = n.node("Sqrt", [n.node("Add", [variance, n.constant("eps", np.float32(1e-5))], "shifted")], "deviation")
    n.node("Div", ["centred", root], "y")
    return n.save(path, ["N", 5, 8], "y")


def test_groups_become_operators(tmp_path):
    path = gelu(tmp_path / "model.onnx")
    graph = read(path)
    kinds = [type(op) for op in graph.ops]
    assert kinds == [ops.FullyConnected, ops.Gelu, ops.Mean, ops.Sub, ops.Mul, ops.Mean, ops.Add, ops.Rsqrt, ops.Mul]
    x = images(graph)
    np.testing.assert_allclose(run(graph, x, "float")[graph.outputs[0]], open_model(path).run(x), atol=1e-4)


def test_what_cannot_be_is_said(tmp_path):
    source = float_network(tmp_path / "float.onnx")
    quantize_static(
        source,
        tmp_path / "model.onnx",
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QUInt8,
    )
    with pytest.raises(InputError, match=r"Conv2D stem_node: weight zero points .* do not fit int8(?s:.*)weight_type=QInt8"):
        read(tmp_path / "model.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="not an ONNX file"):
        read(tmp_path / "bad.onnx")
    with pytest.raises(InputError, match="not an ONNX file"):
        read(tmp_path / "absent.onnx")
