"""What is judged, and what a rule says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from edgekd.errors import InputError
from edgekd.gate.waivers import Waiver
from edgekd.records import Figure

Status = Literal["pass", "fail", "unknown", "waived"]
#: Exit code of each verdict.
EXIT = {"pass": 0, "fail": 1, "unknown": 2}
#: What may be lost against the baseline: accuracies in percentage points, costs as a share.
TOLERANCES: dict[str, float] = {"accuracy": 0.3, "worst_class": 2.0, "latency_ms": 0.10, "model_bytes": 0.02, "peak_ram_bytes": 0.02}
#: Those that are percentage points.
POINTS = ("accuracy", "worst_class")
#: Shorter names, for the command line.
SHORT = {"latency": "latency_ms", "size": "model_bytes", "ram": "peak_ram_bytes", "class": "worst_class"}


@dataclass(frozen=True)
class Check:
    """What one rule says. ``limit`` is the worst value that passes, in the unit of ``found``; ``message`` is one sentence, with the mend.

    ``baseline`` is the figure that it was compared with, None for a rule that needs none. ``waiver`` is whose say-so covers it.
    """

    name: str
    status: Status
    found: Figure | None
    baseline: Figure | None
    limit: float | None
    message: str
    waiver: Waiver | None = None

    def but(self, status: Status, message: str, waiver: Waiver | None = None) -> Check:
        return replace(self, status=status, message=message, waiver=waiver)


@dataclass(frozen=True)
class Limit:
    """A budget. ``used`` is what the student takes of it, of the ``kind`` of a figure; None where nobody knows."""

    name: str
    limit: float
    unit: str
    source: str
    used: float | None
    kind: str = ""


@dataclass(frozen=True)
class Parity:
    """Whether a runtime computes what the reference does, and where it starts not to. ``further``: it ran a file that a release holds
    besides the target's own."""

    runtime: str
    ok: bool
    reason: str
    further: bool = False


@dataclass(frozen=True)
class Classes:
    """One task's test samples by their true class: how many there are, and how many were answered right."""

    task: str
    labels: tuple[str, ...]
    n: tuple[int, ...]
    correct: tuple[int, ...]


@dataclass(frozen=True)
class Subject:
    """A run or a release, as the rules see it.

    ``data`` is the hash of the dataset that it was tested on, ``model`` that of the exported file; ``changed`` says what is not as it was
    recorded, ``lacks`` what was never recorded: the name of a check, and how to mend it. Figures of several tasks are accuracy_<task>.
    """

    where: str
    name: str
    target: str
    data: str
    model: str
    figures: Mapping[str, Figure]
    limits: tuple[Limit, ...] = ()
    parity: tuple[Parity, ...] = ()
    classes: tuple[Classes, ...] = ()
    changed: tuple[str, ...] = ()
    lacks: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    notes: tuple[str, ...] = ()

    @property
    def accuracies(self) -> dict[str, Figure]:
        """Of each task, which is "" for the only one."""
        tasks = {name.removeprefix("accuracy_"): figure for name, figure in self.figures.items() if name.startswith("accuracy_")}
        only = self.figures.get("accuracy")
        return tasks or ({"": only} if only is not None else {})


def verdict(checks: Sequence[Check]) -> Literal["pass", "fail", "unknown"]:
    """One that fails outranks those that could not be judged; a waived one counts as passed. Of no checks at all: unknown."""
    statuses = {check.status for check in checks}
    if "fail" in statuses:
        return "fail"
    return "unknown" if "unknown" in statuses or not statuses else "pass"


def tolerances(changes: Sequence[str]) -> dict[str, float]:
    """TOLERANCES with what "name=value" changes. Raises InputError for a name that there is not, and for a value that is none."""
    found, seen = dict(TOLERANCES), set[str]()
    for text in changes:
        name, _, value = (part.strip() for part in text.partition("="))
        name = SHORT.get(name, name)
        where = f"--tolerance {text}"
        if name not in TOLERANCES:
            raise InputError(f"no tolerance is called {name!r}", where=where, expected=", ".join((*TOLERANCES, *SHORT)))
        if name in seen:
            raise InputError(f"{name} stands there twice", where=where, expected="one tolerance of it")
        seen.add(name)
        most, unit = (100.0, "percentage points") if name in POINTS else (1.0, "a share, 0.2 is 20 %")
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not 0 <= number <= most:
            raise InputError(f"{value or 'nothing'}", where=where, expected=f"0 to {most:g}, {unit}", mend=f"{name}={TOLERANCES[name]:g}")
        found[name] = number
    return found
