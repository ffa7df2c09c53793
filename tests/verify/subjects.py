"""What is verified: a graph's file, by the exporter that writes what a runtime reads."""

from __future__ import annotations

from pathlib import Path

from edgekd.export import EXPORTERS, c, onnx, openvino, tflite
from edgekd.quant.graph import QuantGraph
from edgekd.runtimes import RUNTIMES
from edgekd.verify.certificate import Subject

FORMATS = {
    "tflm": "tflite",
    "litert_ref": "tflite",
    "litert_xnnpack": "tflite",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "c_host": "c",
}
EXPORT = {"tflite": tflite.export, "onnx": onnx.export, "openvino": openvino.export, "c": c.export}


def subject(graph: QuantGraph, runtime: str, folder: Path) -> Subject:
    kind = FORMATS[runtime]
    return Subject(runtime, RUNTIMES[runtime], folder / EXPORT[kind](graph, folder).path, EXPORTERS[kind])
