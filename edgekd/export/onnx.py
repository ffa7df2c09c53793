"""QuantGraph → ONNX in QDQ form (int8, int16, weights of 4 bits), or plain ONNX (float32, float16). ONNX operator set 21.

The border is float32, channels first, batch free: ``input`` [N, C, H, W] and ``output``; several outputs are called as in the graph.
Inside, the integers of tensor T stand under ``T/q`` and its real values under ``T`` (the output tensor's under ``output``).

Where the activation stands, Given → Result:

    asymmetric   Conv+relu, clamped by int8 itself    Conv → Q → DQ
                 Conv+relu, not clamped by it         Conv → Q → DQ → Relu → Q → DQ   onnxruntime: integer convolutions
    symmetric    Conv+relu                            Conv → Relu → Q → DQ            TensorRT fuses it; onnxruntime: float

Average pools of an asymmetric scheme round ties as TFLite does (``onnx_nodes``).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper

from edgekd.errors import InputError
from edgekd.export.onnx_nodes import INPUT, OUTPUT, Nodes, add_clamp, add_operator, clamp
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.ops import Logistic, Quantize, Relu, Softmax
from edgekd.quant.passes.channels_first import channels_first
from edgekd.records import Artifact, Figure
from edgekd.runs import atomic_write
from edgekd.runtimes.onnxruntime import INTEGER_KERNELS_WHERE, integer_kernels

OPSET = 21
#: The file format of the first onnx release that knew operator set 21; fixed, so that a newer library writes the same bytes.
IR_VERSION = 10
FILE = "model.onnx"
KEY = "edgekd"
#: Inputs that are numbers of something (tokens), not quantized values; ONNX files hold them as int64.
WHOLE = ("int32", "int64")


def export(graph: QuantGraph, out: Path, *, unsigned: bool = False) -> Artifact:
    """Write ``graph`` (channels last; int8, int16, float, or some of each) as ``out/model.onnx``, atomically; same graph, same bytes.

    Raises InputError where an operator or dtype has no ONNX form. The figures count the convolutions that onnxruntime, on this host, runs
    as integer and as float kernels.

    ``unsigned`` (asymmetric schemes only) holds the activations as uint8 inside the file, 128 above the graph's int8. The real values are
    the same; onnxruntime has far faster kernels for uint8 activations on x86 (they saturate without VNNI; those for int8 do not).
    """
    model = build(graph, unsigned=unsigned)
    data = model.SerializeToString(deterministic=True)
    atomic_write(out / FILE, data)
    figures = {"model_bytes": Figure(len(data), "B", "counted", FILE)}
    notes: list[str] = []
    if (form := _form(graph)).integer:
        kernels = integer_kernels(out / FILE)
        for name in ("integer", "float"):
            figures[f"{name}_convolutions"] = Figure(kernels[f"{name}_convolutions"], "operators", "counted", INTEGER_KERNELS_WHERE)
        total = kernels["integer_convolutions"] + kernels["float_convolutions"]
        if kernels["float_convolutions"]:
            notes.append(
                f"onnxruntime computes {kernels['float_convolutions']} of {total} convolutions in float; TensorRT fuses them to int8"
            )
        if form.symmetric:
            notes.append("biases are float32, exact multiples of s_in*s_w: TensorRT dequantizes no int32")
    return Artifact("onnx", FILE, hashlib.sha256(data).hexdigest(), figures, (FILE,), tuple(notes))


def read_metadata(path: Path) -> dict[str, Any]:
    """The JSON document that the file carries under ``edgekd``. Raises InputError where the file or the document cannot be read."""
    try:
        metadata = metadata_of(onnx.load(path, load_external_data=False))
    except (OSError, DecodeError, ValueError, RecursionError) as error:
        raise InputError(f"not an ONNX file ({error})", where=str(path), expected="an ONNX file that edgekd wrote") from error
    if not metadata:
        raise InputError(f"no metadata under {KEY!r}", where=str(path), expected="a file that edgekd exported")
    return metadata


def metadata_of(model: onnx.ModelProto) -> dict[str, Any]:
    """The document of a model in memory; empty where it has none."""
    return next((json.loads(entry.value) for entry in model.metadata_props if entry.key == KEY), {})


@dataclass(frozen=True)
class _Form:
    """What decides how a graph is written."""

    integer: bool
    symmetric: bool
    half: bool


def _form(graph: QuantGraph) -> _Form:
    dtypes = {t.dtype for t in graph.tensors.values()}
    # Softmax and Logistic carry the zero point that TFLite prescribes under every scheme, so they say nothing.
    fixed = {op.outputs[0] for op in graph.ops if isinstance(op, (Softmax, Logistic))}
    zero_points = [
        t.quantization.single[1] for t in graph.tensors.values() if t.quantization is not None and not t.is_constant and t.name not in fixed
    ]
    scheme = graph.metadata.get("scheme")
    stated = scheme.get("symmetric_activations") if isinstance(scheme, dict) else None
    symmetric = not any(zero_points) if stated is None or not zero_points else bool(stated)
    if symmetric and any(zero_points):
        raise InputError(
            "the scheme says symmetric activations, but a zero point is not 0", where=f"graph {graph.name}", expected="zero points of 0"
        )
    return _Form(bool(zero_points), symmetric and bool(zero_points), "float16" in dtypes)


def build(graph: QuantGraph, *, unsigned: bool = False, ties_away: bool = True) -> onnx.ModelProto:
    """The checked ONNX model of ``graph`` in memory; see ``export``.

    ``ties_away`` (it does nothing under a symmetric scheme) has average pools round a half away from 0, by nodes that other runtimes than
    onnxruntime gain nothing from.
    """
    form = _form(graph)
    if unsigned and (form.symmetric or not form.integer or any(t.dtype == "int16" for t in graph.tensors.values())):
        raise InputError("unsigned activations", where=f"graph {graph.name}", expected="an asymmetric int8 scheme")
    if len(graph.inputs) != 1 or not graph.outputs or len(set(graph.outputs)) != len(graph.outputs):
        said = f"inputs {list(graph.inputs)}, outputs {list(graph.outputs)}"
        raise InputError(said, where=f"graph {graph.name}", expected="one input, and each output once")
    graph = channels_first(graph)
    names = output_names(graph)
    nodes = Nodes(
        graph,
        float_type=np.float16 if form.half else np.float32,
        int32_bias=not form.symmetric,
        unsigned=unsigned,
        ties_away=ties_away and form.integer and not form.symmetric,
    )
    _add_input(nodes, graph.tensor(graph.inputs[0]), half=form.half)
    for op in graph.ops:
        _add(nodes, op, form)
    x, answers = graph.tensor(graph.inputs[0]), {shown: graph.tensor(name) for name, shown in names.items()}
    for shown, y in answers.items():
        if form.half:
            nodes.node("Cast", [nodes.read(y.name)], shown, {"to": TensorProto.FLOAT})
        elif nodes.read(y.name) != shown:
            nodes.node("Identity", [nodes.read(y.name)], shown)
    proto = helper.make_graph(
        nodes.nodes,
        graph.name,
        [helper.make_tensor_value_info(INPUT, TensorProto.INT64 if x.dtype in WHOLE else TensorProto.FLOAT, ["N", *x.shape[1:]])],
        [helper.make_tensor_value_info(shown, TensorProto.FLOAT, ["N", *y.shape[1:]]) for shown, y in answers.items()],
        list(nodes.initializers.values()),
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="edgekd")
    metadata = {**graph.metadata, "input": _border(graph, x, INPUT, "input")}
    borders = [_border(graph, y, shown, "output") for shown, y in answers.items()]
    metadata |= {"output": borders[0]} if len(borders) == 1 else {"outputs": borders}
    helper.set_model_props(model, {KEY: json.dumps(metadata, sort_keys=True, ensure_ascii=False, separators=(",", ":"))})
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InputError(f"onnx.checker refuses it: {error}", where=f"graph {graph.name}", expected="shapes that agree") from error
    return model


def output_names(graph: QuantGraph) -> dict[str, str]:
    """What each output of the graph is called in the file."""
    if len(graph.outputs) == 1:
        return {graph.outputs[0]: OUTPUT}
    return {name: name if name != INPUT else f"{name}/value" for name in graph.outputs}


def _border(graph: QuantGraph, tensor: Tensor, name: str, side: str) -> dict[str, Any]:
    """What stands at this border of the file: facts about it win over what the graph's own metadata said of the side, all else is kept."""
    stated = graph.metadata.get(side)
    layout = "NCHW" if len(tensor.shape) == 4 else "N" + "C" * (len(tensor.shape) - 1)
    border: dict[str, Any] = {
        "name": name,
        "dtype": "int64" if tensor.dtype in WHOLE else "float32",
        "shape": ["N", *tensor.shape[1:]],
        "layout": layout,
    }
    if tensor.quantization is not None:
        border["scale"], border["zero_point"] = tensor.quantization.single
        if tensor.dtype != "int8":
            border["integers"] = tensor.dtype
    return {**(stated if isinstance(stated, dict) else {}), **border}


def _value(nodes: Nodes, name: str) -> str:
    """Under which name a real value stands that is no output of the file."""
    return f"{name}/value" if name in (INPUT, *output_names(nodes.graph).values()) else name


def _add_input(nodes: Nodes, x: Tensor, *, half: bool) -> None:
    if x.quantization is not None:
        nodes.values[x.name] = nodes.quantize(INPUT, x, f"{x.name}/q", _value(nodes, x.name))
    elif half and x.dtype not in WHOLE:
        nodes.values[x.name] = nodes.node("Cast", [INPUT], _value(nodes, x.name), {"to": TensorProto.FLOAT16})
    else:
        nodes.values[x.name] = INPUT


def _add(nodes: Nodes, op: Any, form: _Form) -> None:
    """Operator, activation and quantization of ``op``, in the order that the scheme's runtime wants."""
    y = nodes.graph.tensor(op.outputs[0])
    shown = output_names(nodes.graph).get(y.name)
    result = shown if shown is not None and not form.half else _value(nodes, y.name)
    if isinstance(op, Quantize):
        nodes.values[y.name] = nodes.quantize(nodes.read(op.inputs[0]), y, f"{y.name}/q", result)
        return
    bounds = None if isinstance(op, Relu) else clamp(op, y)
    last = f"{y.name}/real" if y.quantization is not None else result
    if bounds is None:
        add_operator(nodes, op, last)
    else:
        linear = f"{y.name}/linear"
        add_operator(nodes, op, linear)
        if y.quantization is not None and not form.symmetric:
            linear = nodes.quantize(linear, y, f"{linear}/q", f"{linear}/value")
        add_clamp(nodes, bounds, linear, last)
    if y.quantization is not None:
        nodes.quantize(last, y, f"{y.name}/q", result)
    nodes.values[y.name] = result
