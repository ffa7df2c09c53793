"""Every tensor of a file as a runtime computes it: the file is cut off after each, and each cut run. What a job of layers.py opens."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.errors import EdgekdError
from edgekd.lazy import load
from edgekd.quant import io
from edgekd.verify.localize import Cutter

OPENER = "edgekd.verify.cuts:open_cuts"
#: What is not available is written beside the order, under this suffix: tensor → why.
WHY = ".why.json"


@dataclass(frozen=True)
class Order:
    """``graph`` is the folder of the graph that ``path`` is a file of; ``opener`` and ``exporter`` are "module:function"."""

    graph: str
    path: str
    opener: str
    exporter: str
    tensors: tuple[str, ...]


def open_cuts(path: Path, *, threads: int = 1) -> _Cuts:
    """Of the order that was written to ``path``."""
    stated: dict[str, Any] = json.loads(path.read_text())
    order = Order(stated["graph"], stated["path"], stated["opener"], stated["exporter"], tuple(stated["tensors"]))
    return _Cuts(order, path.with_suffix(WHY), threads)


class _Cuts:
    """Final. Its outputs are all tensors of the order, side by side; a tensor that is not available is NaN, and why is written down."""

    def __init__(self, order: Order, why: Path, threads: int) -> None:
        self._order, self._why, self._threads = order, why, threads
        self._graph = io.load(Path(order.graph))

    @property
    def where(self) -> str:
        return f"{self._order.opener}, {len(self._order.tensors)} cuts"

    def run(self, x: np.ndarray) -> np.ndarray:
        """float32 [N, values of all tensors]; integers up to 16 bits are exact in it."""
        whys: dict[str, str] = {}
        parts: list[np.ndarray] = []
        with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
            cutter = Cutter(self._graph, Path(self._order.path), self._order.exporter, Path(folder))
            for tensor in self._order.tensors:
                size = math.prod(self._graph.tensor(tensor).shape[1:])
                try:
                    parts.append(self._values(cutter, tensor, x))
                except EdgekdError as error:
                    whys[tensor] = str(error).splitlines()[0]
                    parts.append(np.full((len(x), size), np.nan, np.float32))
        self._why.write_text(json.dumps(whys))
        return np.concatenate(parts, axis=1)

    def close(self) -> None:
        """Nothing is held."""

    def _values(self, cutter: Cutter, tensor: str, x: np.ndarray) -> np.ndarray:
        runner = load(self._order.opener)(cutter.cut(tensor), threads=self._threads)
        values = cutter.restore(tensor, runner.run(x))
        runner.close()
        return values.reshape(len(x), -1).astype(np.float32)
