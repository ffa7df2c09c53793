"""The only file that knows the order of the stages: plan → float → qat → freeze → export → verify → measure.

Each stage takes records and files and leaves a record and files; a build that was interrupted goes on at the first stage without one.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import host, lazy, runs
from edgekd.data.dataset import Dataset, Split
from edgekd.data.load import check_recipe_data
from edgekd.errors import InputError, MissingDependency
from edgekd.export import EXPORTERS
from edgekd.measure.harness import Task, measure
from edgekd.plan.budget import Budget, budgets
from edgekd.plan.choose import choose
from edgekd.profile.load import load as load_profile
from edgekd.profile.schema import Profile
from edgekd.quant import compare, io
from edgekd.quant.graph import QuantGraph
from edgekd.quant.scheme import Scheme
from edgekd.recipe.load import LoadedRecipe, preset
from edgekd.recipe.load import load as load_recipe
from edgekd.recipe.schema import Preset
from edgekd.records import Artifact, Checkpoint, Figure, Measurement, Plan, Record, Verdict
from edgekd.runtimes import RUNTIMES
from edgekd.students.family import Family, open_family
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


@dataclass(frozen=True)
class Request:
    """What is asked for: one recipe for some targets. ``overrides`` are budgets from the command line; ``threads`` 0 is all cores."""

    recipe: str
    targets: tuple[str, ...]
    preset: str = "demo"
    seed: int = 0
    overrides: Mapping[str, float] = field(default_factory=dict)
    threads: int = 0


@dataclass(frozen=True)
class _Job:
    """A request for one target with everything that it names loaded."""

    request: Request
    loaded: LoadedRecipe
    profile: Profile
    data: Dataset
    family: Family
    budgets: tuple[Budget, ...]

    @property
    def scheme(self) -> Scheme:
        s = self.profile.scheme
        return Scheme(s.numeric, s.symmetric_activations, s.per_channel_weights)

    @property
    def preset(self) -> Preset:
        return preset(self.loaded.recipe, self.request.preset)

    @property
    def config(self) -> dict[str, Any]:
        """The effective configuration, as recorded."""
        limits = {b.name: {"limit": b.limit, "unit": b.unit, "source": b.source} for b in self.budgets}
        return {"preset": self.request.preset, "schedule": self.preset.model_dump(), "seed": self.request.seed, "budgets": limits}

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the student: the same identity is the same run folder."""
        recipe, profile = self.loaded.recipe.model_dump(), self.profile.model_dump()
        unused = {"presets": {self.request.preset: recipe["presets"][self.request.preset]}, "targets": {}}
        return {"recipe": {**recipe, **unused}, "profile": profile, "data": self.data.sha256, **self.config}


def plan(request: Request) -> list[Plan]:
    """The students that would be built. Raises DoesNotFit if none fits, InputError for what cannot be."""
    return [_plan(job) for job in _jobs(request)]


def build(request: Request, root: Path, progress: Progress, *, resume: bool, announce: Callable[[Path], None]) -> list[Path]:
    """Build the request's targets, in order; returns their run folders. Data, teacher and its outputs are shared.

    ``announce`` gets each run folder before its work begins. Raises InputError if a run was begun before and ``resume`` is not set.
    """
    jobs = _jobs(request)
    for job in jobs:
        _plan(job)  # what does not fit is said before anything is trained
    folders = [runs.create(root, job.loaded.recipe.name, job.profile.name, job.identity) for job in jobs]
    for run in folders:
        if runs.stages(run) and not resume:
            raise InputError("this build was begun before", where=str(run), mend="add --resume to go on, or remove the folder to start over")
    lazy.load("torch:set_num_threads")(request.threads or os.cpu_count() or 1)
    lesson = lazy.load("edgekd.train.lesson:open_lesson")(jobs[0].loaded, jobs[0].data, runs.cache_folder(), progress)
    for job, run in zip(jobs, folders, strict=True):
        announce(run)
        with runs.lock(run):
            Build(job, lesson, run, progress).all()
    return folders


def _jobs(request: Request) -> list[_Job]:
    loaded = load_recipe(request.recipe)
    preset(loaded.recipe, request.preset)
    profiles = [load_profile(target) for target in request.targets]
    family = open_family(loaded.recipe.student.family)
    limits = [budgets(profile, loaded.recipe, request.preset, request.overrides) for profile in profiles]
    r = loaded.recipe
    data = check_recipe_data(r.data.source, r.data.options, loaded.folder, channels=len(r.teacher.mean))
    return [_Job(request, loaded, p, data, family, b) for p, b in zip(profiles, limits, strict=True)]


def _plan(job: _Job) -> Plan:
    student = job.loaded.recipe.student
    specs = job.family.candidates(student.options, student.space, job.data.shape, len(job.data.labels))

    def sketch(spec: Any) -> QuantGraph:
        if job.family.sketch is not None:
            drawn = job.family.sketch(spec, job.scheme)
        else:
            drawn = lazy.load("edgekd.quant.outline:outline")(job.family.build(spec), (job.data.shape[2], *job.family.resolution(spec)), job.scheme)
        return drawn.with_metadata(**_metadata(job, "0" * 64))

    try:
        export = lazy.load(EXPORTERS[job.profile.deploy.exporter])
    except MissingDependency:
        return choose(job.profile, job.family, specs, job.budgets, sketch, None)

    def measure_file(graph: QuantGraph) -> int:
        with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
            artifact: Artifact = export(graph, Path(folder))
            return sum((Path(folder) / name).stat().st_size for name in artifact.files or (artifact.path,))

    return choose(job.profile, job.family, specs, job.budgets, sketch, measure_file)


def _metadata(job: _Job, student: str) -> dict[str, Any]:
    """What every exported file says of itself, so that a device's code needs no other source."""
    return {
        "labels": list(job.data.labels),
        "recipe": job.loaded.recipe.name,
        "target": job.profile.name,
        "scheme": job.profile.scheme.model_dump(),
        "hashes": {"data": job.data.sha256, "student": student},
    }


@dataclass(frozen=True)
class Build:
    """One run folder being filled, stage by stage."""

    job: _Job
    lesson: Any
    run: Path
    progress: Progress

    def all(self) -> None:
        """Do every stage that is not done."""
        before = {"data": self.job.data.sha256, "teacher": self.lesson.teacher_sha256}
        makers: dict[str, Callable[[], Any]] = {
            "plan": lambda: _plan(self.job),
            "float": self._float,
            "qat": self._qat,
            "freeze": self._freeze,
            "export": self._export,
            "verify": self._verify,
            "measure": self._measure,
        }
        for stage, make in makers.items():
            if stage == "qat" and not self.job.scheme.is_integer:
                continue
            if not runs.done(self.run, stage, before):
                began = time.monotonic()
                body = make()
                record = Record(stage, before, self.job.config, runs.environment(), body, round(time.monotonic() - began, 2))
                runs.write(self.run, record)
            before = {"before": runs.sha256_file(self.run / "records" / f"{stage}.json")}

    def _body(self, stage: str) -> Any:
        return runs.read(self.run, stage).body

    def _spec(self) -> Any:
        return self.job.family.restore(self._body("plan").spec)

    def _training(self) -> Any:
        make = lazy.load("edgekd.train.student:Training")
        return make(self.lesson, self.job.preset, self.job.family.resolution(self._spec()), self.job.request.seed)

    def _model(self) -> Any:
        """The untrained student, the same for the same seed."""
        lazy.load("torch:manual_seed")(self.job.request.seed)
        return self.job.family.build(self._spec())

    def _float(self) -> Checkpoint:
        """The float student, trained once for all targets that chose the same spec."""
        spec = self.job.family.describe(self._spec())
        shared = {k: v for k, v in self.job.identity.items() if k not in ("profile", "budgets")}
        folder = runs.cache_folder() / "float" / runs.digest({**shared, "spec": spec, "teacher": self.lesson.teacher_sha256})[:32]
        return lazy.load("edgekd.train.student:warm_up")(self._model(), self._training(), folder, self.run, self.progress)

    def _qat(self) -> Checkpoint:
        quantize = lazy.load("edgekd.train.student:quantize_aware")
        return quantize(self._model(), self._training(), self.job.scheme, self.run, self.progress)

    def _freeze(self) -> Artifact:
        graph = lazy.load("edgekd.train.student:frozen")(self._model(), self._training(), self.job.scheme, self.run)
        io.save(graph.with_metadata(**_metadata(self.job, io.fingerprint(graph))), self.run / "graph")
        files = tuple(f"graph/{name}" for name in ("graph.json", "weights.safetensors"))
        return Artifact("quantgraph", files[0], runs.sha256_file(self.run / files[0]), {}, files)

    def _export(self) -> list[Artifact]:
        export = lazy.load(EXPORTERS[self.job.profile.deploy.exporter])
        artifact: Artifact = export(io.load(self.run / "graph"), self.run / "export")
        files = tuple(f"export/{name}" for name in artifact.files)
        return [replace(artifact, path=f"export/{artifact.path}", files=files)]

    def _subjects(self) -> list[tuple[str, Path]]:
        path = self.run / self._body("export")[0].path
        wanted = HOST_RUNTIMES[self.job.profile.deploy.runtime]
        return [(runtime, path) for runtime in (wanted if self.job.scheme.is_integer else wanted[:1])]

    def _verify(self) -> list[Verdict]:
        graph, test = io.load(self.run / "graph"), self.job.data.test
        exporter = EXPORTERS[self.job.profile.deploy.exporter]
        subjects = [Subject(runtime, RUNTIMES[runtime], path, exporter) for runtime, path in self._subjects()]
        oracle = None
        if not self.job.scheme.is_integer:
            oracle = lazy.load("edgekd.train.student:oracle")(self._model(), self._training(), self.run)
        samples = Samples(self._samples(test), test.y, oracle)
        workers = self.job.request.threads or None
        return list(verify(graph, subjects, samples, workers=workers, progress=lambda n, total, _: self.progress("verify", n, total)))

    def _samples(self, split: Split) -> np.ndarray:
        """What a device would feed: q = p − 128 as int8, or (p − 128)/128 as float32."""
        resize = lazy.load("edgekd.data.resize:resize")
        pixels = resize(split.x, *self.job.family.resolution(self._spec()))
        q = (pixels.astype(np.int16) - 128).astype(np.int8)
        return q if self.job.scheme.is_integer else q.astype(np.float32) / 128

    def _measure(self) -> list[Measurement]:
        runtime, path = self._subjects()[0]
        verdict: Verdict = self._body("verify")[0]
        x = self._samples(self.job.data.test)[:1]
        emulated = self.job.profile.deploy.runtime in ("tflm", "ethos-u")
        task = Task(self.job.profile.name, runtime, RUNTIMES[runtime], path, x, emulated=emulated)
        self.progress("measure", 0, 1)
        found = measure(task, accuracy=verdict.figures.get("accuracy"))
        self.progress("measure", 1, 1)
        return [replace(found, figures={**found.figures, "teacher_accuracy": self._teacher_accuracy()})]

    def _teacher_accuracy(self) -> Figure:
        share = compare.accuracy(self.lesson.teacher_outputs, self.job.data.test.y)
        low, high = share.interval
        return Figure(share.value, "", "measured", f"{host.host()}, torch", share.n, low, high)
