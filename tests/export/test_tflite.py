"""The TFLite exporter, judged by the runtimes that load its files."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekd.errors import InputError
from edgekd.export import tflite
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.runtimes import litert, tflm

CODES = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
RUNTIMES = {"tflm": tflm.open_model, "litert_ref": litert.open_reference, "litert_xnnpack": litert.open_xnnpack}


class Build:
    """A graph with input x, operator by operator; scales and weights are random."""

    def __init__(self, shape: tuple[int, ...], dtype: str = "int8", seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = dtype
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[ops.Op] = []
        self.tensor("x", shape, (1 / 128, 0))

    def tensor(self, name: str, shape: tuple[int, ...], scale: tuple[float, int]) -> str:
        quantization = Quantization.per_tensor(*scale) if self.dtype == "int8" else None
        self.tensors[name] = Tensor(name, "int8" if self.dtype == "int8" else "float32", shape, quantization)
        return name

    def constants(self, name: str, shape: tuple[int, ...], axis: int, per_channel: bool = True, bias: bool = True) -> tuple[str, ...]:
        channels = shape[axis]
        if self.dtype == "int8":
            scale = self.rng.uniform(1e-3, 1e-2, channels).astype(np.float32)
            quantization = Quantization.per_channel(scale, axis) if per_channel else Quantization.per_tensor(5e-3)
            data = self.rng.integers(-127, 128, shape).astype(np.int8)
            self.tensors[f"{name}.w"] = Tensor(f"{name}.w", "int8", shape, quantization, data)
            self.tensors[f"{name}.b"] = Tensor(
                f"{name}.b", "int32", (channels,), None, self.rng.integers(-999, 999, channels).astype(np.int32)
            )
        else:
            for suffix, size in (("w", shape), ("b", (channels,))):
                values = self.rng.normal(0, 0.3, size).astype(self.dtype)
                self.tensors[f"{name}.{suffix}"] = Tensor(f"{name}.{suffix}", values.dtype.name, size, None, values)
        if not bias:
            del self.tensors[f"{name}.b"]
            return (f"{name}.w",)
        return f"{name}.w", f"{name}.b"

    def add(self, cls, inputs, size, scale=(0.05, -3), **attributes) -> str:
        name = f"v{len(self.ops)}"
        if isinstance(scale, str):
            scale = self.tensors[scale].quantization.single if self.dtype == "int8" else None
        self.ops.append(cls(f"op{len(self.ops)}", tuple(inputs), (self.tensor(name, size, scale),), **attributes))
        return name

    def graph(self, output: str) -> QuantGraph:
        metadata = {"labels": ["Kleid", "Schuh ü"], "input": {"scale": 1 / 128}}
        return QuantGraph("case", "channels_last", self.tensors, tuple(self.ops), ("x",), (output,), metadata)


def everything(dtype: str = "int8") -> QuantGraph:
    """Each operator at least once."""
    b = Build((1, 14, 14, 4), dtype)
    a = b.add(ops.Conv2D, ("x", *b.constants("c1", (8, 3, 3, 4), 0)), (1, 7, 7, 8), stride=(2, 2), padding=(1, 1, 1, 1), activation="relu6")
    c = b.add(ops.DepthwiseConv2D, (a, *b.constants("d", (1, 3, 3, 8), 3)), (1, 7, 7, 8), padding=(1, 1, 1, 1), activation="relu")
    c = b.add(ops.Conv2D, (c, *b.constants("c2", (8, 1, 1, 8), 0)), (1, 7, 7, 8))
    c = b.add(ops.Add, (a, c), (1, 7, 7, 8), (0.07, 4), activation="relu")
    p = b.add(ops.MaxPool2D, (c,), (1, 4, 4, 8), c, kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
    q = b.add(ops.AveragePool2D, (c,), (1, 4, 4, 8), c, kernel=(2, 2), stride=(2, 2), padding=(0, 1, 0, 1))
    c = b.add(ops.Concat, (p, q), (1, 4, 4, 16), c, axis=-1)
    c = b.add(ops.Pad, (c,), (1, 6, 5, 16), c, amounts=((0, 0), (1, 1), (0, 1), (0, 0)))
    c = b.add(ops.Relu, (c,), (1, 6, 5, 16), (0.06, -128))
    m = b.add(ops.Mean, (c,), (1, 16), (0.02, 1), axes=(1, 2))
    f = b.add(ops.FullyConnected, (m, *b.constants("f", (20, 16), 0, per_channel=False)), (1, 20))
    f = b.add(ops.Reshape, (f,), (1, 2, 10), f, shape=(1, 2, 10))
    f = b.add(ops.Logistic, (f,), (1, 2, 10), (1 / 256, -128))
    return b.graph(b.add(ops.Softmax, (f,), (1, 2, 10), (1 / 256, -128)))


def one(make, shape=(1, 9, 9, 4), dtype="int8") -> QuantGraph:
    b = Build(shape, dtype)
    return b.graph(make(b))


def conv(b: Build, groups=1, dilation=1, per_channel=True, bias=True) -> str:
    constants = b.constants("c", (8, 3, 3, 4 // groups), 0, per_channel, bias)
    attributes = {"padding": (dilation,) * 4, "dilation": (dilation,) * 2, "groups": groups}
    return b.add(ops.Conv2D, ("x", *constants), (1, 9, 9, 8), **attributes)


def depthwise(b: Build, multiplier=1, dilation=1, per_channel=True, bias=True) -> str:
    constants = b.constants("c", (1, 3, 3, 4 * multiplier), 3, per_channel, bias)
    attributes = {"padding": (dilation,) * 4, "dilation": (dilation,) * 2, "multiplier": multiplier}
    return b.add(ops.DepthwiseConv2D, ("x", *constants), (1, 9, 9, 4 * multiplier), **attributes)


def dense(b: Build, per_channel=True, bias=True) -> str:
    *lead, size = b.tensors["x"].shape
    return b.add(ops.FullyConnected, ("x", *b.constants("f", (7, size), 0, per_channel, bias)), (*lead, 7))


CASES = {
    "conv": (conv, {}), "conv groups": (conv, {"groups": 2}), "conv dilated": (conv, {"dilation": 2}),
    "conv per tensor": (conv, {"per_channel": False}), "conv no bias": (conv, {"bias": False}),
    "depthwise": (depthwise, {}), "depthwise multiplier": (depthwise, {"multiplier": 2}), "depthwise dilated": (depthwise, {"dilation": 2}),
    "depthwise per tensor": (depthwise, {"per_channel": False}), "depthwise no bias": (depthwise, {"bias": False}),
    "dense": (dense, {}), "dense per tensor": (dense, {"per_channel": False}), "dense no bias": (dense, {"bias": False}),
}  # fmt: skip


def operators(content: bytes) -> list[str]:
    model = schema.Model.GetRootAs(content, 0)
    subgraph = model.Subgraphs(0)
    return [CODES[model.OperatorCodes(subgraph.Operators(i).OpcodeIndex()).BuiltinCode()] for i in range(subgraph.OperatorsLength())]


def run_all(graph: QuantGraph, folder: Path, n: int = 3, only: tuple[str, ...] = tuple(RUNTIMES)) -> dict[str, np.ndarray]:
    path = folder / tflite.export(graph, folder).path
    rng = np.random.default_rng(1)
    shape = (n, *graph.tensor("x").shape[1:])
    x = rng.integers(-128, 128, shape).astype(np.int8) if graph.tensor("x").dtype == "int8" else rng.normal(0, 1, shape).astype(np.float32)
    outputs = {"x": x}
    for name in only:
        runner = RUNTIMES[name](path)
        outputs[name] = runner.run(x)
        runner.close()
    return outputs


def test_every_operator_runs_everywhere(tmp_path):
    graph = everything()
    outputs = run_all(graph, tmp_path)
    for name in RUNTIMES:
        assert outputs[name].dtype == np.int8 and outputs[name].shape == (3, 2, 10)
        assert abs(outputs[name].astype(int) - outputs["tflm"]).max() <= 2
    content = (tmp_path / "model.tflite").read_bytes()
    assert not {"TRANSPOSE", "QUANTIZE", "DEQUANTIZE"} & set(operators(content))
    details = litert.open_reference(tmp_path / "model.tflite")._interpreter.get_tensor_details()
    assert [tensor["name"] for tensor in details if tensor["name"]] == ["x", "v13"]  # the others' names would cost bytes


@pytest.mark.parametrize("case", CASES)
def test_weighted_operators_are_delegated_and_agree(case, tmp_path):
    make, attributes = CASES[case]
    graph = one(lambda b: make(b, **attributes), (1, 4) if make is dense else (1, 9, 9, 4))
    outputs = run_all(graph, tmp_path)
    for name in RUNTIMES:
        assert abs(outputs[name].astype(int) - outputs["tflm"]).max() <= 1
        assert len(np.unique(outputs[name])) > 5
    interpreter = litert.open_xnnpack(tmp_path / "model.tflite")._interpreter
    assert "DELEGATE" in [node["op_name"] for node in interpreter._get_ops_details()]


@pytest.mark.parametrize("keepdims", [True, False])
def test_mean_keeps_dims_or_not(keepdims, tmp_path):
    shape = (1, 1, 1, 4) if keepdims else (1, 4)
    outputs = run_all(one(lambda b: b.add(ops.Mean, ("x",), shape, axes=(2, 1), keepdims=keepdims)), tmp_path)
    assert all(outputs[name].shape[1:] == shape[1:] for name in RUNTIMES)


def test_input_into_reshape_and_dense_of_rank_three(tmp_path):
    b = Build((1, 6, 4))
    f = b.add(ops.FullyConnected, ("x", *b.constants("f", (7, 4), 0)), (1, 6, 7))
    graph = b.graph(b.add(ops.Reshape, (f,), (1, 42), f, shape=(1, 42)))
    assert all(run_all(graph, tmp_path)[name].shape == (3, 42) for name in RUNTIMES)


def test_bias_carries_the_product_of_the_scales():
    graph = one(conv)
    model = schema.Model.GetRootAs(tflite.encode(graph), 0)
    subgraph = model.Subgraphs(0)
    bias = subgraph.Tensors(subgraph.Operators(0).Inputs(2))
    expected = graph.tensor("x").quantization.scale * graph.tensor("c.w").quantization.scale
    assert bias.Quantization().ScaleAsNumpy().tobytes() == expected.tobytes()
    assert not bias.Quantization().ZeroPointAsNumpy().any() and bias.Quantization().ZeroPointLength() == 8


def test_same_graph_same_bytes_whatever_the_hash_seed(tmp_path):
    graph = everything()
    assert tflite.encode(graph) == tflite.encode(everything())
    first = tflite.export(graph, tmp_path)
    assert first.figures["model_bytes"].value == (tmp_path / first.path).stat().st_size == len(tflite.encode(graph))
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]
    script = (
        "import importlib.util, hashlib; from edgekd.export import tflite;"
        f"spec = importlib.util.spec_from_file_location('cases', {str(Path(__file__))!r}); cases = importlib.util.module_from_spec(spec);"
        "spec.loader.exec_module(cases); print(hashlib.sha256(tflite.encode(cases.everything())).hexdigest())"
    )
    for seed in ("1", "2"):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={"PYTHONHASHSEED": seed}, check=True)
        assert done.stdout.strip() == first.sha256


def test_metadata_round_trip(tmp_path):
    graph = everything()
    path = tmp_path / tflite.export(graph, tmp_path).path
    assert tflite.read_metadata(path) == graph.metadata
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="not a TFLite file"):
        tflite.read_metadata(path)
    path.write_bytes(tflite.encode(graph)[:400])
    with pytest.raises(InputError, match="damaged"):
        tflite.read_metadata(path)


def test_pad_stands_only_where_same_and_valid_do_not_do():
    def padded(**attributes):
        out = attributes.pop("out")
        return operators(
            tflite.encode(one(lambda b: b.add(ops.Conv2D, ("x", *b.constants("c", (8, 3, 3, 4), 0)), (1, out, out, 8), **attributes)))
        )

    assert padded(out=9, padding=(1, 1, 1, 1)) == ["CONV_2D"]
    assert padded(out=7) == ["CONV_2D"]
    assert padded(out=5, stride=(2, 2), padding=(1, 1, 1, 1)) == ["CONV_2D"]  # odd size: SAME
    assert padded(out=9, padding=(2, 0, 1, 1)) == ["PAD", "CONV_2D"]


def test_tensor_numbers_find_the_activations(tmp_path):
    graph = one(conv)
    numbers = tflite.tensor_numbers(graph)
    details = litert.open_reference(tmp_path / tflite.export(graph, tmp_path).path)._interpreter.get_tensor_details()
    assert {name: tuple(details[number]["shape"]) for name, number in numbers.items()} == {"x": (1, 9, 9, 4), "v0": (1, 9, 9, 8)}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_float_files_compute_what_torch_computes(dtype, tmp_path):
    import torch  # here, for the tests of determinism start processes that import this file

    b = Build((1, 9, 9, 4), dtype)
    c = b.add(
        ops.Conv2D, ("x", *b.constants("c", (6, 3, 3, 4), 0)), (1, 5, 5, 6), None, stride=(2, 2), padding=(1, 1, 1, 1), activation="relu6"
    )
    d = b.add(ops.DepthwiseConv2D, (c, *b.constants("d", (1, 3, 3, 6), 3)), (1, 3, 3, 6), None)
    p = b.add(ops.MaxPool2D, (d,), (1, 2, 2, 6), None, kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))
    m = b.add(ops.Mean, (p,), (1, 6), None, axes=(1, 2))
    graph = b.graph(b.add(ops.FullyConnected, (m, *b.constants("f", (5, 6), 0)), (1, 5), None))
    outputs = run_all(graph, tmp_path, only=("litert_ref", "litert_xnnpack"))
    w = {name: torch.tensor(t.data.astype(np.float32)) for name, t in graph.tensors.items() if t.is_constant}
    y = torch.tensor(outputs["x"]).permute(0, 3, 1, 2)
    y = torch.nn.functional.conv2d(y, w["c.w"].permute(0, 3, 1, 2), w["c.b"], 2, 1).clamp(0, 6)
    y = torch.nn.functional.conv2d(y, w["d.w"].permute(3, 0, 1, 2), w["d.b"], groups=6)
    y = torch.nn.functional.max_pool2d(y, 3, 2, 1).mean((2, 3))
    expected = torch.nn.functional.linear(y, w["f.w"], w["f.b"]).numpy()
    for name in ("litert_ref", "litert_xnnpack"):
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-4, atol=1e-4)
    wide = Counter(operators((tmp_path / "model.tflite").read_bytes()))["DEQUANTIZE"]
    assert wide == (6 if dtype == "float16" else 0)


def test_relu6_into_another_scale(tmp_path):
    graph = one(lambda b: b.add(ops.Relu, ("x",), (1, 9, 9, 4), (6 / 255, -128), activation="relu6"))
    assert operators(tflite.encode(graph)) == ["RELU"]
    with pytest.raises(InputError, match="relu6 into another scale"):
        tflite.encode(one(lambda b: b.add(ops.Relu, ("x",), (1, 9, 9, 4), (0.1, -128), activation="relu6")))


def test_refusals_name_the_operator():
    def refused(graph, match):
        with pytest.raises(InputError, match=match):
            tflite.encode(graph)

    refused(replace(one(conv), layout="channels_first"), r"layout channels_first\n  expected: channels_last")
    refused(one(lambda b: b.add(ops.Softmax, ("x",), (1, 9, 9, 4))), r"operator op0: output scale and zero point .*\n.*1/256 and -128")
    refused(one(lambda b: b.add(ops.Concat, ("x", "x"), (1, 9, 9, 8))), r"operator op0: scales and zero points")
    refused(one(lambda b: b.add(ops.Mean, ("x",), (9, 9, 4), axes=(0,))), r"operator op0: mean over axes \(0,\)")
    refused(
        one(lambda b: b.add(ops.AveragePool2D, ("x",), (1, 9, 8, 4), "x", kernel=(2, 2), padding=(1, 0, 0, 0))),
        "padding .* of an average pool",
    )
    refused(one(lambda b: b.add(ops.Conv2D, ("x", *b.constants("c", (8, 3, 3, 4), 3)), (1, 7, 7, 8))), "quantization of weight 'c.w'")
    graph = one(conv)
    bare = {**graph.tensors, "x": replace(graph.tensor("x"), quantization=None)}
    refused(replace(graph, tensors=bare), "'x' is int8 without quantization")
    wide = {**graph.tensors, "x": Tensor("x", "int16", (1, 9, 9, 4), graph.tensor("x").quantization)}
    refused(replace(graph, tensors=wide), "int16 and int8 in one operator")
