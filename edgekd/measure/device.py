"""What every device of `edgekd bench` is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgekd.errors import InputError
from edgekd.profile.schema import Profile
from edgekd.quant.graph import QuantGraph
from edgekd.records import Artifact, Figure, Measurement, Verdict


class Write(Protocol):
    """An exporter by its format: files of ``graph`` in the folder ``out``. Options (kernels, core) are the exporter's own."""

    def __call__(self, fmt: str, graph: QuantGraph, out: Path, **options: str) -> Artifact: ...


class Judge(Protocol):
    """Outputs [N, …] that ``runtime`` (a name of verify's rules) returned ``where`` for ``x`` [N, …], against the reference."""

    def __call__(
        self, graph: QuantGraph, runtime: str, where: str, outputs: np.ndarray, x: np.ndarray, y: np.ndarray | None
    ) -> Verdict: ...


@dataclass(frozen=True)
class Asked:
    """Of an attached device. ``seconds`` of timed inferences of each model, in ``repeats`` blocks over ``invocations`` processes.

    ``sustained_s``: how long each model then runs without a pause, 0: not at all. ``whole``: outputs of all samples are compared, not of
    the first ``SOME``. ``meter`` is the command on the device that prints joules; ``slow_share`` makes the last model slower by a share
    of itself, for tests of the comparison. ``provider`` is the runtime's own choice of a processor ("": its usual one).
    """

    seconds: float = 12.0
    repeats: int = 40
    invocations: int = 10
    warmup_s: float = 2.0
    sustained_s: float = 0.0
    threads: int = 1
    whole: bool = False
    meter: tuple[str, ...] = ()
    provider: str = ""
    slow_share: float = 0.0


#: Samples whose outputs are compared where the whole set was not asked for.
SOME = 200


@dataclass(frozen=True, eq=False)
class Subject:
    """What to measure. ``graph`` is channels last; ``x`` [N, …] in the dtype of its input, ``y`` their labels or None, ``inputs`` says
    what they are.

    ``kernels`` are the sets of kernels to compare; ``keep``: where to leave what is built, None: nowhere. ``seconds``: how long accuracy
    may take, for each set. ``cmsis_nn``: a folder with CMSIS-NN, None: wherever else it is found.

    Of attached devices: ``address`` is what stands behind the device's colon, ``file`` the model's own file (None: it is exported as the
    profile says), ``judge`` compares outputs, ``rival`` is a second model to compare with. Where ``profile`` is None, no target was given.
    """

    graph: QuantGraph
    profile: Profile | None
    x: np.ndarray
    y: np.ndarray | None
    inputs: str
    write: Write
    kernels: tuple[str, ...] = ("portable",)
    seconds: float = 60.0
    keep: Path | None = None
    cmsis_nn: Path | None = None
    address: str = ""
    file: Path | None = None
    judge: Judge | None = None
    asked: Asked = Asked()
    rival: Subject | None = None

    @property
    def target(self) -> Profile:
        """The profile. Raises InputError where no target was given."""
        if self.profile is None:
            raise InputError("no target", where="--target", expected="whose sizes and core to take", mend="edgekd targets list --kind mcu")
        return self.profile


@dataclass(frozen=True)
class Layer:
    """``value`` of one layer, in the unit of its row."""

    name: str
    value: float
    note: str = ""


#: How ``failed`` begins, behind the model's name, of one whose outputs are not what they must be.
SOMETHING_ELSE = "computes something else than the reference"


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

    @property
    def comparable(self) -> bool:
        """Whether its times are of a device, and of the model that was asked for; they may be rejected for another reason."""
        return self.measurement.figures["latency_ms"].kind == "measured" and SOMETHING_ELSE not in self.failed


@dataclass(frozen=True)
class Bench:
    """``rows`` that were measured, ``baselines`` beside them (other runtimes; not all figures are there), and what a reader must know.

    ``different``, of two models: whether their difference is real; None where there is nothing to compare. ``state`` is what an attached
    device said of itself "before" and "after".
    """

    device: str
    rows: tuple[Row, ...]
    baselines: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    figures: dict[str, Figure] = field(default_factory=dict)
    different: bool | None = None
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not any(row.failed for row in self.rows)


Progress = Callable[[str, int, int], None]


class Measure(Protocol):
    """A device. Raises DoesNotFit for a model that is larger than the target, MissingDependency for a tool that is not installed."""

    def __call__(self, subject: Subject, progress: Progress) -> Bench: ...
