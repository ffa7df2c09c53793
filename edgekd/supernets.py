"""The weight-sharing way of `edgekd plan --search`: one supernet is trained, and every candidate is cut out of it instead of trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgekd import lazy, runs
from edgekd.candidates import Counter
from edgekd.errors import EdgekdError, InputError
from edgekd.jobs import Job
from edgekd.plan.search import Candidate, Count, Space
from edgekd.short_trainings import Trainer, stored
from edgekd.students.family import Family, open_family

#: Batches over which a student that was cut out finds the statistics of its batch norms.
BATCHES = 20


def shared_family(job: Job, spaces: Sequence[Space]) -> Family:
    """The family whose students are cut out. Raises InputError where there are several, or one that shares no weights."""
    if len(spaces) != 1:
        raise InputError(f"{len(spaces)} families", where="--supernet", expected="one: students of several share no weights")
    family = open_family(spaces[0].family)
    if family.shared is None or job.family.name != family.name:
        able = "inverted_residual or ds_cnn, the recipe's own student too"
        raise InputError(f"family {family.name} shares no weights with {job.family.name}", where="--supernet", expected=able)
    return family


def kindred(space: Space, family: Family, own: Any) -> Space:
    """``space`` with what decides whether weights can be shared fixed as in the student ``own``."""
    assert family.shared is not None
    fixed = family.shared.fixed(own)
    kept = {name: values for name, values in space.space.items() if name.removesuffix("[]") not in fixed}
    return replace(space, options={**space.options, **fixed}, space=kept)


def counted_kin(counter: Counter, family: Family, own: Any) -> Count:
    """``counter.count``, which refuses students of other kin."""
    shared = family.shared
    assert shared is not None
    kin = shared.kin(own)

    def count(name: str, options: Any, front_end: Any) -> Candidate:
        found = counter.count(name, options, front_end)
        if shared.kin(family.restore(found.spec)) != kin:
            raise InputError("of other kin", where="search", expected="students that can share weights")
        return found

    return count


class Cutter:
    """A supernet of ``specs``, and what is cut out of it once it is trained."""

    def __init__(self, family: Family, specs: Sequence[Any], trainer: Trainer) -> None:
        self.family, self.trainer = family, trainer
        # A supernet of other students is another one.
        self.folder = trainer.folder / f"supernet-{runs.digest({'specs': sorted(map(repr, set(specs)))})[:12]}"
        lazy.load("torch:manual_seed")(trainer.job.request.seed)
        self.net = lazy.load("edgekd.train.supernet:SuperNet")(family, specs)
        self.passes = 0.0

    def prepare(self, passes: float) -> None:
        """Train the supernet, go on with that, or find it trained."""
        file, self.passes = self.folder / "supernet.safetensors", passes
        self.folder.mkdir(parents=True, exist_ok=True)
        with runs.lock(self.folder, wait=lambda _: None):
            if file.is_file():
                lazy.load("edgekd.students.initial:begin")(self.net, file, mend="delete the file")
                return
            self.trainer.fit(self.net, passes, self._training(self.net.largest), self.folder / "supernet.state", "supernet")
            weights = {name: value.contiguous() for name, value in self.net.state_dict().items()}
            runs.atomic_write(file, lazy.load("safetensors.torch:save")(weights))
            (self.folder / "supernet.state").unlink(missing_ok=True)

    def train(self, candidate: Candidate, passes: float, wait: bool) -> float | None:
        """Validation accuracy of the student as it is cut out; ``passes`` are those of the supernet. See ``Train``."""
        del wait
        file = self.folder / f"{candidate.name}.json"
        if (known := stored(file)) is not None:
            return known
        training = self._training(self.net.largest)
        found = lazy.load("edgekd.train.judge:evaluate")(self.cut(candidate), training.validation, training.heads)
        runs.atomic_write(file, json.dumps({"accuracy": found}).encode())
        return found

    def _training(self, spec: Any) -> Any:
        fed = self.trainer.job.loaded.recipe.student.frontend or {}
        return self.trainer.training(self.passes, self.family.resolution(spec), fed)

    def write(self, candidate: Candidate, file: Path) -> None:
        """The weights of the student that is cut out, for its training to begin from."""
        weights = {name: value.contiguous() for name, value in self.cut(candidate).state_dict().items()}
        runs.atomic_write(file, lazy.load("safetensors.torch:save")(weights))

    def cut(self, candidate: Candidate) -> Any:
        """The student by itself, an nn.Module. Raises EdgekdError if it is of other kin than the supernet."""
        spec = self.family.restore(candidate.spec)
        assert self.family.shared is not None
        if self.family.shared.kin(spec) != self.family.shared.kin(self.net.largest):
            raise EdgekdError("it is of other kin than the supernet, and is not compared")
        feed = self._training(spec).feed
        generator = lazy.load("torch:Generator")().manual_seed(self.trainer.job.request.seed)
        return self.net.cut(spec, (batch.x for batch, _ in zip(feed.batches(generator), range(BATCHES), strict=False)))
