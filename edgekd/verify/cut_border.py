"""The metadata of a file that was cut off after one tensor: its output is that tensor."""

from __future__ import annotations

import json

from edgekd.quant.graph import QuantGraph

#: The name of the metadata document in a file, and of the output of a cut file.
KEY, OUTPUT = "edgekd", "edgekd/cut"


def shape_of(graph: QuantGraph, tensor: str) -> tuple[int, ...]:
    """Shape of one sample of ``tensor`` in a channels-first file."""
    shape = graph.tensor(tensor).shape[1:]
    return (shape[2], shape[0], shape[1]) if graph.layout == "channels_last" and len(shape) == 3 else shape


def metadata_of_cut(text: str, graph: QuantGraph, tensor: str, **more: str) -> str:
    """The document ``text`` of the whole file, with the output that the cut file has, and ``more`` entries."""
    shape = shape_of(graph, tensor)
    output: dict[str, object] = {"name": OUTPUT, "shape": ["N", *shape], "layout": "NCHW" if len(shape) == 3 else "NC"}
    if (quantization := graph.tensor(tensor).quantization) is not None:
        output["scale"], output["zero_point"] = quantization.single
        output["integers"] = graph.tensor(tensor).dtype
    kept = {key: value for key, value in json.loads(text).items() if key != "outputs"}
    return json.dumps({**kept, **more, "output": output}, sort_keys=True)
