"""Facts of a release without a training: golden students, exported by the real exporters and judged by the real verification."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.convert import RUNNERS
from edgekd.lazy import load
from edgekd.quant import io, reference
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.grid import PIXELS
from edgekd.quant.outputs import joined
from edgekd.records import Bin, BudgetUse, ComparedTensor, Examination, Examined, Example, Figure
from edgekd.release.facts import Facts, Model
from edgekd.release_facts import Inputs, model_of, needs, vectors_of, written
from edgekd.runtimes import RUNTIMES
from edgekd.verify.certificate import Samples, judged, rule_for
from edgekd.verify.jobs import Outcome

KINDS = ("int8", "float", "two_tasks", "sound")
GOLDEN = Path(__file__).resolve().parent / "golden"
WHERE = "host: made up"
LABELS = ("T-shirt", "trouser", 'pull"over $x \\(y)', "drèss", "coat??/", "sandal")
LOG_MEL = {"kind": "log-mel", "rate": 8000, "frame": 256, "hop": 160, "mels": 20, "low_hz": 60.0, "high_hz": 3800.0, "floor_db": -96.0,
           "step_db": 0.375}  # fmt: skip


def facts(
    tmp_path: Path, kind: str = "int8", *, formats: Sequence[str] = ("android", "ios", "mcu"), own: str = "tflite", version: str = "1.4.0"
) -> Facts:
    """``kind``: int8 (RGB 20x20, six labels that are hard to quote), float (the same in float32, no C), two_tasks, sound (features 20x20).

    ``formats`` decides which files there are, ``own`` which exporter the run has. Files lie below ``tmp_path``, the caller's to spoil.
    """
    if kind == "float":
        formats = tuple(name for name in formats if name != "mcu")
    made = _facts(kind, tuple(formats), own)
    folder = tmp_path / "facts"
    shutil.copytree(_folder(kind, tuple(formats), own), folder, dirs_exist_ok=True)
    models = {name: replace(model, folder=folder / name) for name, model in made.models.items()}
    records = {stage: folder / "records" / f"{stage}.json" for stage in made.records}
    return replace(made, models=models, records=records, version=version)


def graph(kind: str) -> QuantGraph:
    """The student of ``kind``."""
    made = io.load(GOLDEN / ("inverted_residual_symmetric" if kind == "sound" else "inverted_residual"))
    said: dict[str, Any] = {"input": {"value": PIXELS}, "output": {"value": "logits"}, "recipe": "golden", "target": "pixel-8"}
    if kind == "sound":
        said["input"] = {"value": PIXELS, "front_end": LOG_MEL}
    made = made.with_metadata(labels=list(LABELS), **said)
    if kind == "float":
        return _as_float(made)
    return _two_tasks(made) if kind == "two_tasks" else made


@cache
def _folder(kind: str, formats: tuple[str, ...], own: str) -> Path:
    made = Path(tempfile.mkdtemp(prefix="edgekd-test-facts-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@cache
def _facts(kind: str, formats: tuple[str, ...], own: str) -> Facts:
    folder, student = _folder(kind, formats, own), graph(kind)
    with np.load(GOLDEN / ("inverted_residual_symmetric" if kind == "sound" else "inverted_residual") / "inputs.npz") as file:
        x = file["x"]
    if kind == "float":
        x = x.astype(np.float32) / np.float32(128)
    profile = "float" if kind == "float" else "tflm"
    y = np.stack([reference.run(student, x, profile)[name].argmax(1) for name in student.outputs], 1).astype(np.int64)
    inputs = Inputs(x, y if len(student.outputs) > 1 else y[:, 0], "32 golden samples")
    named = replace(student, name="golden_pixel_8")
    models = {need: exported(named if need == "c" else student, need, folder / need, inputs) for need in (own, *needs(formats, own))}
    (folder / "records").mkdir()
    records = {}
    for stage in ("plan", "verify"):
        records[stage] = folder / "records" / f"{stage}.json"
        records[stage].write_text(json.dumps({"stage": stage, "config": {"recipe_folder": "/somewhere/of/somebody/recipes"}}))
    examination = examined(student, y)
    vectors, by_format = vectors_of(student, inputs, formats, models[own])
    verdict = models[own].verdicts[0]
    size = models[own].figures["model_bytes"]
    figures = {
        **examination.figures, **verdict.figures, "model_bytes": size,
        "latency_ms": Figure(0.25, "ms", "measured", WHERE, n=50, low=0.24, high=0.26),
        "peak_ram_bytes": Figure(20_000, "B", "emulated", WHERE), "macs": Figure(123_456, "MAC", "counted", "graph"),
        "teacher_accuracy": Figure(1.0, "share", "measured", WHERE, n=32, low=0.89, high=1.0),
    }  # fmt: skip
    budgets = (
        BudgetUse("model_bytes", size.value, 524_288, "B", "profile pixel-8", "counted"),
        BudgetUse("accuracy_drop_pp", 0.0, 3.5, "pp", "recipe, targets.pixel-8", "measured"),
    )
    return Facts(
        "golden", "1.4.0", "com.example.models", "pixel-8", "2026-11-22T04:00:31+00:00", "golden-pixel-8-0123456789", student, models, own,
        vectors, figures, budgets, examination,
        {"schema_version": 1, "name": "golden", "data": {"source": "numpy", "options": {}},
         "teacher": {"source": "residual_cnn", "options": {"width": 4}}},
        {"schema_version": 1, "name": "pixel-8", "kind": "phone"},
        {"created": "2026-11-22T04:00:31+00:00", "python": "3.11.7", "numpy": "2.4.6", "cpu": "made up"},
        records,
        licenses={"title": "Golden", "license": "Apache-2.0", "data_license": "MIT", "teacher_license": "Apache-2.0",
                  "intended_use": "tests", "limitations": "random weights", "authors": "nobody"},
        front_end=LOG_MEL if kind == "sound" else {}, vectors_by_format=by_format,
    )  # fmt: skip


def exported(student: QuantGraph, format: str, folder: Path, inputs: Inputs) -> Model:
    """The file and its verdicts, all computed in this process, which is quicker than verify() with one for each runtime."""
    artifact = written(student, format, folder)
    verdicts = []
    for runtime in RUNNERS[(folder / artifact.path).suffix]:
        rule = rule_for(student, runtime)
        runner = load(RUNTIMES[runtime])(folder / artifact.path, threads=1)
        got = Outcome(runner.run(inputs.x).reshape(len(inputs.x), -1), 0.0, runner.where)
        runner.close()
        found = reference.run(student, inputs.x, rule.profile)
        want = Outcome(joined([found[name] for name in student.outputs]).reshape(len(inputs.x), -1), 0.0, "reference")
        verdicts.append(judged(student, (artifact.path, runtime), rule, Samples(inputs.x, inputs.y), (got, want))[0])
    assert all(verdict.ok for verdict in verdicts), verdicts
    return model_of(student, artifact, folder, verdicts)


def examined(student: QuantGraph, y: np.ndarray) -> Examination:
    """A complete one of 32 samples, all right but one of the first task; ``y`` is [32, tasks]."""
    tasks = []
    names = list(student.metadata.get("tasks", {"": student.metadata.get("labels")}).items())
    for at, (task, labels) in enumerate(names):
        confusion = np.zeros((len(labels), len(labels)), int)
        np.add.at(confusion, (y[:, at], y[:, at]), 1)
        teacher = confusion.copy()
        examples: tuple[Example, ...] = ()
        if at == 0:
            label = int(y[0, 0])
            confusion[label, label] -= 1
            confusion[label, (label + 1) % len(labels)] += 1
            examples = (Example(0, label, (label + 1) % len(labels), label, 0.8, 0.9),)
        share = Figure(float(np.trace(confusion) / 32), "share", "measured", WHERE, n=32, low=0.84, high=1.0)
        worst = Figure(0.8, "share", "measured", WHERE, n=5, low=0.4, high=0.97)
        figures = {"accuracy": share, "worst_class_accuracy": worst, "calibration_error": Figure(0.03, "share", "measured", WHERE, n=32)}
        figures["teacher_agreement"] = Figure(31 / 32, "share", "measured", WHERE, n=32, low=0.84, high=1.0)
        bins = tuple(Bin(i / 10, (i + 1) / 10, 32 if i == 9 else 0, 31 if i == 9 else 0, 0.97 if i == 9 else 0.0) for i in range(10))
        tasks.append(
            Examined(task, tuple(labels), _rows(confusion), bins, figures, _rows(teacher), bins, examples)
        )  # fmt: skip
    tensors = tuple(ComparedTensor(op.outputs[0], type(op).__name__, "litert_xnnpack", 1000, 0, 0.0) for op in student.ops)
    return Examination(WHERE, 32, tuple(tasks), tasks[0].figures, tensors)


def _rows(counts: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(n) for n in row) for row in counts)


def _two_tasks(made: QuantGraph) -> QuantGraph:
    """A second head that answers the first two classes alone, from the same features."""
    last = made.ops[-1]
    x, weight, bias = (made.tensor(name) for name in last.inputs)
    logits = made.tensor(last.outputs[0])
    assert weight.data is not None and bias.data is not None and weight.quantization is not None and bias.quantization is not None

    def cut(tensor: Tensor, name: str) -> Tensor:
        assert tensor.data is not None and tensor.quantization is not None
        q = tensor.quantization
        some = replace(q, scale=q.scale[:2], zero_point=q.zero_point[:2]) if q.axis is not None else q
        return replace(tensor, name=name, shape=(2, *tensor.shape[1:]), data=tensor.data[:2], quantization=some)

    more = [cut(weight, "light_weight"), cut(bias, "light_bias")]
    heads = [replace(logits, name="shape"), replace(logits, name="light", shape=(1, 2))]
    tensors = {name: t for name, t in made.tensors.items() if name != logits.name} | {t.name: t for t in (*more, *heads)}
    ops = (
        *made.ops[:-1],
        replace(last, outputs=("shape",)),
        replace(last, name="light", inputs=(x.name, "light_weight", "light_bias"), outputs=("light",)),
    )
    said = {name: value for name, value in made.metadata.items() if name != "labels"}
    said["tasks"] = {"shape": list(LABELS), "light": ["dark", "bright"]}
    return replace(made, tensors=tensors, ops=ops, outputs=("shape", "light"), metadata=said)


def _as_float(made: QuantGraph) -> QuantGraph:
    """The same in float32: every constant as its integers stand for it."""

    def real(tensor: Tensor) -> Tensor:
        if tensor.data is None or tensor.quantization is None:
            return replace(tensor, dtype="float32", quantization=None)
        q = tensor.quantization
        shape = [1] * len(tensor.shape)
        if q.axis is not None:
            shape[q.axis] = -1
        data = (tensor.data.astype(np.float32) - q.zero_point.reshape(shape)) * q.scale.reshape(shape)
        return replace(tensor, dtype="float32", quantization=None, data=data.astype(np.float32))

    return replace(made, tensors={name: real(tensor) for name, tensor in made.tensors.items()})
