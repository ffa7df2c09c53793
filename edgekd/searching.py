"""`edgekd plan --search`: students are drawn, counted and scored for all targets at once, and the most promising trained briefly."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import host, lazy, runs
from edgekd.advise.finding import table_lines
from edgekd.candidates import Counter
from edgekd.errors import EdgekdError, InputError
from edgekd.jobs import Job, Request, load_jobs
from edgekd.plan.front import Point, front, picture
from edgekd.plan.halving import Rungs, Trained, first_rung, halve, winner
from edgekd.plan.search import Asked, Candidate, Count, Space, explore
from edgekd.plan.space import check_space
from edgekd.recipe.schema import FRONTEND
from edgekd.short_trainings import Trainer
from edgekd.students.family import open_family
from edgekd.supernets import Cutter, counted_kin, kindred, shared_family

LOG = logging.getLogger(__name__)
Progress = Callable[[str, int, int], None]
#: Students are cut out of a supernet in seconds: so many times as many are judged as would be trained.
CUT = 4


@dataclass(frozen=True)
class Found:
    """What a search gave one target: ``own`` is the student that the plan takes without it, ``best`` the search's.

    ``own`` is None where it cannot be compared: it is of other kin than a supernet.
    """

    target: str
    own: Trained | None
    best: Trained
    student: dict[str, Any]
    front: tuple[str, ...]


@dataclass(frozen=True)
class Searched:
    """``score_agrees`` is Spearman's correlation of the training-free score with the accuracy after the first rung, over those in it.

    Accuracies are shares of the ``n`` validation samples, measured in float on the machine that ``environment`` tells, for one ``seed``.
    """

    recipe: str
    folder: Path
    counted: int
    trained: int
    score_agrees: float | None
    found: tuple[Found, ...]
    n: int
    seed: int
    environment: dict[str, str]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return json.loads(json.dumps(asdict(self) | {"folder": str(self.folder)}, default=str).replace("-Infinity", "null"))


def search(request: Request, root: Path, progress: Progress, *, trials: int, rungs: Rungs, supernet: float = 0.0) -> Searched:
    """Search a student for each target of the request; trials and trainings that were done before are not repeated.

    Everything lies in a folder of ``root``: the study, what each training gave, a front and a picture a target, and for `edgekd build
    --student` a table a target. With ``supernet`` one is trained for so many passes, and students are cut out of it instead of trained.
    Accuracies are of the validation split, float, one seed. Raises InputError for what cannot be searched, DoesNotFit if nothing fits,
    MissingDependency without Optuna or torch.
    """
    jobs = load_jobs(request)
    if jobs[0].loaded.recipe.compress is not None:
        raise InputError(
            "[compress] beside --search",
            where="recipe",
            expected="one of the two",
            mend="search first, then compress",
        )
    spaces = [_space(jobs[0], name) for name in _families(jobs[0])]
    if supernet and FRONTEND in jobs[0].loaded.recipe.search:
        raise InputError(
            f"[search.{FRONTEND}] beside --supernet",
            where="command line",
            expected="one of the two: only students of one input share weights",
            mend="search the front-end first, write it into [student] frontend, and delete it from [search]",
        )
    lazy.load("torch:set_num_threads")(host.threads(request.threads))
    work = Work(jobs, spaces, Counter(jobs, spaces), root, trials, progress)
    folder, counted, trained, cutter = _by_supernet(work, rungs.first, supernet) if supernet else _by_training(work, rungs)
    found = [one for job in jobs if (one := _found(job, work.own[job.profile.name], trained, folder, cutter))]
    if not found:
        raise EdgekdError("nothing that was trained fits any target\n  to mend:  more --trials, or more --trained")
    first = min(passes for t in trained for passes in t.accuracy)
    scored = [(t.candidate.score, t.accuracy[first]) for t in trained if first in t.accuracy]
    measured = (len(jobs[0].data.validation), request.seed, runs.environment())
    result = Searched(request.recipe, folder, counted, len(trained), _spearman(scored), tuple(found), *measured)
    runs.atomic_write(folder / "search.json", json.dumps(result.document(), indent=1).encode())
    return result


class Work:
    """What both ways of searching need: jobs, spaces, and ``own``, what the plan takes for each target without a search."""

    def __init__(self, jobs: Sequence[Job], spaces: Sequence[Space], counter: Counter, root: Path, trials: int, progress: Progress) -> None:
        self.jobs, self.spaces, self.counter, self.root, self.trials, self.progress = jobs, spaces, counter, root, trials, progress
        each = {job.profile.name: counter.own(job) for job in jobs}
        # One student may be that of several targets, and fits each for which the plan has chosen it.
        alike = {c.name: [other.use for other in each.values() if other.name == c.name] for c in each.values()}
        least = {name: {target: min(use[target] for use in uses) for target in each} for name, uses in alike.items()}
        self.own = {target: replace(c, use=least[c.name]) for target, c in each.items()}

    def explored(self, spaces: Sequence[Space], count: Count, supernet: float = 0.0) -> tuple[Path, tuple[Candidate, ...]]:
        """The search's folder, and all that was counted."""
        first, fixed, free = self.jobs[0], *_front_end(self.jobs[0], self.counter)
        folder = self.root / f"{first.loaded.recipe.name}-search-{runs.digest(_same(self.jobs, spaces, supernet))[:10]}"
        asked = Asked(folder, self.trials, first.request.seed, free)
        told = partial(self.progress, "search")
        return folder, explore(spaces, lambda family, options, drawn: count(family, options, {**fixed, **drawn}), asked, told)


def _by_training(work: Work, rungs: Rungs) -> tuple[Path, int, list[Trained], None]:
    folder, candidates = work.explored(work.spaces, work.counter.count)
    trainer = Trainer(work.jobs[0], work.counter.fronts, folder, work.progress)
    return folder, len(candidates), halve(first_rung(candidates, work.own, rungs), work.own, trainer.train, rungs, work.progress), None


def _by_supernet(work: Work, first: int, passes: float) -> tuple[Path, int, list[Trained], Cutter]:
    job, rungs = work.jobs[0], Rungs(CUT * first, (passes,))
    family = shared_family(job, work.spaces)
    kin = family.restore(work.own[job.profile.name].spec)
    spaces = [kindred(work.spaces[0], family, kin)]
    folder, candidates = work.explored(spaces, counted_kin(work.counter, family, kin), passes)
    specs = [family.restore(c.spec) for c in candidates if min(c.use.values()) <= 1]
    cutter = Cutter(family, [*specs, kin], Trainer(job, work.counter.fronts, folder, work.progress))
    cutter.prepare(passes)
    return folder, len(candidates), halve(first_rung(candidates, work.own, rungs), work.own, cutter.train, rungs, work.progress), cutter


def _families(job: Job) -> list[str]:
    """The families of the recipe's search, or its student's own."""
    return [name for name in job.loaded.recipe.search if name != FRONTEND] or [job.loaded.recipe.student.family]


def _front_end(job: Job, counter: Counter) -> tuple[dict[str, Any], Mapping[str, Sequence[Any]]]:
    """What of the student's features is fixed, and what is chosen. Raises InputError for data that is not computed so."""
    table, fixed = job.loaded.recipe.search.get(FRONTEND), dict(job.loaded.recipe.student.frontend or {})
    if table is None:
        return fixed, {}
    counter.fronts.check({**table.options, **table.space}, f"recipe, search.{FRONTEND}")
    return {**fixed, **table.options}, table.space


def _space(job: Job, name: str) -> Space:
    """What may be chosen in one family: what the recipe says, else what the family offers. Raises InputError where there is neither."""
    said, where = job.loaded.recipe.search.get(name), f"recipe, search.{name}"
    family = open_family(name, where=where)
    options, space = (said.options, said.space) if said is not None and said.space else ({}, {})
    if not space:
        if family.wide is None:
            raise InputError(f"{name} offers nothing to choose from", where=where, expected="space, a list of values an option")
        offered, space = family.wide(job.data.shape)
        options = {**offered, **(said.options if said is not None else {})}
        space = {key: values for key, values in space.items() if key.removesuffix("[]") not in options}
    check_space(options, space, where)
    return Space(name, options, space)


def _same(jobs: Sequence[Job], spaces: Sequence[Space], supernet: float) -> dict[str, Any]:
    """What decides a search: one that is asked for again goes on in the same folder."""
    first = jobs[0]
    schedule = {key: value for key, value in first.preset.model_dump().items() if not key.startswith("qat_") and key != "float_epochs"}
    return {
        "recipe": {**first.loaded.recipe.model_copy(update={"about": None}).model_dump(), "presets": {}, "targets": {}},
        "schedule": schedule,
        "seed": first.request.seed,
        "own": first.own_files,
        "data": first.data.sha256,
        "spaces": [asdict(space) for space in spaces],
        "targets": {j.profile.name: {"profile": j.profile.model_dump(), "budgets": [asdict(b) for b in j.budgets]} for j in jobs},
        "version": lazy.load("edgekd.train.student:TRAINING_VERSION"),
        **({"supernet": supernet} if supernet else {}),
    }


def _found(job: Job, own: Candidate, trained: Sequence[Trained], folder: Path, cutter: Cutter | None) -> Found | None:
    """The winner for one target, written as the table that `edgekd build --student` takes, with a picture, and what was cut out."""
    target = job.profile.name
    fitting = [t for t in trained if t.candidate.fits(target)]
    if not fitting:
        LOG.warning("nothing that was trained fits %s: more --trials, or more --trained", target)
        return None
    best = winner(trained, target)
    itself = next((t for t in trained if t.candidate.name == own.name), None)
    passes = min(p for t in fitting for p in t.accuracy)
    points = [Point(t.candidate.work, 100 * t.accuracy[passes], t.candidate.name) for t in fitting if passes in t.accuracy]
    title = f"validation accuracy after {passes:g} passes, %"
    cost = "multiplications, of the front-end too" if best.candidate.front_end_work else "MAC"
    drawn = picture(points, cost=f"{cost}, of what fits {target}", gain=title, marked=(own.name, best.candidate.name))
    runs.atomic_write(folder / f"{target}.svg", drawn.encode())
    student = _table(job, best.candidate, own)
    if cutter is not None:
        student["initial"] = f"{target}.safetensors"
        cutter.write(best.candidate, folder / student["initial"])
    runs.atomic_write(folder / f"{target}.toml", _toml(student, best, len(job.data.validation)).encode())
    return Found(target, itself, best, student, tuple(p.name for p in front(points)))


def _table(job: Job, best: Candidate, own: Candidate) -> dict[str, Any]:
    student = job.loaded.recipe.student
    kept = {"softmax": True} if student.softmax else {}
    kept |= {key: value for key in ("bits", "activations") if (value := getattr(student, key))}
    kept |= {"frontend": dict(best.front_end)} if best.front_end else {}
    if best.name == own.name:
        return {"family": student.family, "options": student.options, "space": student.space, **kept}
    return {"family": best.family, "options": dict(best.options), **kept}


def _toml(student: Mapping[str, Any], best: Trained, n: int) -> str:
    passes, accuracy = best.last
    c = best.candidate
    measured = f"{accuracy:.2%} of {n} validation samples after {passes:g} passes in float, one seed"
    features = f"; {c.front_end_work:,} multiplications for the features" if c.front_end_work else ""
    said = f"# Found by a search: {measured}; {c.macs:,} MAC, {c.parameters:,} parameters{features}"
    return "\n".join([said, *table_lines("student", {key: _written(value) for key, value in student.items()}), ""])


def _written(value: Any) -> Any:
    """Without options that say nothing: TOML has no null, and none stands for what is left out."""
    return {key: one for key, one in value.items() if one is not None} if isinstance(value, Mapping) else value


def _spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Of ranks, ties averaged; None for fewer than four pairs, or where one side is all alike."""
    found = [p for p in pairs if np.isfinite(p[0])]
    if len(found) < 4:
        return None
    scores, accuracies = (_ranks(np.array(side)) for side in zip(*found, strict=True))
    if np.ptp(scores) == 0 or np.ptp(accuracies) == 0:
        return None
    return float(np.corrcoef(scores, accuracies)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
