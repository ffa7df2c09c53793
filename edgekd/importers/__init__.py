"""Importers: each is one function, ``read(path) -> QuantGraph`` (channels last), by the file's suffix."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from edgekd.quant.graph import QuantGraph

IMPORTERS = {
    ".tflite": "edgekd.importers.tflite:read",
    ".onnx": "edgekd.importers.onnx:read",
}


class Read(Protocol):
    def __call__(self, path: Path) -> QuantGraph:
        """The graph of ``path``. Raises InputError, naming the operator, for a file that is damaged or holds what is not supported."""
        ...
