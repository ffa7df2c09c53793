"""`edgekd build` for many targets: what they share once, then each by itself, in this process or in workers; none stops another."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from edgekd import host, lazy, runs, team
from edgekd.errors import EdgekdError, InputError, of_system
from edgekd.jobs import Job, Request, check_activations, load_jobs, plan_job
from edgekd.pipeline import builds, run_folders
from edgekd.profile.load import load as load_profile
from edgekd.recipe.load import load as load_recipe
from edgekd.recipe.load import with_student
from edgekd.records import Plan
from edgekd.stages import Build, Progress
from edgekd.worker import Outcome, Task, Tell

#: Name → what does tasks elsewhere than in this process: (tasks, how, tell) → an outcome a task, in their order.
ENGINES = {"local": "edgekd.workers:do_all", "ray": "edgekd.cluster:do_all"}


#: Tasks that the teachers' outputs are dealt to where nothing says how many there may be at once.
SHARES = 64


@dataclass(frozen=True)
class How:
    """How a build is done; nothing of it decides a student but that workers have one thread where nothing says how many.

    ``seeds`` are those of the students of each target, none standing for the request's.
    ``optional`` are targets that a pattern found: one that cannot be built is left out. ``jobs`` is how many are built at once, each in a
    process of its own; 0: one after the other in this one, or, on a cluster, as many as it has room for. ``address`` is the cluster's.
    """

    optional: frozenset[str] = frozenset()
    resume: bool = False
    jobs: int = 0
    engine: str = "local"
    address: str = ""
    seeds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise InputError(f"{self.engine!r} is no engine", where="--engine", expected=" or ".join(ENGINES))
        if self.address and self.engine != "ray":
            raise InputError(f"--ray-address {self.address}", where="command line", expected="--engine ray with it")

    @property
    def alone(self) -> bool:
        """Whether all is done in this process."""
        return self.engine == "local" and not self.jobs


@dataclass(frozen=True)
class Ready:
    """One target that is going to be built; ``target`` is what it was asked for as."""

    target: str
    job: Job
    plan: Plan
    run: Path
    several: bool = False

    @property
    def name(self) -> str:
        """How messages call it: by its target, and by its seed where there are several."""
        return f"{self.job.profile.name}, seed {self.job.request.seed}" if self.several else self.job.profile.name


def build(request: Request, root: Path, how: How, tell: Tell) -> list[Outcome]:
    """Build the request's targets; an outcome each, those that were left out first. ``tell`` gets progress, with the target's name or "".

    Raises InputError for what is wrong with all of them, or with one that was named; DoesNotFit if one that was named does not fit, or none
    does; and what a single target's build raises.
    """
    here = team.here()
    here.first(lambda: _check(here.size, how))  # of what all would say, the first says it
    if not how.alone:
        request = replace(request, threads=host.threads(request.threads, 1))  # whatever the number of workers, the same students
        do_all = lazy.load(ENGINES[how.engine])  # what it lacks is said at once
        if how.address:
            do_all([], "plan", 0, how.address, tell)  # so is a cluster that does not answer
    mine = how if here.leads else replace(how, resume=True)  # the first has looked whether it may
    ready, left_out = here.first(lambda: _ready(request, root, mine, lambda *values: tell("", "progress", values)))
    if here.size > 1:
        lazy.load("edgekd.train.ranks:check_alike")([one.job.preset.batch for one in ready], _alike(ready), root)
    if how.alone:
        return [*left_out, *_one_by_one(ready, tell, lone=len(ready) == 1 and not left_out)]
    return [*left_out, *_in_workers(request, root, ready, how, tell)]


def _check(processes: int, how: How) -> None:
    if processes > 1 and not how.alone:
        raise InputError("--jobs or --engine", where="command line", expected="neither under torchrun, whose processes train one student")


def planned(request: Request, optional: frozenset[str], progress: Progress) -> tuple[list[tuple[str, Job, Plan]], list[Outcome]]:
    """The students that would be built, by what their targets were asked for as, and the ``optional`` targets that were left out.

    Raises InputError for what is wrong with all of them, or with one that was named; DoesNotFit if one that was named does not fit, or none
    does.
    """
    refused: dict[str, EdgekdError] = {}

    def spared(target: str, work: Callable[[], Plan | None]) -> Plan | None:
        try:
            return work()
        except EdgekdError as error:
            if target not in optional:
                raise
            refused[target] = error
            return None

    loaded = load_recipe(request.recipe)

    def looked_at(target: str) -> None:
        profile = load_profile(target)
        own = with_student(loaded, Path(request.student), profile.name) if request.student else loaded
        check_activations([own.recipe], [profile])

    for target in request.targets:
        spared(target, lambda target=target: looked_at(target))
    targets = tuple(target for target in request.targets if target not in refused)
    jobs = load_jobs(replace(request, targets=targets)) if targets else []
    plans: list[tuple[str, Job, Plan]] = []
    for at, (target, job) in enumerate(zip(targets, jobs, strict=True)):
        progress("plan", at, len(jobs))
        if (plan := spared(target, lambda job=job: plan_job(job))) is not None:
            plans.append((target, job, plan))
    progress("plan", len(jobs), len(jobs))
    if not plans:
        raise next(iter(refused.values()))
    return plans, [Outcome(target, None, str(error), error.exit_code) for target, error in refused.items()]


def _ready(request: Request, root: Path, how: How, progress: Progress) -> tuple[list[Ready], list[Outcome]]:
    """All that can be built, planned; what does not fit is said before anything is trained."""
    plans, left_out = planned(request, how.optional, progress)
    seeds = how.seeds or (request.seed,)
    each = [(t, replace(job, request=replace(job.request, seed=seed)), plan) for seed in seeds for t, job, plan in plans]
    folders = run_folders([job for _, job, _ in each], root, resume=how.resume)
    return [Ready(*one, run, len(seeds) > 1) for one, run in zip(each, folders, strict=True)], left_out


def _one_by_one(ready: Sequence[Ready], tell: Tell, *, lone: bool) -> list[Outcome]:
    """Here. Where it is ``lone``, and of several processes, one that fails is the whole command's failure."""
    now = [""]
    outcomes: list[Outcome] = []
    made = _builds(ready, lambda *values: tell(now[0], "progress", values))
    for name, one in zip([one.name for one in ready], made, strict=True):
        now[0] = name
        try:
            with runs.lock(one.run) if team.here().leads else nullcontext():
                one.all()
            outcomes.append(Outcome(now[0], one.run))
        except EdgekdError as error:
            if lone or team.here().size > 1:
                raise
            outcomes.append(Outcome(now[0], one.run, str(error), error.exit_code))
        except OSError as error:
            if len(ready) == 1 or team.here().size > 1:
                raise
            outcomes.append(Outcome(now[0], one.run, of_system(error), EdgekdError.exit_code))
    return outcomes


def _in_workers(request: Request, root: Path, ready: Sequence[Ready], how: How, tell: Tell) -> list[Outcome]:
    """Shared work here; then students there; times here, one after the other, for a busy machine measures wrongly; the rest there."""
    now = [""]
    shared = partial(_ask_in_workers, request, root, ready, how, tell)
    here = _builds(ready, lambda *values: tell(now[0], "progress", values), shared)
    do_all = lazy.load(ENGINES[how.engine])
    tasks = [Task(r.name, str(r.run.resolve()), str(root.resolve()), _document(request, r)) for r in ready]
    outcomes = {o.run: o for o in do_all(_mixed(tasks, ready), "verify", how.jobs, how.address, tell)}
    for name, one in zip([one.name for one in ready], here, strict=True):
        now[0], key = name, one.run.resolve()
        if not outcomes[key].said:
            try:
                with runs.lock(one.run):
                    one.all(last="measure")
            except EdgekdError as error:
                outcomes[key] = Outcome(now[0], key, str(error), error.exit_code)
            except OSError as error:
                outcomes[key] = Outcome(now[0], key, of_system(error), EdgekdError.exit_code)
    left = [task for task in tasks if not outcomes[Path(task.run)].said]
    outcomes |= {o.run: o for o in do_all(left, "examine", how.jobs, how.address, tell)}
    return [replace(outcomes[one.run.resolve()], run=one.run) for one in here]


def _builds(ready: Sequence[Ready], progress: Progress, elsewhere: Callable[[], None] = lambda: None) -> list[Build]:
    return builds([r.job for r in ready], [r.plan for r in ready], [r.run for r in ready], progress, elsewhere)


def _ask_in_workers(request: Request, root: Path, ready: Sequence[Ready], how: How, tell: Tell) -> None:
    """The teachers' outputs, shard by shard, where there are enough of them. What a worker does not leave is computed here."""
    job, cache = ready[0].job, runs.cache_folder()
    shards = lazy.load("edgekd.train.sharing:missing")(job.loaded, job.data, cache, job.preset)
    if (count := min(how.jobs or SHARES, shards)) < 2:
        return
    document, where = _document(request, ready[0]), cache / "soft_targets"
    tasks = [Task("", str(where / f"part {n + 1} of {count}"), str(root.resolve()), document, (n, count)) for n in range(count)]
    for outcome in lazy.load(ENGINES[how.engine])(tasks, "", how.jobs, how.address, tell):
        if outcome.said:
            tell("", "warning", (f"teachers' outputs, {outcome.run and outcome.run.name}: {outcome.said}\n  it is computed here",))


def _alike(ready: Sequence[Ready]) -> list[str]:
    """What must be the same wherever one student is trained."""
    return [runs.digest(one.job.identity) for one in ready] + [f"{name} {what}" for name, what in host.alike().items()]


def _document(request: Request, ready: Ready) -> str:
    """The request for one target and seed alone, as JSON."""
    return json.dumps(asdict(replace(request, targets=(ready.target,), seed=ready.job.request.seed)))


def _mixed(tasks: Sequence[Task], ready: Sequence[Ready]) -> list[Task]:
    """Students of different sizes first: of those alike one is trained in float, and the others wait for it."""
    seen: Counter[str] = Counter()
    turns = []
    for one in ready:
        spec = json.dumps([one.plan.spec, one.job.request.seed], sort_keys=True, default=str)
        turns.append(seen[spec])
        seen[spec] += 1
    return [task for _, task in sorted(zip(turns, tasks, strict=True), key=lambda pair: pair[0])]
