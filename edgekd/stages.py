"""The only file that knows the order of the stages: plan (→ intermediates) → float (→ bits) → qat → freeze → export → verify → measure →
examine.

Each stage takes records and files and leaves a record and files; a build that was interrupted goes on at the first stage without one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import jobs, lazy, runs, team
from edgekd.data.dataset import Split
from edgekd.examination import Questions, Student, examine
from edgekd.export import EXPORTERS
from edgekd.importers.check import read_folder
from edgekd.jobs import Job, finished, metadata, named
from edgekd.measure.harness import Task, measure
from edgekd.plan.latency_store import remember_graph
from edgekd.profile.schema import Profile
from edgekd.quant import compare, io
from edgekd.quant.scheme import Scheme
from edgekd.records import Artifact, Bits, Checkpoint, Examination, Figure, Measurement, Plan, Record, Verdict, figures_of
from edgekd.runtimes import RUNTIMES
from edgekd.verify.certificate import Samples, Subject, verify

Progress = Callable[[str, int, int], None]

#: What a device's runtime is on this host; accuracy and cost are taken in the first, the others must agree as well.
HOST_RUNTIMES: Mapping[str, tuple[str, ...]] = {
    "tflm": ("tflm", "litert_ref", "litert_xnnpack"),
    "ethos-u": ("tflm", "litert_ref", "litert_xnnpack"),
    "litert": ("litert_xnnpack", "litert_ref"),
    "onnxruntime": ("onnxruntime",),
    "tensorrt": ("onnxruntime",),
    "openvino": ("openvino",),
}


def device_samples(split: Split, size: tuple[int, int], *, integer: bool) -> np.ndarray:
    """What a device would feed: q = p − 128 as int8 [N, H, W, C], or (p − 128)/128 as float32."""
    pixels = split.x if split.x.shape[1:3] == size else lazy.load("edgekd.data.resize:resize")(split.x, *size)
    q = (pixels.astype(np.int16) - 128).astype(np.int8)
    return q if integer else q.astype(np.float32) / 128


def float_answers(model: Any, run: Path, test: Split, size: tuple[int, int]) -> np.ndarray:
    """What the float student of ``run`` answers on the test set."""
    pixels = test.x if test.x.shape[1:3] == size else lazy.load("edgekd.data.resize:resize")(test.x, *size)
    return lazy.load("edgekd.train.student:oracle")(model, run, pixels)


def verified(run: Path, profile: Profile, artifact: Artifact, samples: Samples, threads: int, progress: Progress) -> list[Verdict]:
    exporter = EXPORTERS[profile.deploy.exporter]
    subjects = [Subject(runtime, RUNTIMES[runtime], runs.inside(run, artifact.path), exporter) for runtime in _runtimes(profile)]
    graph = read_folder(run / "graph")
    return list(verify(graph, subjects, samples, workers=threads or None, progress=lambda n, total, _: progress("verify", n, total)))


def _runtimes(profile: Profile) -> tuple[str, ...]:
    """Those of this host that stand for the device's; a float student has one rounding, so one is enough."""
    wanted = HOST_RUNTIMES[profile.deploy.runtime]
    if profile.scheme.numeric == "int8":
        return wanted
    return tuple(r for r in wanted if r != "tflm")[-1:] if profile.deploy.runtime in ("tflm", "ethos-u") else wanted[:1]


#: Stages that several processes do together, where there are several; the others are the first's.
_TOGETHER = ("intermediates", "float", "qat")
#: Stages after which data that lies in a file, not in memory, is looked at again; trainings do so themselves.
_READ_DATA = ("verify", "examine")


@dataclass(frozen=True)
class Build:
    """One run folder being filled, stage by stage."""

    job: Job
    chosen: Plan
    lesson: Any
    run: Path
    progress: Progress

    def all(self, *, last: str = "examine") -> None:
        """Do every stage that is not done, up to ``last``. The run folder's lock must be held, of several processes by the first."""
        here = team.here()
        here.told(lambda: runs.sweep(self.run))
        before = {"data": self.lesson.data.sha256, "teacher": self.lesson.teacher_sha256, **self.job.own_files}
        makers: dict[str, Callable[[], Any]] = {
            "plan": lambda: self.chosen,
            "intermediates": self._intermediates,
            "float": self._float,
            "bits": self._bits,
            "qat": self._qat,
            "freeze": self._freeze,
            "export": self._export,
            "verify": self._verify,
            "measure": self._measure,
            "examine": self._examine,
        }
        for stage, make in makers.items():
            wanted = {
                "intermediates": self.job.has_intermediates,
                "bits": self.job.mixed or self.job.sixteen,
                "qat": self.job.scheme.is_integer,
            }
            if not wanted.get(stage, True):
                continue
            if not here.told(partial(runs.done, self.run, stage, before)):
                if stage in _TOGETHER and not here.leads:
                    make()
                here.told(partial(self._made, stage, make, before))
            if stage == last:
                return
            before = {"before": here.told(partial(runs.sha256_file, self.run / "records" / f"{stage}.json"))}

    def _made(self, stage: str, make: Callable[[], Any], before: dict[str, str]) -> None:
        """Do a stage and write its record."""
        began = time.monotonic()
        body = make()
        seconds = round(time.monotonic() - began, 2)
        if stage in _READ_DATA:
            self.job.data.check_unchanged()
        runs.write(self.run, Record(stage, before, self._config, runs.environment(), body, seconds, figures=figures_of(body)))

    def rehearse(self) -> None:
        """Feed the losses of all students that are yet to be trained once; ``lesson`` may be made up."""
        if "float" in runs.stages(self.run):
            return
        training = self._training()
        if self.job.has_intermediates:
            lazy.load("edgekd.train.intermediates:rehearse_chain")(self._chain, training)
        lazy.load("edgekd.train.student:try_out")(self._model(), training)

    @property
    def _config(self) -> dict[str, Any]:
        """What every record says of how it came about."""
        about = self.job.loaded.recipe.about
        more = {"about": about.texts if about else None, "curated": list(self.lesson.curated)}
        said = {key: value for key, value in more.items() if value}
        return {**self.job.config, **said, "recipe_folder": str(self.job.loaded.folder.resolve())}

    def _body(self, stage: str) -> Any:
        return runs.read(self.run, stage).body

    def _spec(self) -> Any:
        return self.job.family.restore(self._body("plan").spec if "plan" in runs.stages(self.run) else self.chosen.spec)

    def _training(self) -> Any:
        make, request = lazy.load("edgekd.train.student:Training"), self.job.request
        size, quantized = self.job.family.resolution(self._spec()), self.job.scheme.is_integer
        return make(self.lesson, self.job.preset, size, request.seed, self._seeded, quantized, request.mlflow)

    def _taught(self) -> Any:
        """The training of the student itself: the last of the intermediates teaches it, where there are any. They must be trained."""
        if not self.job.has_intermediates:
            return self._training()
        last = lazy.load("edgekd.train.intermediates:last_lesson")
        return replace(self._training(), lesson=last(self._chain, self.lesson, self.run, self.progress))

    def _model(self) -> Any:
        model, begun = self._seeded(self.job.request.seed), self.job.loaded.initial
        return model if begun is None else lazy.load("edgekd.students.initial:begin")(model, begun)

    def _seeded(self, seed: int) -> Any:
        """The untrained student, the same for the same seed."""
        lazy.load("torch:manual_seed")(seed)
        return self.job.family.build(self._spec())

    def _shared(self, stage: str, **more: Any) -> Path:
        if self.job.has_intermediates:
            more["taught_by"] = [one.sha256 for one in self._body("intermediates")][-1:]
        return jobs.training_folder(self.job, self._spec(), stage, self.lesson, more)

    @cached_property
    def _chain(self) -> Any:
        schedule = {k: v for k, v in self.job.preset.model_dump().items() if not k.startswith("qat_")}
        more = {"schedule": schedule, **self.job.own_files}
        return lazy.load("edgekd.train.intermediates:chain")(self.lesson, self.job.family, self._spec(), more, runs.cache_folder())

    def _intermediates(self) -> list[Checkpoint]:
        train = lazy.load("edgekd.train.intermediates:train_chain")
        return train(self._chain, self._training(), self.run, self.progress)

    def _float(self) -> Checkpoint:
        if self.job.loaded.recipe.compress is not None:
            return self._compressed()
        warm_up = lazy.load("edgekd.train.student:warm_up")
        return warm_up(self._model(), self._taught(), self._shared("float"), self.run, self.progress)

    def _compressed(self) -> Checkpoint:
        spec = self._spec()
        whole = lazy.load("edgekd.train.compressed:Whole")(self._model(), *jobs.uncompressed(self.job, spec, self.lesson), spec.macs)
        train = lazy.load("edgekd.train.compressed:warm_up_compressed")
        return train(whole, self._taught(), self._shared("float"), self.run, self.progress)

    def _qat(self) -> Checkpoint:
        shared = self._shared("qat", scheme=self._scheme.document(), float=self._body("float").sha256)
        quantize = lazy.load("edgekd.train.student:quantize_aware")
        return quantize(self._model(), self._taught(), self._scheme, shared, self.run, self.progress)

    @property
    def _scheme(self) -> Scheme:
        if not (self.job.mixed or self.job.sixteen):
            return self.job.scheme
        bits: Bits = self._body("bits")
        return replace(self.job.scheme, four_bits=tuple(bits.four_bits), sixteen_bits=tuple(bits.sixteen_bits))

    def _bits(self) -> Bits:
        """Weights first: what they save may serve the activations."""
        scheme, made = self.job.scheme, Bits((), {}, {})
        if self.job.mixed:
            limit = next(budget.limit for budget in self.job.budgets if budget.name == "model_bytes")
            choose = lazy.load("edgekd.train.bits:choose_bits")
            made = choose(self._model(), self._training(), scheme, self.run, limit, lambda graph: jobs.exported_bytes(self.job, graph))
            scheme = replace(scheme, four_bits=made.four_bits)
        if not self.job.sixteen:
            return made
        choose = lazy.load("edgekd.train.bits:choose_activations")
        found = choose(self._model(), self._training(), scheme, self.run, lambda graph: jobs.uses(self.job, finished(self.job, graph)))
        return replace(found, four_bits=made.four_bits, divergence=made.divergence)

    def _freeze(self) -> Artifact:
        graph = lazy.load("edgekd.train.student:frozen")(self._model(), self._training(), self._scheme, self.run)
        graph = finished(self.job, graph)
        io.save(graph.with_metadata(**metadata(self.job, io.fingerprint(graph))), self.run / "graph")
        files = tuple(f"graph/{name}" for name in ("graph.json", "weights.safetensors"))
        return Artifact("quantgraph", files[0], runs.sha256_file(self.run / files[0]), {}, files)

    def _export(self) -> list[Artifact]:
        export = lazy.load(EXPORTERS[self.job.profile.deploy.exporter])
        artifact: Artifact = export(io.load(self.run / "graph"), self.run / "export")
        files = tuple(f"export/{name}" for name in artifact.files)
        return [replace(artifact, path=f"export/{artifact.path}", files=files)]

    def _verify(self) -> list[Verdict]:
        oracle = None
        if not self.job.scheme.is_integer:
            oracle = float_answers(self._model(), self.run, self.job.data.test, self.job.family.resolution(self._spec()))
        samples = Samples(self._samples(), self.job.data.test.y, oracle)
        return verified(self.run, self.job.profile, self._body("export")[0], samples, self.job.request.threads, self.progress)

    def _samples(self) -> np.ndarray:
        size = self.job.family.resolution(self._spec())
        return device_samples(self.job.data.test, size, integer=self.job.scheme.is_integer)

    def _measure(self) -> list[Measurement]:
        profile, verdict, exported = self.job.profile, self._body("verify")[0], self._body("export")[0]
        runtime, path = _runtimes(profile)[0], self.run / exported.path
        task = Task(profile.name, runtime, RUNTIMES[runtime], path, self._samples()[:1], emulated=profile.kind == "mcu")
        self.progress("measure", 0, 1)
        found = measure(task, accuracies={k: v for k, v in verdict.figures.items() if k in named("accuracy", self.job.data)})
        remember_graph(io.load(self.run / "graph"), found.figures["latency_ms"], runtime, exported.sha256)
        self.progress("measure", 1, 1)
        return [replace(found, figures={**found.figures, **self._teacher_accuracy()})]

    def _examine(self) -> Examination:
        profile, verdict, exported = self.job.profile, self._body("verify")[0], self._body("export")[0]
        exporter = EXPORTERS[profile.deploy.exporter]
        subject = Subject(verdict.runtime, RUNTIMES[verdict.runtime], runs.inside(self.run, exported.path), exporter)
        kind = "emulated" if profile.kind == "mcu" else "measured"
        student = Student(io.load(self.run / "graph"), subject, verdict, kind, self.job.loaded.recipe.student.softmax)
        test = Questions(self.job.data.test, self._samples(), self.job.data.heads, self.lesson.answers)
        return examine(self.run, student, test, self.progress, workers=self.job.request.threads or None)

    def _teacher_accuracy(self) -> dict[str, Figure]:
        """Of each task; nothing where its teacher is only a file of outputs, and has none for the test set."""
        figures, test = {}, self.job.data.test
        for name, task in named("teacher_accuracy", self.job.data).items():
            if (answers := self.lesson.answers[task]) is not None:
                share = compare.accuracy(answers, test.classes(task))
                low, high = share.interval
                figures[name] = Figure(share.value, "share", "measured", self.lesson.teacher_where, share.n, low, high)
        return figures
