"""Frozen nouns that pass between the stages and are stored, as JSON, in the run folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from edgekd.errors import InputError

SCHEMA_VERSION = 1
Kind = Literal["measured", "emulated", "predicted", "counted"]


@dataclass(frozen=True)
class Figure:
    """A number that never travels alone. ``where`` names device, runtime, version, threads.

    ``low`` and ``high`` are its 95 % interval, of predicted latency and energy the 90 % one, which ``where`` says.
    """

    value: float
    unit: str
    kind: Kind
    where: str
    n: int | None = None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("measured", "emulated", "predicted", "counted"):
            raise InputError(f"kind {self.kind!r}", where="figure", expected="measured, emulated, predicted or counted")


@dataclass(frozen=True)
class BudgetUse:
    """What a plan, or a student, uses of one budget. ``source`` says who set the limit: command line, recipe or profile; ``kind`` what
    ``used`` is, as of a figure, "" in a plan, whose figures say it.
    """

    name: str
    used: float
    limit: float
    unit: str
    source: str
    kind: str = ""

    @property
    def fits(self) -> bool:
        return self.used <= self.limit


@dataclass(frozen=True)
class Plan:
    """The student chosen for a target: ``spec`` is what ``STUDENTS[family]`` builds it from, ``notes`` what could not be foretold."""

    target: str
    family: str
    spec: dict[str, Any]
    figures: dict[str, Figure]
    budgets: tuple[BudgetUse, ...]
    considered: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """Trained weights. ``path`` is relative to the run folder; ``history`` has one dictionary an epoch."""

    path: str
    sha256: str
    history: tuple[dict[str, Any], ...]
    figures: dict[str, Figure]


@dataclass(frozen=True)
class Bits:
    """Layers whose weights take 4 bits: ``four_bits`` are names of operators in the order in which they were taken; ``divergence`` is what
    each layer alone changes in the answers, in nats.

    ``sixteen_bits``: operators whose outputs take 16 bits, with whatever shares their scales; ``activations`` is what 8 bits in each of
    those that may have 16 change in the float student's answers, alone.
    """

    four_bits: tuple[str, ...]
    divergence: dict[str, float]
    figures: dict[str, Figure]
    sixteen_bits: tuple[str, ...] = ()
    activations: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """One exported file. ``path`` is relative to the run folder; ``format`` is a key of EXPORTERS, ``notes`` what a reader must know."""

    format: str
    path: str
    sha256: str
    figures: dict[str, Figure]
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """One runtime against the reference over the whole test set.

    ``histogram`` counts outputs by their difference in LSB (as text, so that JSON keeps it); ``first_layer`` names the first tensor at
    which the runtime starts to disagree, None where it never does.
    """

    artifact: str
    runtime: str
    profile: str
    ok: bool
    reason: str
    histogram: dict[str, int]
    figures: dict[str, Figure]
    first_layer: str | None = None


@dataclass(frozen=True)
class Measurement:
    """What one artifact costs on one device, and how well it does there."""

    artifact: str
    device: str
    figures: dict[str, Figure]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bin:
    """Samples whose highest probability lies in [low, high): how many, how many right, and the mean of that probability."""

    low: float
    high: float
    n: int
    correct: int
    confidence: float


@dataclass(frozen=True)
class Example:
    """A test sample that teacher and student answer differently: its place in the test set, classes by index, each one's probability."""

    index: int
    label: int
    student: int
    teacher: int
    student_p: float
    teacher_p: float


@dataclass(frozen=True)
class Examined:
    """One task over the whole test set. ``confusion`` counts samples [true class][answered class].

    ``figures``: accuracy, worst_class_accuracy, calibration_error (of ten bins, Guo et al. 2017), and teacher_agreement where there
    are the teacher's answers; without them what is the teacher's is None or empty.
    """

    task: str
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration: tuple[Bin, ...]
    figures: dict[str, Figure]
    teacher_confusion: tuple[tuple[int, ...], ...] | None = None
    teacher_calibration: tuple[Bin, ...] = ()
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class ComparedTensor:
    """Parity of one tensor of the graph between a runtime and the reference: elements compared, how many differ, the largest difference."""

    name: str
    operator: str
    runtime: str
    elements: int
    different: int
    largest: float


@dataclass(frozen=True)
class Examination:
    """What a run's student does, class by class. ``where`` says whose answers these are, ``figures`` are the first task's.

    ``picture`` is a PNG (relative to the run folder) with the samples of the first task's examples side by side, in their order; "" where
    there is none.
    """

    where: str
    n: int
    tasks: tuple[Examined, ...]
    figures: dict[str, Figure]
    tensors: tuple[ComparedTensor, ...] = ()
    picture: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Record:
    """What a stage leaves in the run folder: ``body`` is one of the nouns above (or a list of them) as JSON."""

    stage: str
    inputs: dict[str, str]
    config: dict[str, Any]
    environment: dict[str, str]
    body: Any
    seconds: float = 0.0
    schema_version: int = SCHEMA_VERSION
    figures: dict[str, Figure] = field(default_factory=dict)


def figures_of(body: Any) -> dict[str, Figure]:
    """The figures of a stage, by their one name: those of its noun, or of the first of several, which stands for the device.

    What further runtimes say stands in their verdicts.
    """
    first = body[0] if isinstance(body, list) and body else body
    return dict(getattr(first, "figures", {}))


def digits(value: float) -> str:
    """All digits of what is whole (bytes, MACs), six of what is not."""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:,.6g}"
