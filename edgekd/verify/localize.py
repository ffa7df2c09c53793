"""Which layer a runtime starts to disagree at: the file is cut off after ever fewer operators, and each cut compared with the reference."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekd.errors import EdgekdError, InputError
from edgekd.lazy import load
from edgekd.quant import reference
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Op
from edgekd.quant.passes.layout_rules import convert_and_view
from edgekd.quant.passes.prefix import needed, prefix
from edgekd.verify.jobs import Job, run_jobs

#: Kind of file → ``cut(path, graph, tensor, folder) -> Path``. Kinds that are not here are exported anew from the graph's prefix.
CUTTERS = {
    ".tflite": "edgekd.verify.cut_tflite:cut",
    ".onnx": "edgekd.verify.cut_onnx:cut",
    ".xml": "edgekd.verify.cut_openvino:cut",
    ".c": "edgekd.verify.cut_c:cut",
}
#: Whether edgekd wrote an ONNX file.
ONNX_IS_OWN = "edgekd.verify.cut_onnx:is_own"
#: A float value disagrees if it is further away than this share of the tensor's largest.
FLOAT_TOLERANCE = 0.02


@dataclass(frozen=True)
class Layer:
    """An operator whose inputs all agree while its output ``tensor`` does not: ``share`` of the values differ, by ``largest`` at most."""

    tensor: str
    op: str
    kind: str
    share: float
    largest: float
    integer: bool = True

    def __str__(self) -> str:
        unit = " LSB" if self.integer else ""
        return f"{self.op} ({self.kind}, tensor {self.tensor}): {self.share:.2%} of its values differ, by {self.largest:g}{unit} at most"


def first_disagreement(graph: QuantGraph, path: Path, functions: tuple[str, str], x: np.ndarray, profile: str) -> Layer | str:
    """The first layer at which the file at ``path`` and the reference under ``profile`` disagree on the few samples ``x``.

    ``functions`` are "module:function": the runtime's opener and the exporter. About log₂(operators) runs by bisection. What bisection
    finds is then followed back to an operator whose inputs agree, because agreement along one branch says nothing about another.
    Returns a sentence instead of a layer where every cut agrees, or where a cut cannot be made or run.
    """
    opener, exporter = functions
    order = needed(graph)
    wanted = reference.run(graph, x, profile, keep=tuple(op.outputs[0] for op in order))
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        probe = _Probe(graph, opener, Cutter(graph, path, exporter, Path(folder)), x, wanted)
        try:
            found = next((layer for ops in _ways(graph, probe) if (layer := _bisect(ops, probe)) is not None), None)
        except EdgekdError as error:
            return f"no layer named: {error}"
    return found or "no layer named: each cut of the file agrees by itself, so what disagrees is how the runtime fuses its layers"


class Cutter:
    """Final. Cuts the file at ``path`` off after a tensor of ``graph``, into ``folder``; another cut may overwrite it.

    An ONNX file or IR of edgekd is channels first: a tensor may lie in another one there, transposed or in another shape.
    """

    def __init__(self, graph: QuantGraph, path: Path, exporter: str, folder: Path) -> None:
        self._graph, self._path, self._folder = graph, path, folder
        self._cut = load(CUTTERS[path.suffix]) if path.suffix in CUTTERS else None
        self._export = None if self._cut else load(exporter)
        self._file, self._views = graph, {}
        if graph.layout == "channels_last" and (path.suffix == ".xml" or (path.suffix == ".onnx" and load(ONNX_IS_OWN)(path))):
            self._file, self._views = convert_and_view(graph, "channels_first")

    def cut(self, tensor: str) -> Path:
        """The cut file. Raises InputError if the file has no such tensor."""
        if self._cut is None:
            assert self._export
            return self._folder / self._export(prefix(self._graph, tensor), self._folder).path
        return self._cut(self._path, self._file, self._views[tensor].name if tensor in self._views else tensor, self._folder)

    def restore(self, tensor: str, y: np.ndarray) -> np.ndarray:
        """``tensor`` [N, ...] as the graph has it, of what a runner answers for the cut. Raises InputError if it lies in no known way."""
        shape = self._graph.tensor(tensor).shape[1:]
        if tensor in self._views and self._views[tensor].order is None:
            view = self._views[tensor]
            held = y.transpose(0, 3, 1, 2) if y.ndim == 4 else y  # a runner has turned a feature map already
            if held[0].size == math.prod(view.sizes):
                digits = held.reshape(len(y), *view.sizes).transpose(0, *(d + 1 for d in view.memory(range(len(view.axes)))))
                return digits.reshape(len(y), *shape)
        elif [size for size in y.shape[1:] if size > 1] == [size for size in shape if size > 1]:
            return y.reshape(len(y), *shape)
        elif y.ndim == 3 and y.shape[1:] == shape[::-1]:  # a signal, channels first
            return y.swapaxes(1, 2)
        raise InputError(f"{tensor!r} is {list(y.shape[1:])} there", where=str(self._path), expected=f"values that lie as {list(shape)}")


class _Probe:
    """Final. Compares one tensor at a time, and remembers."""

    def __init__(self, graph: QuantGraph, opener: str, cutter: Cutter, x: np.ndarray, wanted: dict[str, np.ndarray]) -> None:
        self._graph, self._opener, self._cutter, self._x, self._wanted = graph, opener, cutter, x, wanted
        self._known: dict[str, Layer | None] = {}

    def __call__(self, op: Op) -> Layer | None:
        """The disagreement of the operator's output; None where it agrees."""
        if op.name not in self._known:
            self._known[op.name] = self._compare(op)
        return self._known[op.name]

    def before(self, op: Op) -> list[Op]:
        return [producer for name in op.inputs if (producer := self._graph.producer(name)) is not None]

    def _compare(self, op: Op) -> Layer | None:
        name = op.outputs[0]
        outcome = run_jobs([Job(f"cut after {op.name}", str(self._cutter.cut(name)), self._opener)], self._x, workers=1)
        want = self._wanted[name]
        got = self._cutter.restore(name, next(iter(outcome.values())).outputs)
        away = np.abs(got.astype(np.float64) - want.astype(np.float64))
        integer = want.dtype.kind == "i"
        differs = away > (0 if integer else FLOAT_TOLERANCE * np.abs(want).max())
        if not differs.any():
            return None
        return Layer(name, op.name, type(op).__name__, float(differs.mean()), float(away.max()), integer)


def _ways(graph: QuantGraph, probe: _Probe) -> Iterator[Sequence[Op]]:
    """The operators that lead to an output which disagrees; a single output does: that is why this runs."""
    for name in graph.outputs:
        maker = graph.producer(name)
        if maker is not None and (len(graph.outputs) == 1 or probe(maker)):
            yield needed(graph, name)


def _bisect(order: Sequence[Op], probe: _Probe) -> Layer | None:
    low, high = 0, len(order) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if probe(order[middle]) else (middle + 1, high)
    op, layer = order[low], probe(order[low])
    while layer is not None and (earlier := next((o for o in probe.before(op) if probe(o)), None)) is not None:
        op, layer = earlier, probe(earlier)
    return layer
