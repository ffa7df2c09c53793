"""What every device of `edgekd bench` is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from edgekd.profile.schema import Profile
from edgekd.quant.graph import QuantGraph
from edgekd.records import Artifact, Figure, Measurement


class Write(Protocol):
    """An exporter by its format: files of ``graph`` in the folder ``out``. Options (kernels, core) are the exporter's own."""

    def __call__(self, fmt: str, graph: QuantGraph, out: Path, **options: str) -> Artifact: ...


@dataclass(frozen=True, eq=False)
class Subject:
    """What to measure. ``graph`` is channels last; ``x`` [N, …] in the dtype of its input, ``y`` their labels or None, ``inputs`` says
    what they are.

    ``kernels`` are the sets of kernels to compare; ``keep``: where to leave what is built, None: nowhere. ``seconds``: how long accuracy
    may take, for each set. ``cmsis_nn``: a folder with CMSIS-NN, None: wherever else it is found.
    """

    graph: QuantGraph
    profile: Profile
    x: np.ndarray
    y: np.ndarray | None
    inputs: str
    write: Write
    kernels: tuple[str, ...] = ("portable",)
    seconds: float = 60.0
    keep: Path | None = None
    cmsis_nn: Path | None = None


@dataclass(frozen=True)
class Layer:
    """``value`` of one layer, in the unit of its row."""

    name: str
    value: float
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One way to run the model on the device: a line of the table. ``failed`` says why its figures are not to be believed, "" if they are.

    ``layers`` are in ``unit``, in the order in which they run; their sum may differ from the total by ``layers_note``.
    """

    name: str
    measurement: Measurement
    layers: tuple[Layer, ...] = ()
    unit: str = ""
    layers_note: str = ""
    failed: str = ""


@dataclass(frozen=True)
class Bench:
    """``rows`` that were measured, ``baselines`` beside them (other runtimes; not all figures are there), and what a reader must know."""

    device: str
    rows: tuple[Row, ...]
    baselines: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    figures: dict[str, Figure] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not any(row.failed for row in self.rows)


Progress = Callable[[str, int, int], None]


class Measure(Protocol):
    """A device. Raises DoesNotFit for a model that is larger than the target, MissingDependency for a tool that is not installed."""

    def __call__(self, subject: Subject, progress: Progress) -> Bench: ...
