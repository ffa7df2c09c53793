"""What a release says of a model: everything that its bundles, manifest, card and accessors are made from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph
from edgekd.records import BudgetUse, Examination, Figure, Verdict
from edgekd.released import VERSION

#: Of a version and of a group: an OCI tag has at most 128 characters, a file's name 255 with the model's own.
LONGEST = 100
GROUP = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


def check_names(version: str, group: str) -> None:
    """Raises InputError for a version or a group that not every format takes."""
    if len(version) > LONGEST:
        raise InputError(f"a version of {len(version)} characters", where="--version", expected=f"at most {LONGEST}: it is part of names")
    if len(group) > LONGEST:
        raise InputError(f"a group of {len(group)} characters", where="--group", expected=f"at most {LONGEST}: folders are called so")
    if not VERSION.fullmatch(version):
        raise InputError(f"version {version!r}", where="--version", expected="MAJOR.MINOR.PATCH, as in 1.4.0 or 2.0.0-rc.1")
    if not GROUP.fullmatch(group):
        raise InputError(f"group {group!r}", where="--group", expected="a reversed domain name, as in com.example.models")


@dataclass(frozen=True)
class Border:
    """An input or output of a deployed file. Float tensors have no ``scale`` and ``zero_point``; ``shape`` begins with the batch, 1."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class Head:
    """One task: its name ("" for the only one), its classes in index order, and the output that answers it."""

    task: str
    labels: tuple[str, ...]
    output: Border


@dataclass(frozen=True)
class Model:
    """One exported file with what belongs to it. ``files`` is all of it, relative to ``folder``; the first is ``path``."""

    format: str
    folder: Path
    files: tuple[str, ...]
    sha256: str
    figures: Mapping[str, Figure]
    input: Border
    heads: tuple[Head, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def path(self) -> Path:
        return self.folder / self.files[0]


@dataclass(frozen=True, eq=False)
class Vectors:
    """Test vectors for whoever takes the bundle in: ``x`` [N, H, W, C] as a device feeds them, each task's expected outputs [N, classes].

    ``exact``: the runtimes of this release answer exactly these integers; otherwise the same class.
    """

    x: np.ndarray
    outputs: tuple[np.ndarray, ...]
    exact: bool


@dataclass(frozen=True, eq=False)
class Facts:
    """A run, judged good, with the version that it is released as. ``created`` is when the run was measured (ISO 8601), not now: the same
    run makes the same bytes. ``recipe`` and ``profile`` are their documents, ``records`` the run's record files by stage.
    """

    name: str
    version: str
    group: str
    target: str
    created: str
    run: str
    graph: QuantGraph
    models: Mapping[str, Model]
    own: str
    vectors: Vectors
    figures: Mapping[str, Figure]
    budgets: tuple[BudgetUse, ...]
    examination: Examination | None
    recipe: Mapping[str, Any]
    profile: Mapping[str, Any]
    environment: Mapping[str, str]
    records: Mapping[str, Path]
    licenses: Mapping[str, str] = field(default_factory=dict)
    front_end: Mapping[str, Any] = field(default_factory=dict)
    probabilities: bool = False
    vectors_by_format: Mapping[str, Vectors] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_names(self.version, self.group)

    def vectors_for(self, format: str) -> Vectors:
        """The same inputs with what the runtime of ``format`` answers: exact where its integers are foretold bit by bit."""
        return self.vectors_by_format.get(format, self.vectors)

    @property
    def artifact(self) -> str:
        """Name of the release among its group's: lower case, digits and single hyphens, as Maven, OCI, Swift and PlatformIO all take it."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.name}-{self.target}".lower()).strip("-")

    @property
    def identifier(self) -> str:
        """As an identifier of C and of Python."""
        return self.artifact.replace("-", "_")

    @property
    def type_name(self) -> str:
        """As a type of Kotlin and of Swift."""
        made = "".join(part.capitalize() for part in self.artifact.split("-"))
        return made if made[:1].isalpha() else f"Model{made}"
