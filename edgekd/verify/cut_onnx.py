"""An ONNX file cut off after one tensor, everything before it as it was."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph

KEY = "edgekd"
_CUT = "edgekd/cut"


def cut(path: Path, graph: QuantGraph, tensor: str, folder: Path) -> Path:
    """Write ``folder``/cut.onnx, whose only output is the real value of ``tensor`` ([N, C, H, W] for a feature map).

    The file must name its tensors as edgekd's exporter does. Raises InputError if it has no such tensor.
    """
    model = onnx.load(path)
    made = {name: node for node in model.graph.node for name in node.output}
    whole = tensor in graph.outputs and tensor not in made
    source = model.graph.output[0].name if whole else tensor if tensor in made else f"{tensor}/value"
    if source not in made:
        raise InputError(f"no operator writes {tensor!r}", where=str(path), expected="tensors named as in the graph")
    needed, kept = {source}, []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    stated = graph.tensor(tensor)
    shape = stated.shape
    if graph.layout == "channels_last" and len(shape) == 4:
        shape = (shape[0], shape[3], shape[1], shape[2])
    constants = [value for value in model.graph.initializer if value.name in needed]
    output = helper.make_tensor_value_info(_CUT, TensorProto.FLOAT, ["N", *shape[1:]])
    nodes = [*reversed(kept), helper.make_node("Identity", [source], [_CUT])]
    inputs = [value for value in model.graph.input if value.name in needed]
    metadata = json.loads(next(entry.value for entry in model.metadata_props if entry.key == KEY))
    border: dict[str, object] = {"name": _CUT, "shape": ["N", *shape[1:]], "layout": "NCHW" if len(shape) == 4 else "NC"}
    if stated.quantization is not None:
        border["scale"], border["zero_point"] = stated.quantization.single
    shortened = helper.make_model(
        helper.make_graph(nodes, model.graph.name, inputs, [output], constants),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    helper.set_model_props(shortened, {KEY: json.dumps({**metadata, "output": border})})
    out = folder / "cut.onnx"
    onnx.save(shortened, out)
    return out
