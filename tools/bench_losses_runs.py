"""One student of one method and seed: built as `edgekd build` builds it, up to the exported file, which is then run on held-out images."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from bench_losses_methods import Method, Shelf

from edgekd import host, lazy, runs
from edgekd.data.dataset import Dataset, Split
from edgekd.errors import EdgekdError, InputError
from edgekd.jobs import Job, Request, load_data, plan_job
from edgekd.plan.budget import budgets
from edgekd.profile.load import load as load_profile
from edgekd.quant import compare
from edgekd.records import Checkpoint, Figure, Plan
from edgekd.runtimes import RUNTIMES
from edgekd.stages import HOST_RUNTIMES, Build, device_samples
from edgekd.students.family import open_family
from edgekd.train.distill import columns
from edgekd.train.lesson import Lesson, open_lesson
from edgekd.train.loop import made_criterion
from edgekd.train.student import Training, rehearse
from edgekd.train.taps import Tutors

ROOT = Path(__file__).resolve().parents[1]
#: Of several host runtimes that stand for a device's and compute the same integers, the fast one.
FAST = "litert_xnnpack"
Progress = Callable[[str, int, int], None]


class Busy(Exception):
    """Another process trains this one."""


@dataclass(frozen=True)
class Contest:
    """What all methods share: the student that the base recipe's plan chose, the device, and the folder that keeps the results."""

    base: Job
    plan: Plan
    jobs: Mapping[str, Job]
    cache: Path

    def job(self, method: str, seed: int) -> Job:
        job = self.jobs[method]
        return replace(job, request=replace(job.request, seed=seed))

    @cached_property
    def runtime(self) -> str:
        names = HOST_RUNTIMES[self.base.profile.deploy.runtime]
        return FAST if FAST in names else names[0]


def open_contest(shelf: Shelf, request: Request, folder: Path) -> Contest:
    """Load data and plan the student. Raises InputError where a method's held-out images differ, or the target wants no integers."""
    base = _job(shelf.base.recipe.student.family, request, shelf.base, load_data(shelf.base))
    if not base.scheme.is_integer:
        wanted = f"{base.profile.name} wants {base.scheme.numeric}"
        raise InputError(wanted, where="--target", expected="a target of an integer scheme", mend="edgekd targets list")
    known: dict[str, Dataset] = {_table(shelf.base.recipe.data): base.data}
    jobs = {}
    for method in shelf.methods:
        table = _table(method.loaded.recipe.data)
        if table not in known:
            with named(shelf, method):
                known[table] = _same_held_out(base.data, load_data(method.loaded))
        jobs[method.name] = replace(base, loaded=method.loaded, data=known[table])
    return Contest(base, plan_job(base), jobs, folder)


def _table(data: Any) -> str:
    return json.dumps(data.model_dump(), sort_keys=True)


def _job(family: str, request: Request, loaded: Any, data: Dataset) -> Job:
    profile = load_profile(request.targets[0])
    limits = budgets(profile, loaded.recipe, request.preset, request.overrides)
    return Job(request, loaded, profile, data, open_family(family), limits)


def _same_held_out(base: Dataset, data: Dataset) -> Dataset:
    for name in ("validation", "test"):
        ours, theirs = getattr(data, name), getattr(base, name)
        if data.heads != base.heads or not (np.array_equal(ours.x, theirs.x) and np.array_equal(ours.y, theirs.y)):
            raise InputError(f"another {name} split than the recipe's", where="data", expected="data that differ in training only")
    return data


@contextlib.contextmanager
def named(shelf: Shelf, method: Method) -> Iterator[None]:
    """Errors say which method they come from. Exit code 1 is the verdict's alone."""
    where = f"{shelf.file}, method {method.name}"
    try:
        yield
    except InputError as error:
        where += f": {error.where}" if error.where else ""
        raise InputError(error.what, where=where, expected=error.expected, mend=error.mend) from error
    except EdgekdError as error:
        raise EdgekdError(f"{where}: {error}") from error


def try_out(contest: Contest, method: str, progress: Progress) -> None:
    """Feed a method's losses once, in both phases, before anything is trained. Raises InputError as its training would, hours later."""
    job = contest.job(method, 0)
    lesson = open_lesson(job.loaded, job.data, runs.cache_folder(), progress, job.preset)
    spec = job.family.restore(contest.plan.spec)
    training = Training(lesson, job.preset, job.family.resolution(spec), 0, quantized=True)
    model = job.family.build(spec)
    terms = [term for term in lesson.terms if term.active("float")]
    tutors = Tutors(terms, lesson.live)
    made_criterion(model, terms, training.feed, tutors).close()
    tutors.close()
    rehearse(model, training)


def result_file(contest: Contest, method: str, seed: int) -> Path:
    """Where the result of one training lies, by the hash of all that it depends on but edgekd's own code."""
    job = contest.job(method, seed)
    recipe = job.loaded.recipe
    names = [recipe.data.source, recipe.student.family, *(loss.name for loss in recipe.losses)]
    names += [critic.name for critic in recipe.curate.critics] if recipe.curate else []
    names += [teacher.source for teacher in recipe.all_teachers]
    own = {name: sha256 for name in names if (sha256 := lazy.source_sha256(name))}
    depends = {**job.identity, "spec": contest.plan.spec, "own": own, "teachers": _teacher_files(job), "runtime": contest.runtime}
    return contest.cache / f"{runs.digest(depends)[:32]}.json"


def _teacher_files(job: Job) -> dict[str, str]:
    """sha256 of what the recipe's teachers name in its folder: a teacher that was trained anew makes other students."""
    found: dict[str, str] = {}
    for teacher in job.loaded.recipe.all_teachers:
        for name in (teacher.checkpoint, *teacher.options.values()):
            path = job.loaded.folder / name if isinstance(name, str) and name else None
            if path is not None and path.exists():
                files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
                found |= {file.relative_to(job.loaded.folder).as_posix(): runs.sha256_file(file) for file in files}
    return found


def stored(path: Path) -> dict[str, Any] | None:
    """The result in ``path``, None where there is none yet. Raises InputError where it is damaged."""
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
        return found if found["schema_version"] == 1 else None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("is damaged", where=str(path), expected="a result of this tool", mend=f"rm {path}") from error


def result(contest: Contest, method: str, seed: int, progress: Progress, *, wait: Callable[[str], None] | None = None) -> dict[str, Any]:
    """The stored or new result of one training. Raises Busy if another process is at it, unless ``wait`` is told, and waits."""
    path = result_file(contest, method, seed)
    if (found := stored(path)) is not None:
        return found
    job = contest.job(method, seed)
    run = runs.create(contest.cache / "runs", f"{job.loaded.recipe.name}-{method}-seed{seed}", job.profile.name, {"result": path.stem})

    def leave(_: str) -> None:
        raise Busy

    with runs.lock(run, wait=wait or leave):
        if (found := stored(path)) is not None:
            return found
        lesson = open_lesson(job.loaded, job.data, runs.cache_folder(), progress, job.preset)
        began, cpu = time.monotonic(), time.process_time()
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for the result
            Build(job, contest.plan, lesson, run, progress).all(last="export")
        wall, cpu = time.monotonic() - began, time.process_time() - cpu
        # What was resumed, or found trained, says nothing of the whole.
        whole = wall >= sum(trained(run).values())
        record = _judged(contest, job, lesson, run) | {"method": method, "seed": seed, "cpu_s": round(cpu, 2) if whole else None}
        runs.atomic_write(path, json.dumps(record, indent=1).encode())
    return record


def _judged(contest: Contest, job: Job, lesson: Lesson, run: Path) -> dict[str, Any]:
    artifact = runs.read(run, "export").body[0]
    runner = lazy.load(RUNTIMES[contest.runtime])(runs.inside(run, artifact.path), threads=max(1, job.request.threads))
    where = f"{host.host()}, {runner.where}"
    accuracy = {name: _accuracy(contest, runner, getattr(job.data, name), where) for name in ("validation", "test")}
    runner.close()
    sizes = {"bytes": sum((run / name).stat().st_size for name in artifact.files or (artifact.path,)), "sha256": artifact.sha256}
    teacher = None if lesson.answers[0] is None else compare.accuracy(lesson.answers[0], job.data.test.classes()).value
    config = {"recipe": job.loaded.recipe.name, "target": job.profile.name, "preset": job.request.preset, "spec": contest.plan.spec}
    config |= {"schedule": job.preset.model_dump(), "threads": max(1, job.request.threads), "data_sha256": job.data.sha256}
    return {
        "schema_version": 1,
        **accuracy,
        "file": {"run": run.name, "path": artifact.path, **sizes},
        "training_s": trained(run),
        "teacher_test": teacher,
        "config": config,
        "code": code(),
        "environment": host.environment(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _accuracy(contest: Contest, runner: Any, split: Split, where: str) -> dict[str, Any]:
    """The exported file's accuracy on ``split``, of several tasks the mean of theirs, and each task's own."""
    job = contest.base
    size = job.family.resolution(job.family.restore(contest.plan.spec))
    outputs = runner.run(device_samples(split, size, integer=True))
    outputs = outputs.reshape(len(outputs), -1)
    each = {}
    for n, (task, some) in enumerate(zip(job.data.heads, columns(job.data.heads), strict=True)):
        each[task.name] = int((compare.top1(outputs[:, some]) == split.classes(n)).sum())
    share = compare.Share(sum(each.values()), len(split) * len(each))
    return {**asdict(Figure(share.value, "share", "measured", where, share.n, *share.interval)), "right": each}


def cost_s(result: Mapping[str, Any]) -> float:
    """Seconds of a training: of the processor where it ran in one go, for other work on the machine must not count; else of the clock."""
    return result["cpu_s"] or sum(result["training_s"].values())


def trained(run: Path) -> dict[str, float]:
    """Seconds of each stage of ``run`` that trained, its validation included."""
    found: dict[str, float] = {}
    for stage in runs.stages(run):
        body = runs.read(run, stage).body
        checkpoints = [one for one in (body if isinstance(body, list) else [body]) if isinstance(one, Checkpoint)]
        if checkpoints:
            found[stage] = round(sum(entry["seconds"] for one in checkpoints for entry in one.history), 2)
    return found


@cache
def code() -> str:
    """sha256 of edgekd's source, as far as it decides the results, when first asked: what is edited later is not run."""
    rooms = ("data", "export", "losses", "quant", "runtimes", "students", "teachers", "train")
    files = [path for room in rooms for path in (ROOT / "edgekd" / room).rglob("*.py")]
    digest = hashlib.sha256()
    for path in sorted([*files, ROOT / "edgekd" / "pipeline.py"]):
        digest.update(path.read_bytes())
    return digest.hexdigest()
