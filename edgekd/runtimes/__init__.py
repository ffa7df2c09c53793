"""Runtimes on this host: each opens an exported file and runs it on what a device would feed."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

#: Runtime → ``open(path, *, threads)``. litert_xnnpack is LiteRT as it comes; litert_ref has its reference kernels.
#: c_host is a C library that this host compiles.
RUNTIMES = {
    "tflm": "edgekd.runtimes.tflm:open_model",
    "c_host": "edgekd.runtimes.c_host:open_model",
    "litert_ref": "edgekd.runtimes.litert:open_reference",
    "litert_xnnpack": "edgekd.runtimes.litert:open_xnnpack",
    "onnxruntime": "edgekd.runtimes.onnxruntime:open_model",
    "openvino": "edgekd.runtimes.openvino:open_model",
}
#: Runtime → the exporter whose files it opens.
OPENS = {"tflm": "tflite", "c_host": "c", "litert_ref": "tflite", "litert_xnnpack": "tflite", "onnxruntime": "onnx", "openvino": "openvino"}


class Runner(Protocol):
    """A loaded model. Its thread count was fixed when it was opened."""

    @property
    def where(self) -> str:
        """Runtime, its version, threads and what else decides the integers (kernel set, instruction set, precision hint)."""
        ...

    def run(self, x: np.ndarray) -> np.ndarray:
        """Outputs [N, ...] for samples ``x`` [N, ...], channels last; of several outputs [N, values of all], in the file's order.

        Integer students take int8 (q = p − 128 for images) and return int8, whatever the file's own border types are: float borders are
        crossed with the scales in the file's metadata, exactly. Float students take float32 ((p − 128)/128) and return float32.
        """
        ...

    def close(self) -> None: ...


class Open(Protocol):
    def __call__(self, path: Path, *, threads: int = 1) -> Runner: ...
