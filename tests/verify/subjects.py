"""What is verified: a graph's file, by the exporter that writes what a runtime reads."""

from __future__ import annotations

from pathlib import Path

from edgekd.export import EXPORTERS, c, onnx, openvino, tflite
from edgekd.quant.graph import QuantGraph
from edgekd.runtimes import OPENS, RUNTIMES
from edgekd.verify.certificate import Subject

EXPORT = {"tflite": tflite.export, "onnx": onnx.export, "openvino": openvino.export, "c": c.export}


def subject(graph: QuantGraph, runtime: str, folder: Path) -> Subject:
    kind = OPENS[runtime]
    return Subject(runtime, RUNTIMES[runtime], folder / EXPORT[kind](graph, folder).path, EXPORTERS[kind])
