"""An OpenVINO IR cut off after one tensor, everything before it as it was."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import openvino as ov

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph
from edgekd.runtimes.openvino import read_metadata, read_model
from edgekd.verify.cut_border import KEY, metadata_of_cut


def cut(path: Path, graph: QuantGraph, tensor: str, folder: Path) -> Path:
    """Write ``folder``/cut.xml and cut.bin, whose only output is the real value of ``tensor`` ([N, C, H, W] for a feature map).

    The file must be edgekd's: another's has its tensors under names of its own, fused or split. Raises InputError if it is not, or has no
    such tensor.
    """
    metadata = read_metadata(path)
    model = read_model(path)
    alone = tensor in graph.outputs and len(graph.outputs) == 1  # several outputs are called as in the graph
    wanted = {tensor, f"{tensor}/value", *(model.output(0).get_names() if alone else ())}
    ports = [port for node in model.get_ordered_ops() for port in node.outputs() if wanted & set(port.get_names())]
    if not ports:
        raise InputError(f"no operator writes {tensor!r}", where=str(path), expected="tensors named as in the graph")
    make: Any = ov.Model
    shortened = make([ports[0]], model.get_parameters(), "cut")
    ov.save_model(shortened, folder / "cut.xml", compress_to_fp16=False)
    digest = hashlib.sha256((folder / "cut.bin").read_bytes()).hexdigest()  # the runtime demands it
    text = metadata_of_cut(json.dumps(metadata), graph, tensor, weights_sha256=digest)
    shortened.set_rt_info(text, [KEY])
    ov.save_model(shortened, folder / "cut.xml", compress_to_fp16=False)
    return folder / "cut.xml"
