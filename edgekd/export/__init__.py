"""Exporters: each is one function, ``export(graph, out) -> Artifact``; the same graph gives the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from edgekd.quant.graph import QuantGraph
from edgekd.records import Artifact

EXPORTERS = {
    "tflite": "edgekd.export.tflite:export",
    "onnx": "edgekd.export.onnx:export",
    "openvino": "edgekd.export.openvino:export",
    "c": "edgekd.export.c:export",
}


class Export(Protocol):
    def __call__(self, graph: QuantGraph, out: Path) -> Artifact:
        """Write ``graph`` (channels last) into the folder ``out``, atomically; the artifact's path is the file's name."""
        ...
