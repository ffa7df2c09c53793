"""An ONNX file cut off after one tensor, everything before it as it was."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from edgekd.errors import InputError
from edgekd.importers.onnx import SUFFIX
from edgekd.quant.graph import QuantGraph
from edgekd.runtimes.onnx_border import border_of
from edgekd.verify.cut_border import KEY, OUTPUT, metadata_of_cut, shape_of


def cut(path: Path, graph: QuantGraph, tensor: str, folder: Path) -> Path:
    """Write ``folder``/cut.onnx, whose only output is the real value of ``tensor`` ([N, C, H, W] for a feature map).

    In a file of another tool a tensor is found by its name without what quantizers append. Raises InputError if the file has no such
    tensor.
    """
    model = onnx.load(path)
    text = next((entry.value for entry in model.metadata_props if entry.key == KEY), None)
    last = _own(model, graph, tensor) if text is not None else _foreign(model, graph, tensor)
    if last is None:
        raise InputError(f"no operator writes {tensor!r}", where=str(path), expected="tensors named as in the graph")
    needed, nodes = set(last.input), [last]
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    inputs = [value for value in model.graph.input if value.name in needed]
    output = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", *shape_of(graph, tensor)])
    constants = [value for value in model.graph.initializer if value.name in needed]
    shortened = helper.make_model(
        helper.make_graph(nodes[::-1], model.graph.name, inputs, [output], constants),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    helper.set_model_props(shortened, {KEY: metadata_of_cut(text or _input(path), graph, tensor)})
    onnx.save(shortened, folder / "cut.onnx")
    return folder / "cut.onnx"


def is_own(path: Path) -> bool:
    """Whether edgekd wrote the file."""
    return any(entry.key == KEY for entry in onnx.load(path, load_external_data=False).metadata_props)


def _own(model: onnx.ModelProto, graph: QuantGraph, tensor: str) -> onnx.NodeProto | None:
    """The last operator of the cut: of a file that edgekd wrote."""
    made = {name for node in model.graph.node for name in node.output}
    alone = tensor in graph.outputs and len(graph.outputs) == 1  # several outputs are called as in the graph
    candidates = [tensor, f"{tensor}/value", *([model.graph.output[0].name] if alone else [])]
    source = next((name for name in candidates if name in made), None)
    return None if source is None else helper.make_node("Identity", [source], [OUTPUT])


def _foreign(model: onnx.ModelProto, graph: QuantGraph, tensor: str) -> onnx.NodeProto | None:
    """The same of another tool's: what dequantizes the tensor, or would, so that everything before it is fused as it was."""
    named = [(node, name) for node in model.graph.node for name in node.output if tensor in (name, _plain(name))]
    if graph.tensor(tensor).quantization is None:
        return next((helper.make_node("Identity", [name], [OUTPUT]) for _, name in named), None)
    for node, name in named:
        if node.op_type == "QuantizeLinear":
            return helper.make_node("DequantizeLinear", [name, *node.input[1:3]], [OUTPUT])
        if node.op_type.startswith("QLinear"):
            of_output = node.input[6:8] if len(node.input) >= 8 else node.input[3:5]
            return helper.make_node("DequantizeLinear", [name, *of_output], [OUTPUT])
    return next((helper.make_node("Identity", [name], [OUTPUT]) for node, name in named if node.op_type == "DequantizeLinear"), None)


def _plain(name: str) -> str:
    while SUFFIX.search(name) and SUFFIX.sub("", name):
        name = SUFFIX.sub("", name)
    return name


def _input(path: Path) -> str:
    """The document that says how to feed another tool's file."""
    border = border_of(path)
    shape = border.input_shape
    entry = {
        "shape": ["N", *((shape[2], *shape[:2]) if len(shape) == 3 else shape)],
        "layout": "NCHW" if len(shape) == 3 else "NC",
        "scale": None if border.input_scale is None else float(border.input_scale),
        "zero_point": border.input_zero,
        "integers": border.feeds,
        "dtype": border.held,
    }
    return json.dumps({"input": entry})
