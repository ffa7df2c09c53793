"""The stage "examine": what a finished run's student answers on the whole test set, class by class, and tensor by tensor."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekd import host, runs
from edgekd.data.dataset import Split, Task
from edgekd.errors import EdgekdError
from edgekd.examine.calibration import calibration, calibration_error, normalized, probabilities
from edgekd.examine.classes import confusion, worst_class
from edgekd.examine.examples import choose, sprite
from edgekd.quant import compare, io
from edgekd.quant.graph import QuantGraph
from edgekd.quant.outputs import parts
from edgekd.records import ComparedTensor, Examination, Examined, Figure, Kind, Verdict
from edgekd.verify.certificate import Subject
from edgekd.verify.jobs import Job, run_jobs
from edgekd.verify.layers import COUNT, compare_layers

PICTURE = "examine/examples.png"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Questions:
    """The test set: ``split`` as the data has it, ``x`` as a device is fed it. ``teachers`` are each task's answers (logits [N, classes]),
    None where they are not known."""

    split: Split
    x: np.ndarray
    heads: tuple[Task, ...]
    teachers: tuple[np.ndarray | None, ...]


@dataclass(frozen=True)
class Student:
    """``subject`` is the exported file of ``graph`` in the runtime that ``verdict`` judged; ``kind`` is what its figures are."""

    graph: QuantGraph
    subject: Subject
    verdict: Verdict
    kind: Kind
    probabilities: bool


def examine(run: Path, student: Student, test: Questions, progress: Progress, *, workers: int | None = None) -> Examination:
    """The examination of a run; the picture of its examples is written into the run's folder.

    Where the runtime was found to be bit-equal, the reference answers for it, and ``where`` says so. Tensors are compared on a few samples;
    where that cannot be done, there are none.
    """
    answers, where = _answers(student, test.x, progress, workers)
    tasks = []
    for at, (head, part) in enumerate(zip(test.heads, parts(student.graph).values(), strict=True)):
        values = _real(student.graph, at, answers[:, part])
        mine = normalized(values) if student.probabilities else probabilities(values)
        tasks.append(_task(head, test.split.classes(at), (answers[:, part], mine), test.teachers[at], (where, student.kind)))
    tensors = _tensors(student, test.x)
    shown = [example.index for example in tasks[0].examples]
    picture = sha256 = ""
    if shown:
        picture = PICTURE
        runs.atomic_write(run / picture, sprite(test.split.x[shown]))
        sha256 = runs.sha256_file(run / picture)
    return Examination(where, len(test.x), tuple(tasks), tasks[0].figures, tensors, picture, sha256)


def _answers(student: Student, x: np.ndarray, progress: Progress, workers: int | None) -> tuple[np.ndarray, str]:
    """What the runtime answers [N, values of all outputs], and whose answers these are."""
    verdict, subject = student.verdict, student.subject

    def told(n: int, total: int, _: str) -> None:
        progress("examine", n, total)

    equal = verdict.figures.get("bit_equal")
    if equal is None or equal.value != 1.0:
        found = run_jobs([Job(subject.runtime, str(subject.path), subject.opener)], x, workers=workers, progress=told)[subject.runtime]
        return found.outputs.reshape(len(x), -1), f"{host.host()}, {found.where}"
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        io.save(student.graph, Path(folder))
        found = run_jobs([Job("reference", folder, profiles=verdict.profile)], x, workers=workers, progress=told)["reference"]
    where = f"{host.host()}, reference, {verdict.profile}, to which {subject.runtime} is bit-equal on all {equal.n} samples"
    return found.outputs.reshape(len(x), -1), where


def _real(graph: QuantGraph, at: int, values: np.ndarray) -> np.ndarray:
    quantization = graph.tensor(graph.outputs[at]).quantization
    if quantization is None or values.dtype.kind == "f":
        return values.astype(np.float64)
    scale, zero = quantization.single
    return (values.astype(np.float64) - zero) * scale


def _task(
    head: Task, y: np.ndarray, answers: tuple[np.ndarray, np.ndarray], teacher: np.ndarray | None, said: tuple[str, Kind]
) -> Examined:
    """``answers`` are the student's values as they come, whose ties decide as on the device, and its probabilities."""
    values, mine = answers
    where, kind = said
    top = compare.top1(values)
    counts = confusion(y, top, len(head.labels))
    bins = calibration(mine[np.arange(len(top)), top], top == y)
    figures = {
        "accuracy": compare.accuracy(values, y).figure(where),
        "worst_class_accuracy": worst_class(counts, head.labels, where),
        "calibration_error": Figure(calibration_error(bins), "share", "measured", f"{where}; {len(bins)} bins", n=len(y)),
    }
    if teacher is None:
        return Examined(head.name, head.labels, counts, bins, _of_kind(figures, kind))
    theirs = probabilities(teacher)
    answered = compare.top1(teacher)
    figures["teacher_agreement"] = compare.top1_agreement(values, teacher).figure(where)
    return Examined(
        head.name,
        head.labels,
        counts,
        bins,
        _of_kind(figures, kind),
        confusion(y, answered, len(head.labels)),
        calibration(theirs.max(1), answered == y),
        choose(y, mine, theirs),
    )


def _of_kind(figures: dict[str, Figure], kind: Kind) -> dict[str, Figure]:
    return {name: Figure(f.value, f.unit, kind, f.where, f.n, f.low, f.high) for name, f in figures.items()}


def _tensors(student: Student, x: np.ndarray) -> tuple[ComparedTensor, ...]:
    """Every tensor on COUNT samples, spread over the test set. None where the file cannot be cut, or a runtime does not bear it."""
    some = x[np.linspace(0, len(x) - 1, min(COUNT, len(x))).astype(int)]
    try:
        (compared,) = compare_layers(student.graph, [student.subject], some, workers=1)
    except EdgekdError:
        return ()
    found = []
    for row in compared.layers:
        if row.whole is not None:
            elements = len(some) * math.prod(student.graph.tensor(row.tensor).shape)
            different = round(row.whole.share * elements)
            found.append(ComparedTensor(row.tensor, row.kind, compared.runtime, elements, different, row.whole.largest))
    return tuple(found)
