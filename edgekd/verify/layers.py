"""Every tensor of exported files, as runtimes compute it, against the reference: which layers add a difference, which only pass one on.

runtime   x ─► conv ─► a′ ─► pool ─► b′         whole difference of pool: b′ − b
reference x ─► conv ─► a  ─► pool ─► b          own difference of pool:   b′ − pool(a′)
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edgekd.quant import io, reference
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Op
from edgekd.quant.passes.prefix import needed
from edgekd.quant.reference.alone import alone
from edgekd.quant.reference.profiles import is_quantized
from edgekd.verify.certificate import Subject, rule_for
from edgekd.verify.cuts import OPENER, WHY, Order
from edgekd.verify.jobs import Job, Outcome, Progress, run_jobs
from edgekd.verify.localize import FLOAT_TOLERANCE
from edgekd.verify.reasons import explain

#: Samples that are compared where nobody says how many, and the most that are.
COUNT, MOST = 8, 64
#: Tensors of one process: enough that its start does not count, few enough that progress is seen.
TENSORS = 24


@dataclass(frozen=True)
class Difference:
    """``share`` of the values differ, by ``largest`` at most, in LSB where the tensor holds integers; ``histogram`` (LSB → count) is
    then that of those that differ. Real values differ where they are further apart than a share of the tensor's largest."""

    share: float
    largest: float
    histogram: dict[str, int]


@dataclass(frozen=True)
class LayerRow:
    """One operator and the tensor it writes. ``whole`` and ``own`` as drawn above, None where the runtime's values are not available;
    ``why``: what explains an own difference, or why nothing could be compared."""

    op: str
    kind: str
    tensor: str
    scale: float | None
    whole: Difference | None
    own: Difference | None
    why: str = ""


@dataclass(frozen=True)
class Comparison:
    """One file in one runtime, layer by layer; ``exact`` says that every integer is demanded to be equal."""

    artifact: str
    runtime: str
    profile: str
    samples: int
    exact: bool
    layers: tuple[LayerRow, ...]

    @property
    def differing(self) -> tuple[LayerRow, ...]:
        return tuple(row for row in self.layers if row.whole is not None and row.whole.share)

    @property
    def adding(self) -> tuple[LayerRow, ...]:
        """The layers that add a difference of their own."""
        return tuple(row for row in self.layers if row.own is not None and row.own.share)


def compare_layers(
    graph: QuantGraph, subjects: Sequence[Subject], x: np.ndarray, *, workers: int | None = None, progress: Progress | None = None
) -> tuple[Comparison, ...]:
    """Each subject's tensors for the samples ``x`` (of which MOST at most are used) against the reference under its rule's profile.

    Raises InputError for a runtime without a rule, EdgekdError
    if a runtime's process dies.
    """
    x = x[:MOST]
    rules = [rule_for(graph, subject.runtime) for subject in subjects]
    order = needed(graph)
    names = tuple(op.outputs[0] for op in order)
    groups = [names[i : i + TENSORS] for i in range(0, len(names), TENSORS)]
    with tempfile.TemporaryDirectory(prefix="edgekd-") as text:
        folder = Path(text)
        io.save(graph, folder / "graph")
        jobs = [[_job(folder, i, subject, group, j) for j, group in enumerate(groups)] for i, subject in enumerate(subjects)]
        outcomes = run_jobs([job for mine in jobs for job in mine], x, workers=workers, progress=progress)
        found = [_collect(graph, [outcomes[job.name] for job in mine], groups) for mine in jobs]
        whys = [{name: said for job in mine for name, said in _whys(job).items()} for mine in jobs]
    wanted = {profile: reference.run(graph, x, profile, keep=names) for profile in dict.fromkeys(rule.profile for rule in rules)}
    comparisons = []
    for subject, rule, held, why in zip(subjects, rules, found, whys, strict=True):
        who, values = (subject.runtime, rule.profile), {**held, graph.inputs[0]: x}
        rows = tuple(_row(op, graph, who, values, wanted[rule.profile], why) for op in order)
        comparisons.append(Comparison(subject.path.name, subject.runtime, rule.profile, len(x), rule.exact, rows))
    return tuple(comparisons)


def _job(folder: Path, i: int, subject: Subject, tensors: tuple[str, ...], j: int) -> Job:
    """The ``j``-th part of the tensors of the ``i``-th subject."""
    order = Order(str(folder / "graph"), str(subject.path.absolute()), subject.opener, subject.export, tensors)
    path = folder / f"{i}-{j}.json"
    path.write_text(json.dumps(asdict(order)))
    return Job(f"{subject.runtime}, layers {i}-{j}", str(path), OPENER)


def _whys(job: Job) -> dict[str, str]:
    return json.loads(Path(job.path).with_suffix(WHY).read_text())


def _collect(graph: QuantGraph, outcomes: Sequence[Outcome], groups: Sequence[tuple[str, ...]]) -> dict[str, np.ndarray]:
    """The values [N, ...] of each tensor that the runtime gave."""
    values: dict[str, np.ndarray] = {}
    for outcome, names in zip(outcomes, groups, strict=True):
        shapes = [graph.tensor(name).shape[1:] for name in names]
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        for name, shape, part in zip(names, shapes, np.split(outcome.outputs, ends[:-1], axis=1), strict=True):
            if not np.isnan(part).any():
                values[name] = part.reshape(-1, *shape)
    return values


def _row(
    op: Op,
    graph: QuantGraph,
    who: tuple[str, str],
    held: Mapping[str, np.ndarray],
    wanted: Mapping[str, np.ndarray],
    why: Mapping[str, str],
) -> LayerRow:
    tensor = graph.tensor(op.outputs[0])
    scale = None if tensor.quantization is None else tensor.quantization.single[0]
    known = (op.name, type(op).__name__, tensor.name, scale)
    if tensor.name not in held:
        return LayerRow(*known, None, None, why.get(tensor.name, "its values are not finite"))
    integer, want = is_quantized(tensor), wanted[tensor.name]
    whole = difference(held[tensor.name], want, integer)
    entries = [name for name in op.inputs if not graph.tensor(name).is_constant]
    if any(name not in held for name in entries):
        return LayerRow(*known, whole, None, "what it reads is not available")
    same = all(np.array_equal(held[name], wanted[name]) for name in entries if name in wanted)
    own = whole if same else difference(held[tensor.name], alone(graph, op, held, who[1]), integer)
    return LayerRow(*known, whole, own, explain(op, graph, who, held, own.share) if own.share else "")


def difference(got: np.ndarray, want: np.ndarray, integer: bool) -> Difference:
    """Of two tensors of one shape."""
    away = got.astype(np.float64) - want.astype(np.float64)
    size = np.abs(away)
    differs = size > (0 if integer else FLOAT_TOLERANCE * np.abs(want).max())
    histogram: dict[str, int] = {}
    if integer:
        values, counts = np.unique(away[differs], return_counts=True)
        histogram = {f"{int(value):+d}": int(count) for value, count in zip(values, counts, strict=True)}
    return Difference(float(differs.mean()), float(size.max()), histogram)
