"""Short float trainings by which students are compared in a search."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from edgekd import lazy, runs
from edgekd.data.front_end import FrontEnds
from edgekd.errors import InputError
from edgekd.jobs import Job
from edgekd.plan.search import Candidate
from edgekd.recipe.schema import Preset
from edgekd.students.family import open_family

Progress = Callable[[str, int, int], None]


class Trainer:
    """Short float trainings of one recipe: same samples, losses, seed and schedule for all; each result is kept in ``folder``.

    Students of other front-ends see other features of the samples, and learn from the same answers of the teachers.
    """

    def __init__(self, job: Job, fronts: FrontEnds, folder: Path, progress: Progress) -> None:
        self.job, self.fronts, self.progress = job, fronts, progress
        self.lesson = lazy.load("edgekd.train.lesson:open_lesson")(job.loaded, job.data, runs.cache_folder(), progress, self._short(1.0))
        # A recipe names its teachers' files: what they hold may have changed.
        self.folder = folder / f"taught-{self.lesson.teacher_sha256[:12]}"

    def train(self, candidate: Candidate, passes: float, wait: bool) -> float | None:
        """Validation accuracy; found where it was trained before, and going on where that was interrupted. See ``Train``."""
        file = self.folder / f"{candidate.name}-{passes!r}.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        if (found := stored(file)) is not None:
            return found
        with _alone(self.folder, f".{file.stem}.lock", wait=wait) as alone:
            if alone and (found := stored(file)) is None:
                found = self._fit(candidate, passes, self.folder / file.stem)
                runs.atomic_write(file, json.dumps({"accuracy": found}).encode())
        return found

    def _fit(self, candidate: Candidate, passes: float, state: Path) -> float:
        family = open_family(candidate.family)
        spec = family.restore(candidate.spec)
        lazy.load("torch:manual_seed")(self.job.request.seed)
        state.mkdir(parents=True, exist_ok=True)
        training = self.training(passes, family.resolution(spec), candidate.front_end)
        history = self.fit(family.build(spec), passes, training, state / "float.state", "float")
        shutil.rmtree(state)
        return float(history[-1]["validation"])

    def training(self, passes: float, size: tuple[int, int], front_end: Mapping[str, Any]) -> Any:
        """One of ``passes`` over the data, of students that are fed ``front_end`` in ``size``."""
        lesson = lazy.load("edgekd.train.lesson:fed")(self.lesson, self.fronts.data(front_end))
        return lazy.load("edgekd.train.student:Training")(lesson, self._short(passes), size, self.job.request.seed)

    def _short(self, passes: float) -> Preset:
        return self.job.preset.model_copy(update={"float_epochs": passes, "peers": 1, "patience": 0})

    def fit(self, model: Any, passes: float, training: Any, state: Path, name: str) -> Any:
        """Train ``model`` in place, going on from ``state`` where there is one; returns the history."""
        fit, phase, desk = (lazy.load(f"edgekd.train.loop:{name}") for name in ("fit", "Phase", "Desk"))
        p = training.preset
        asked = phase(name, passes, p.learning_rate, p.weight_decay, seed=self.job.request.seed, **training.keeps)
        return fit(model, training.course, asked, desk(state, self.progress, lambda *_: None))


@contextmanager
def _alone(folder: Path, name: str, *, wait: bool) -> Generator[bool]:
    """Whether no other process does this; where one does, ``wait`` until it is done."""
    with ExitStack() as stack:
        try:
            stack.enter_context(runs.lock(folder, name, wait=(lambda _: None) if wait else None))
        except InputError:
            yield False
            return
        yield True


def stored(file: Path) -> float | None:
    """What a training gave before, if it is there and whole."""
    try:
        found = float(json.loads(file.read_text())["accuracy"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return found if 0 <= found <= 1 else None
