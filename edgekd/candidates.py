"""What a search draws, counted and scored for every target: no student is trained here."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgekd import lazy
from edgekd.data.front_end import FrontEnds
from edgekd.data.logmel import Work, work_of
from edgekd.errors import InputError
from edgekd.jobs import Job, file_measurer, plan_job, sketch
from edgekd.plan.choose import largest_use
from edgekd.plan.estimate import Cost, cost, estimator
from edgekd.plan.search import Candidate, Space
from edgekd.plan.space import draw
from edgekd.recipe.schema import FRONTEND
from edgekd.students.family import Family, Shape, open_family

#: Students of each family that are encoded to learn what a format adds to their weights.
DRAWN = 8


class Counter:
    """Counts and scores candidates for all targets; what is alike for several targets is done once."""

    def __init__(self, jobs: Sequence[Job], spaces: Sequence[Space]) -> None:
        first, self.jobs = jobs[0], jobs
        self.fronts = FrontEnds(first.loaded.recipe, first.loaded.folder, first.data.for_teachers)
        self.classes = sum(first.data.sizes.values())
        some = [pair for space in spaces for pair in _some(space, first.data.shape, self.classes)]
        self.bytes_of = [
            estimator([_cost(job, *pair) for pair in some], lambda pair, j=job: sketch(j, *pair), file_measurer(job)) for job in jobs
        ]

    def count(self, family: str, options: Mapping[str, Any], front_end: Mapping[str, Any]) -> Candidate:
        """A student that is fed ``front_end``. Raises InputError for options or features that make none."""
        opened, data = open_family(family), self.fronts.glimpse(front_end, f"recipe, search.{FRONTEND}")
        spec = next(iter(opened.candidates(options, {}, data.shape, self.classes)))
        return self._counted(opened, spec, dict(options), front_end)

    def own(self, job: Job) -> Candidate:
        """What the plan takes for ``job`` without a search. Raises DoesNotFit if nothing fits."""
        plan = plan_job(job)
        made = self._counted(job.family, job.family.restore(plan.spec), {}, job.loaded.recipe.student.frontend or {})
        return replace(made, use={**made.use, job.profile.name: min(1.0, made.use[job.profile.name])})

    def _counted(self, family: Family, spec: Any, options: dict[str, Any], front_end: Mapping[str, Any]) -> Candidate:
        data = self.fronts.glimpse(front_end)
        work = work_of(data.front_end, data.shape[0])
        jobs = [replace(job, data=data) for job in self.jobs]
        costs = [_cost(job, family, spec) for job in jobs]
        sizes = [round(guess(c)) for guess, c in zip(self.bytes_of, costs, strict=True)]
        use = {
            job.profile.name: max(largest_use(c, size, job.budgets, job.profile), _frames_use(job, work))
            for job, c, size in zip(jobs, costs, sizes, strict=True)
        }
        score = self._score(family, spec, data.train.x) if min(use.values()) <= 1 else -math.inf
        counted = (costs[0].macs, costs[0].parameters, sizes[0], costs[0].ram_bytes)
        fed = (self.fronts.differing(front_end), work.multiplications if work else 0)
        return Candidate(family.name, options, family.describe(spec), *counted, use, score, *fed)

    def _score(self, family: Family, spec: Any, samples: np.ndarray) -> float:
        lazy.load("torch:manual_seed")(0)
        size = family.resolution(spec)
        pixels = lazy.load("edgekd.data.resize:resize")(samples, *size) if samples.shape[1:3] != size else samples
        return lazy.load("edgekd.plan.score:naswot")(family.build(spec), lazy.load("edgekd.train.distill:student_input")(pixels))


def _cost(job: Job, family: Family, spec: Any) -> Cost:
    """``spec`` of the cost is both, for other families have other specs."""
    return cost((family, spec), sketch(job, family, spec), job.profile)


def _some(space: Space, shape: Shape, classes: int) -> list[tuple[Family, Any]]:
    """A few students of one family. Raises InputError where the space makes none."""
    rng, family = random.Random(0), open_family(space.family)
    made: list[tuple[Family, Any]] = []
    wrong: InputError | None = None
    for _ in range(DRAWN * 20):
        try:
            drawn = draw(space.options, space.space, lambda _, values: rng.choice(values))
            made.append((family, next(iter(family.candidates(drawn, {}, shape, classes)))))
        except InputError as error:
            wrong = error
            continue
        if len(made) == DRAWN:
            break
    if not made and wrong is not None:
        raise wrong
    return made


def _frames_use(job: Job, work: Work | None) -> float:
    """What share of the RAM's budget the features take while they are computed: a frame, beside the input that they are written to."""
    limit = next((budget.limit for budget in job.budgets if budget.name == "peak_ram_bytes"), math.inf)
    return (work.ram_bytes + math.prod(job.data.shape)) / limit if work else 0.0
