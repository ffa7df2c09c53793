"""The stages of a post-training quantization, in order: each leaves files and the noun that is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import host, lazy, runs
from edgekd.errors import InputError
from edgekd.export import EXPORTERS
from edgekd.measure.harness import Task, measure
from edgekd.profile.schema import Profile
from edgekd.quant import compare, io, size
from edgekd.quant.graph import QuantGraph, Quantization
from edgekd.quant.grid import PIXELS
from edgekd.quant.passes.probabilities import append_softmax
from edgekd.quant.scheme import Scheme
from edgekd.quantize.data import Data, Pixels
from edgekd.quantize.model import Model, check_graph, float_graph
from edgekd.records import Artifact, BudgetUse, Figure, Measurement, Plan, Verdict
from edgekd.runtimes import RUNTIMES
from edgekd.stages import HOST_RUNTIMES
from edgekd.verify.certificate import Samples, Subject, verify

Progress = Callable[[str, int, int], None]
#: Longest that latency is measured: this is the cheap first step.
LATENCY_S = 3.0
#: Samples on which float model and integers are compared.
AGREED = 500
#: Budgets that an exported file is held against.
BUDGETS = {"model_bytes": "B", "peak_ram_bytes": "B"}


@dataclass(frozen=True, eq=False)
class Job:
    """A request with everything that it names loaded."""

    model: Model
    data: Data
    profile: Profile
    samples: int
    seed: int
    threads: int
    softmax: bool = False

    @property
    def scheme(self) -> Scheme:
        s = self.profile.scheme
        return Scheme(s.numeric, s.symmetric_activations, s.per_channel_weights, 4 if s.weight_bits == 4 else 8)

    @property
    def identity(self) -> dict[str, Any]:
        """The same identity is the same folder."""
        return {
            "command": "quantize",
            "model": {"name": self.model.name, "form": self.model.form, "sha256": self.model.sha256},
            "data": self.data.sha256,
            "pixels": {"mean": list(self.data.pixels.mean), "std": list(self.data.pixels.std), "scale": self.data.pixels.scale},
            "profile": self.profile.model_dump(),
            "samples": self.samples,
            "seed": self.seed,
        }


class Work:
    """Final. One folder being filled; the stages run in the order in which they stand here, each once."""

    def __init__(self, task: Job, folder: Path, progress: Progress) -> None:
        self.task, self.folder, self.progress = task, folder, progress
        self.notes: list[str] = list(task.data.notes)
        data = task.data
        self.entry: Quantization | None = data.entry(symmetric=task.scheme.symmetric_activations) if task.scheme.is_integer else None
        self.float_answers, self.float_where = np.empty(0), ""

    def freeze(self) -> Artifact:
        """The float model into the waist, proven to be the original; then its integers."""
        task, data = self.task, self.task.data
        graph = float_graph(task.model, data.test.shape[1:], tokens=data.tokens)
        made = lazy.load("edgekd.export.onnx:export")(graph, self.folder / "float")
        self.float_answers, self.float_where = self._answers("onnxruntime", self.folder / "float" / made.path, data.real(data.test))
        self.notes.append(check_graph(task.model, data.real(data.test[:8]), self.float_answers))
        if task.scheme.is_integer:
            content, x = (self.folder / "float" / made.path).read_bytes(), data.real(data.calibration)
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.ndim == 4 else x
            file_x = x.astype(np.int64) if data.tokens else x
            symmetric, per_channel = task.scheme.symmetric_activations, task.scheme.per_channel_weights
            found = lazy.load("edgekd.ptq.nncf:quantize")(content, file_x, symmetric=symmetric, per_channel=per_channel)
            frozen, said = lazy.load("edgekd.ptq.integers:integers")(graph, task.scheme, self.entry, found, x)
            self.notes += said
        else:
            frozen = lazy.load("edgekd.ptq.integers:frozen_float")(graph, task.scheme)
            self.notes.append(f"{task.profile.name} computes in {task.scheme.numeric}: nothing is calibrated")
        if task.softmax:
            frozen = append_softmax(frozen, symmetric=task.scheme.symmetric_activations)
        self._check_taken(frozen)
        io.save(frozen.with_metadata(**self._metadata(io.fingerprint(frozen))), self.folder / "graph")
        files = tuple(f"graph/{name}" for name in ("graph.json", "weights.safetensors"))
        return Artifact("quantgraph", files[0], runs.sha256_file(self.folder / files[0]), {}, files, tuple(self.notes))

    def export(self) -> list[Artifact]:
        made: Artifact = lazy.load(EXPORTERS[self.task.profile.deploy.exporter])(io.load(self.folder / "graph"), self.folder / "export")
        return [replace(made, path=f"export/{made.path}", files=tuple(f"export/{name}" for name in made.files))]

    def verify(self) -> list[Verdict]:
        """The target's runtimes, as a build asks them."""
        exporter = EXPORTERS[self.task.profile.deploy.exporter]
        subjects = [Subject(runtime, RUNTIMES[runtime], self._exported, exporter) for runtime in self._runtimes]
        oracle = None if self.task.scheme.is_integer else self.float_answers
        samples = Samples(self._fed, self.task.data.y, oracle)
        threads = self.task.threads or None
        return list(
            verify(
                io.load(self.folder / "graph"), subjects, samples, workers=threads, progress=lambda n, of, _: self.progress("verify", n, of)
            )
        )

    def measure(self) -> list[Measurement]:
        task, runtime = self.task, self._runtimes[0]
        verdict: Verdict = runs.read(self.folder, "verify").body[0]
        asked = Task(task.profile.name, runtime, RUNTIMES[runtime], self._exported, self._fed[:1], emulated=task.profile.kind == "mcu")
        accuracies = {name: figure for name, figure in verdict.figures.items() if name == "accuracy"}
        found = measure(asked, time_limit_s=LATENCY_S, accuracies=accuracies)
        answers, where = self._answers(runtime, self._exported, self._fed[:AGREED])
        agreed = compare.top1_agreement(answers, self.float_answers[:AGREED])
        figures = {"float_top1_agreement": agreed.figure(f"{where} against {self.float_where}")}
        if task.data.y is not None:
            figures["float_accuracy"] = compare.accuracy(self.float_answers, task.data.y).figure(self.float_where)
        return [replace(found, figures={**found.figures, **figures}, notes=(*found.notes, *self.notes))]

    def plan(self) -> Plan:
        """What the report needs to know of the model, and what it uses of each budget."""
        profile, graph = self.task.profile, io.load(self.folder / "graph")
        (found,) = runs.read(self.folder, "measure").body
        source = f"profile {profile.name}"
        budgets = tuple(BudgetUse(n, found.figures[n].value, getattr(profile.budgets, n), unit, source) for n, unit in BUDGETS.items())
        counts = {"parameters": (size.parameters(graph), "weights"), "macs": (size.macs(graph), "MAC")}
        figures = {name: Figure(value, unit, "counted", "graph") for name, (value, unit) in counts.items()}
        spec = {"model": self.task.model.name, "form": self.task.model.form}
        return Plan(profile.name, f"{self.task.model.form}, PTQ", spec, figures, budgets, 1, tuple(self.notes))

    @property
    def _exported(self) -> Path:
        return self.folder / runs.read(self.folder, "export").body[0].path

    @property
    def _fed(self) -> np.ndarray:
        return self.task.data.fed(self.task.data.test, self.entry)

    @property
    def _runtimes(self) -> tuple[str, ...]:
        """Those of this host that stand for the device's; a float file has one rounding, so one is enough, and TFLM is slow in float."""
        wanted = HOST_RUNTIMES[self.task.profile.deploy.runtime]
        return wanted if self.task.scheme.is_integer else tuple(r for r in wanted if r != "tflm")[-1:]

    def _answers(self, runtime: str, path: Path, x: np.ndarray) -> tuple[np.ndarray, str]:
        """Outputs [n, ...] as rows, and what computed them."""
        runner = lazy.load(RUNTIMES[runtime])(path, threads=self.task.threads or host.threads(0))
        try:
            return np.asarray(runner.run(x)).reshape(len(x), -1), f"{host.host()}, {runner.where}"
        finally:
            runner.close()

    def _check_taken(self, graph: QuantGraph) -> None:
        """Raises InputError for operators that TensorFlow Lite Micro has no kernel for, if that is what runs on the target."""
        if "tflm" not in self._runtimes:
            return
        lacks = lazy.load("edgekd.runtimes.lacks_tflm:survey")(graph).lacks
        if lacks:
            said = "; ".join(f"{lack.kind} {lack.operator}: {lack.reason}" for lack in lacks[:5])
            raise InputError(
                said, where=f"{self.task.profile.name} with {self.task.profile.deploy.runtime}", expected="operators that it has"
            )

    @property
    def _front_end(self) -> dict[str, Any]:
        """What a device without floating point needs to know: that it feeds p − 128, where normalization and scale come to just that."""
        if self.task.data.pixels == Pixels() or self.entry is None:
            return {}
        every = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(self.task.data.test.shape[-1], 3)
        plain = np.array_equal(self.task.data.fed(every, self.entry), every.astype(np.int16) - 128)
        return {"front_end": {"kind": "pixels"}} if plain else {}

    def _metadata(self, student: str) -> dict[str, Any]:
        task = self.task
        pixels = PIXELS if task.data.pixels == Pixels() else f"{asdict(task.data.pixels)} of 8-bit pixels"
        return {
            "labels": list(task.data.labels),
            "target": task.profile.name,
            "scheme": task.profile.scheme.model_dump(),
            "input": {"value": pixels, **self._front_end} if task.data.test.dtype == np.uint8 else {},
            "output": {"value": f"as the {task.model.form} answers"},
            "quantized": {"by": host.library("nncf"), "samples": len(task.data.calibration), "seed": task.seed}
            if task.scheme.is_integer
            else {},
            "hashes": {"data": task.data.sha256, "model": task.model.sha256, "student": student},
        }
