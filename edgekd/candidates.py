"""What a search draws, counted and scored for every target: no student is trained here."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgekd import lazy
from edgekd.errors import InputError
from edgekd.jobs import Job, file_measurer, plan_job, sketch
from edgekd.plan.choose import largest_use
from edgekd.plan.estimate import Cost, cost, estimator
from edgekd.plan.search import Candidate, Space
from edgekd.plan.space import draw
from edgekd.students.family import Family, Shape, open_family

#: Images that the training-free score looks at; students of each family that are encoded to learn what a format adds to their weights.
SCORED, DRAWN = 32, 8


class Counter:
    """Counts and scores candidates for all targets; what is alike for several targets is done once."""

    def __init__(self, jobs: Sequence[Job], spaces: Sequence[Space]) -> None:
        self.jobs, self.shape = jobs, jobs[0].data.shape
        self.classes = sum(jobs[0].data.sizes.values())
        self.samples = _samples(jobs[0])
        some = [pair for space in spaces for pair in _some(space, self.shape, self.classes)]
        self.bytes_of = [
            estimator([_cost(job, *pair) for pair in some], lambda pair, j=job: sketch(j, *pair), file_measurer(job)) for job in jobs
        ]

    def count(self, family: str, options: Mapping[str, Any]) -> Candidate:
        """Raises InputError for options that make no student."""
        opened = open_family(family)
        spec = next(iter(opened.candidates(options, {}, self.shape, self.classes)))
        return self._counted(opened, spec, dict(options))

    def own(self, job: Job) -> Candidate:
        """What the plan takes for ``job`` without a search. Raises DoesNotFit if nothing fits."""
        plan = plan_job(job)
        made = self._counted(job.family, job.family.restore(plan.spec), {})
        return replace(made, use={**made.use, job.profile.name: min(1.0, made.use[job.profile.name])})

    def _counted(self, family: Family, spec: Any, options: dict[str, Any]) -> Candidate:
        costs = [_cost(job, family, spec) for job in self.jobs]
        sizes = [round(guess(c)) for guess, c in zip(self.bytes_of, costs, strict=True)]
        use = {
            job.profile.name: largest_use(c, size, job.budgets, job.profile) for job, c, size in zip(self.jobs, costs, sizes, strict=True)
        }
        score = self._score(family, spec) if min(use.values()) <= 1 else -math.inf
        c = costs[0]
        return Candidate(family.name, options, family.describe(spec), c.macs, c.parameters, sizes[0], c.ram_bytes, use, score)

    def _score(self, family: Family, spec: Any) -> float:
        lazy.load("torch:manual_seed")(0)
        size = family.resolution(spec)
        pixels = lazy.load("edgekd.data.resize:resize")(self.samples, *size) if self.samples.shape[1:3] != size else self.samples
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


def _samples(job: Job) -> np.ndarray:
    """Training images, the same for all, spread over the split."""
    x = job.data.train.x
    return x[np.linspace(0, len(x) - 1, min(SCORED, len(x))).astype(int)]
