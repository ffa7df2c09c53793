"""What the commands that make students do: teach, plan, build, verify again. The order of a build's stages is in stages.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgekd import host, lazy, runs, team
from edgekd.errors import Disagreement, EdgekdError, InputError
from edgekd.jobs import Job, Request, built_from, check_ends, load_data, load_jobs, plan_job
from edgekd.plan.compressed import student_family
from edgekd.recipe.load import load as load_recipe
from edgekd.records import Plan, Verdict
from edgekd.stages import Build, Progress, device_samples, float_answers, verified
from edgekd.verify.certificate import Samples


def teach(recipe: str, progress: Progress, *, fresh: bool, threads: int) -> list[dict[str, Any]]:
    """Train the recipe's teachers; returns the record of each as it is stored in the cache, beside a copy of the checkpoint."""
    loaded = load_recipe(recipe)
    data = load_data(loaded).for_teachers
    lazy.load("torch:set_num_threads")(host.threads(threads))
    return lazy.load("edgekd.train.teach_recipe:teach_all")(loaded, data, runs.cache_folder(), progress, fresh=fresh)


def _plans(jobs: list[Job], progress: Progress) -> list[Plan]:
    made: list[Plan] = []
    for job in jobs:
        progress("plan", len(made), len(jobs))
        made.append(plan_job(job))
    progress("plan", len(made), len(jobs))
    return made


def build(
    request: Request,
    root: Path,
    progress: Progress,
    *,
    resume: bool,
    announce: Callable[[Path], None],
    last: str = "examine",
    wait: Callable[[str], None] | None = None,
) -> list[Path]:
    """Build the request's targets, in order; returns their run folders. Data, teacher and its outputs are shared.

    ``announce`` gets each run folder before its work begins; ``last`` is the stage to end with. Raises InputError if a run was begun before
    and ``resume`` is not set, or, without ``wait``, if another process builds it: with it, that is told who it is, and waited for.
    """
    jobs = load_jobs(request)
    plans = _plans(jobs, progress)  # what does not fit is said before anything is trained
    folders = run_folders(jobs, root, resume=resume)
    for one in builds(jobs, plans, folders, progress):
        announce(one.run)
        with runs.lock(one.run, wait=wait):
            one.all(last=last)
    return folders


def run_folders(jobs: Sequence[Job], root: Path, *, resume: bool) -> list[Path]:
    """A folder a job, made if it is new. Raises InputError if its build was begun before and ``resume`` is not set, or was begun with other
    data and it is."""
    for job in jobs if resume else ():
        runs.check_data(root, job.loaded.recipe.name, job.profile.name, job.identity, last="examine")
    folders = [runs.create(root, job.loaded.recipe.name, job.profile.name, job.identity) for job in jobs]
    for run in folders:
        if runs.stages(run) and not resume:
            raise InputError(
                "this build was begun before",
                where=str(run),
                mend="add --resume to go on, or remove the folder (finished trainings stay in the cache and are found again)",
            )
    return folders


def builds(
    jobs: Sequence[Job],
    plans: Sequence[Plan],
    folders: Sequence[Path],
    progress: Progress,
    elsewhere: Callable[[], None] = lambda: None,
) -> list[Build]:
    """One a job, ready to be done: what they share, the teachers' outputs among it, is made here, or found in the cache.

    ``elsewhere`` is called when nothing is wrong, before the teachers are asked: it may have some of their outputs computed by others.
    """
    lazy.load("torch:set_num_threads")(host.threads(jobs[0].request.threads))
    check_ends(jobs)

    def rehearse(made_up: Any) -> None:
        for job, chosen, run in zip(jobs, plans, folders, strict=True):
            Build(job, chosen, fed(made_up, job.data), run, progress).rehearse()
        elsewhere()

    opened, fed = (lazy.load(f"edgekd.train.lesson:{name}") for name in ("open_lesson", "fed"))
    here = team.here()
    tried = rehearse if here.leads else None
    lesson = here.first(lambda: opened(jobs[0].loaded, jobs[0].data, runs.cache_folder(), progress, jobs[0].preset, tried))
    return [Build(job, chosen, fed(lesson, job.data), run, progress) for job, chosen, run in zip(jobs, plans, folders, strict=True)]


def verify_again(run: Path, progress: Progress, *, threads: int) -> list[Verdict]:
    """Judge a finished run's exported file again, on the same test set; nothing is written.

    A file that is no longer what its record says is judged all the same, but never ok. Raises InputError if the run has no exported file
    (any more), or if its data changed since; Disagreement if a changed file cannot even be run.
    """
    recipe, profile, data, record = built_from(run)
    family = student_family(recipe, Path(record.config["recipe_folder"]))
    spec, artifact = family.restore(record.body.spec), runs.read(run, "export").body[0]
    integer, size = profile.scheme.numeric == "int8", family.resolution(spec)
    oracle = None if integer else float_answers(family.build(spec), run, data.test, size)
    samples = Samples(device_samples(data.test, size, integer=integer), data.test.y, oracle)
    said = "; ".join(
        f"{name} is not what the build made: its sha256 is {runs.sha256_file(run / name)[:12]}…, not the one in records/{stage}.json"
        for stage in (("freeze", "export") if integer else ("float", "freeze", "export"))
        for name in runs.changed(run, stage)
    )
    try:
        verdicts = verified(run, profile, artifact, samples, threads, progress)
    except EdgekdError as error:
        if not said:
            raise
        raise Disagreement(f"{run}: {said}\n  nor can it be verified: {error}") from error
    return [replace(v, ok=False, reason=f"{said}; {v.reason}") for v in verdicts] if said else verdicts
