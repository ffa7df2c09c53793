"""The training loop of a student: one phase, float or quantized, resumable after every pass over the data."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgekd import lazy, team
from edgekd.data.dataset import Split
from edgekd.errors import OutOfMemory, lacks_memory
from edgekd.train.average import Average
from edgekd.train.board import Board
from edgekd.train.criterion import Criterion, Lessons
from edgekd.train.distill import Batch, Feed, Term
from edgekd.train.judge import evaluate_each
from edgekd.train.peers import Peers, PeersCriterion
from edgekd.train.rates import decayed_groups, rate, weary
from edgekd.train.room import in_memory
from edgekd.train.state import load_state, restored, save_state
from edgekd.train.supernet import SandwichCriterion, SuperNet
from edgekd.train.taps import Live, Tutors
from edgekd.train.watch import Sums, check, check_weights, odd_weights, tell

#: Steps between two reports, and seconds between two values in the middle of a pass on a board, which may be far away.
EVERY, BOARD_EVERY_S = 20, 10.0
BATCH = "batch in the recipe's preset"


@dataclass(frozen=True)
class Phase:
    """AdamW (Loshchilov and Hutter 2019) under a linear warm-up over the share ``warm_up`` and one cosine to zero.

    ``epochs`` may be a fraction: half a pass is half a pass. ``select`` keeps the weights of the pass that was best on validation, and
    ``patience``, where it is not 0, ends the phase after so many passes without a better one. ``ema`` is the decay of the moving average
    that is judged and kept instead of the weights themselves; 0: none.
    """

    name: str
    epochs: float
    learning_rate: float
    weight_decay: float
    warm_up: float = 0.1
    bf16: bool = False
    select: bool = False
    seed: int = 0
    ema: float = 0.0
    patience: int = 0

    @property
    def selects(self) -> bool:
        """Whether the best pass is kept, and not the last."""
        return self.select or self.patience > 0


Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Course:
    """What is learned: from which samples, by which losses, judged on which split; ``live`` are teachers that run along."""

    feed: Feed
    terms: Sequence[Term]
    validation: Split
    live: Sequence[Live] = ()


@dataclass(frozen=True)
class Desk:
    """Where a training keeps what it needs to be resumed, and whom it tells how it goes."""

    state: Path
    progress: Progress
    board: Board = lambda phase, step, values: None


def fit(model: nn.Module, course: Course, phase: Phase, desk: Desk) -> tuple[dict[str, Any], ...]:
    """Train ``model`` in place; returns its history, one dictionary a pass.

    Raises OutOfMemory, naming a batch that fits; EdgekdError if a loss or a weight stops being finite, naming the step (the last good state
    is kept); InputError if ``desk.state`` belongs to another model, or a loss does not take what it is fed.
    """
    torch.manual_seed(phase.seed)
    here = team.here()
    here.equalize(model)
    run = Run(model, course, phase, desk)
    steps = max(1, round(phase.epochs * course.feed.steps))
    try:
        with here.batch_norms(model):
            history, best = _in_memory(run, course.feed.batch, lambda: _passes(run, steps))
    finally:
        run.close()
    if len(history) * course.feed.steps < steps:
        desk.progress(phase.name, steps, steps)  # patience has come to its end
    if phase.selects and best is not None:
        model.load_state_dict(best)
    elif run.average is not None:
        model.load_state_dict(run.average.model.state_dict())
    here.equalize(model)  # what is made of it next, a pruned network for one, must be the same everywhere
    return tuple(history)


def _in_memory(run: Run, batch: int, work: Callable[[], Any]) -> Any:
    """See ``in_memory``; of several processes none tries alone what would fit."""
    what, size = f"phase {run.phase.name}", team.here().size
    if size == 1:
        return in_memory(work, what, batch, run.tried, BATCH)
    try:
        return work()
    except Exception as error:
        if not (said := lacks_memory(error)):
            raise
        mend = f"lower {BATCH}, or more processes"
        raise OutOfMemory(f"{what}: out of memory with batches of {batch} in {size} processes: {said}\n  to mend:  {mend}") from error


def _passes(run: Run, steps: int) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor] | None]:
    """All that are left of ``steps``; the history, and the weights of the best where the phase selects."""
    phase, feed, desk = run.phase, run.course.feed, run.desk
    history, best = run.resume()
    while (done := len(history) * feed.steps) < steps and not weary(history, phase.patience):
        entry = run.one_pass(done, steps)
        if phase.selects and entry["validation"] >= max((h["validation"] for h in history), default=0):
            best = copy.deepcopy(run.judged.state_dict())
        history.append(entry)
        run.save(history, best)
        desk.board(phase.name, min(done + feed.steps, steps), entry)
    return history, best


class Run:
    """One training in progress: everything that changes while it goes on."""

    def __init__(self, model: nn.Module, course: Course, phase: Phase, desk: Desk) -> None:
        self.model, self.course, self.phase, self.desk, self._odd = model, course, phase, desk, odd_weights(model)
        self.generator, self._logged = torch.Generator().manual_seed(phase.seed), time.monotonic()
        if phase.bf16:
            model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.average = Average(model, phase.ema) if phase.ema else None
        terms = [term for term in course.terms if term.active(phase.name)]
        self.tutors = Tutors(terms, course.live)
        self.criterion = made_criterion(model, terms, course.feed, self.tutors)
        groups = decayed_groups(model, phase.weight_decay)
        for group, more in zip(groups, decayed_groups(self.criterion, phase.weight_decay), strict=True):
            group["params"] += more["params"]
        self.optimizer = torch.optim.AdamW(groups, lr=phase.learning_rate, foreach=True)

    @property
    def judged(self) -> nn.Module:
        """What is validated and kept."""
        return self.model if self.average is None else self.average.model

    def one_pass(self, done: int, steps: int) -> dict[str, Any]:
        """One pass, or what is left of the phase; returns its entry in the history."""
        start, feed, phase, here = time.monotonic(), self.course.feed, self.phase, team.here()
        here.equalize(self.model)  # other processors round otherwise, and would drift apart
        here.equalize(self.criterion)
        self.model.train()
        self.criterion.train()
        sums = Sums(self.criterion.names, feed.columns)
        for batch in feed.batches(self.generator, here.part):
            if done + sums.count >= steps:
                break
            self._step(batch, sums, (done + sums.count) / steps)
            if self.average is not None:
                self.average.update(self.model, done + sums.count - 1)
            if sums.count % EVERY == 0 or done + sums.count == steps:
                self.desk.progress(phase.name, done + sums.count, steps)
                check(sums, phase.name, done, steps, self._kept)
                self._report(done + sums.count, sums.told(time.monotonic() - start))
        check(sums, phase.name, done, steps, self._kept)
        check_weights(self.model, self._odd, phase.name, f"{done + sums.count} of {steps}", self._kept)
        found = sums.told(time.monotonic() - start)
        scores = here.told(lambda: evaluate_each(self.judged, self.course.validation, feed.heads))
        how = {"threads": torch.get_num_threads(), "bf16": phase.bf16} | ({"processes": here.size} if here.size > 1 else {})
        seconds = round(time.monotonic() - start, 2)
        entry = {"phase": phase.name, **found, **scores, "seconds": seconds, **how}
        tell(phase.name, entry)
        return entry

    @property
    def _kept(self) -> str:
        """What a training that stops leaves behind, for its message."""
        state = self.desk.state
        return f"\n  kept:     the state after the last good pass, {state}" if state.is_file() else ""

    def _report(self, step: int, values: dict[str, Any]) -> None:
        """In the middle of a pass."""
        tell(self.phase.name, values)
        if time.monotonic() - self._logged >= BOARD_EVERY_S:
            self.desk.board(self.phase.name, step, {"within": values})
            self._logged = time.monotonic()

    def _step(self, batch: Batch, sums: Sums, share: float) -> None:
        """One step of the optimizer, after the ``share`` of the phase."""
        phase = self.phase
        for group in self.optimizer.param_groups:
            group["lr"] = phase.learning_rate * rate(share, phase.warm_up)
        taught = self.tutors(batch)
        with torch.autocast("cpu", torch.bfloat16, enabled=phase.bf16):
            outputs = self.model(batch.x.contiguous(memory_format=torch.channels_last) if phase.bf16 else batch.x)
        outputs = outputs.float() if batch.part is None else team.here().whole(outputs.float(), -2)
        loss, each = self.criterion(outputs, batch, taught)
        self.optimizer.zero_grad(set_to_none=True)
        lazy.attempt("a loss", loss.backward, where="recipe, losses")  # one that keeps a graph of an earlier step, for example
        if batch.part is not None:
            team.here().add_gradients(self.model.parameters())
        self.optimizer.step()
        sums.add(loss, each, outputs, batch)

    def tried(self, size: int) -> None:
        """One step on ``size`` samples; the model is thrown away then."""
        self.optimizer.zero_grad(set_to_none=True)
        self.model.train()
        some = self.course.feed.taken(np.arange(size), np.zeros(size, np.int64))
        self._step(some, Sums(self.criterion.names, self.course.feed.columns), 0.0)

    def save(self, history: list[dict[str, Any]], best: dict[str, torch.Tensor] | None) -> None:
        if not team.here().leads:
            return
        saved = {"model": self.model.state_dict(), "best": best, "optimizer": self.optimizer.state_dict()}
        if self.average is not None:
            saved["average"] = self.average.model.state_dict()
        if criterion := self.criterion.state_dict():
            saved["criterion"] = criterion
        # Dropout and the like draw from torch's own generator.
        more = {"generator": self.generator.get_state(), "torch": torch.get_rng_state(), "history": history}
        save_state(self.desk.state, {**saved, **more})

    def resume(self) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor] | None]:
        saved = team.here().first(lambda: load_state(self.desk.state))
        if saved is None:
            return [], None
        with restored(self.desk.state):
            self.model.load_state_dict(saved["model"])
            if self.average is not None:
                self.average.model.load_state_dict(saved["average"])
            self.criterion.load_state_dict(saved.get("criterion", {}))
            self.optimizer.load_state_dict(saved["optimizer"])
            self.generator.set_state(saved["generator"])
            torch.set_rng_state(saved["torch"])
            return saved["history"], saved["best"]

    def close(self) -> None:
        self.criterion.close()
        self.tutors.close()


def first_step(model: nn.Module, course: Course, phase: Phase, example: Batch) -> None:
    """What one step of ``phase`` does to ``model``, which is thrown away. Raises what ``fit`` would, but before anything else is done.

    Of several processes one does that by itself, on ``example``, which is as large as its part of a batch.
    """
    run = Run(model, course, phase, Desk(Path(), lambda *_: None))
    sums = Sums(run.criterion.names, course.feed.columns)
    try:
        model.train()
        _in_memory(run, len(example.x) * team.here().size, lambda: run._step(example, sums, 0.0))
        check(sums, phase.name, 0, 1, "")
    finally:
        run.close()


def made_criterion(model: nn.Module, terms: Sequence[Term], feed: Feed, tutors: Tutors) -> Criterion | PeersCriterion | SandwichCriterion:
    """The criterion of ``terms`` over ``model``, prepared with an example of what it will be fed.

    Raises InputError for a tap that is not there, and for a loss that does not take what it is fed.
    """
    lessons = Lessons(feed.columns, len(feed.split))
    several = isinstance(model, Peers | SuperNet)
    criterion = model.criterion(terms, lessons) if several else Criterion(model, terms, lessons)
    if criterion.needs_example:
        batch = feed.example()
        model.eval()
        with torch.no_grad():
            criterion.prepare(model(batch.x).float(), batch, tutors(batch))
    return criterion
