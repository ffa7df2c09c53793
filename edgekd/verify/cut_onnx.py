"""An ONNX file cut off after one tensor, everything before it as it was."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph
from edgekd.verify.cut_border import KEY, OUTPUT, metadata_of_cut, shape_of


def cut(path: Path, graph: QuantGraph, tensor: str, folder: Path) -> Path:
    """Write ``folder``/cut.onnx, whose only output is the real value of ``tensor`` ([N, C, H, W] for a feature map).

    The file must name its tensors as edgekd's exporter does. Raises InputError if it has no such tensor.
    """
    model = onnx.load(path)
    made = {name for node in model.graph.node for name in node.output}
    candidates = [tensor, f"{tensor}/value", *([model.graph.output[0].name] if tensor in graph.outputs else [])]
    source = next((name for name in candidates if name in made), None)
    if source is None:
        raise InputError(f"no operator writes {tensor!r}", where=str(path), expected="tensors named as in the graph")
    needed, nodes = {source}, [helper.make_node("Identity", [source], [OUTPUT])]
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
    text = next(entry.value for entry in model.metadata_props if entry.key == KEY)
    helper.set_model_props(shortened, {KEY: metadata_of_cut(text, graph, tensor)})
    onnx.save(shortened, folder / "cut.onnx")
    return folder / "cut.onnx"
