"""From an untrained module to frozen integers: float warm-up, then quantization-aware training, both distilled."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import nn

from edgekd import host, runs, team
from edgekd.compress.load import with_weights
from edgekd.compress.sparsity import hold_zeros
from edgekd.data.dataset import Split, Task
from edgekd.data.resize import resize
from edgekd.errors import InputError
from edgekd.quant.capture import capture_paths
from edgekd.quant.compare import Share
from edgekd.quant.freeze import freeze
from edgekd.quant.graph import QuantGraph
from edgekd.quant.passes.heads import split_heads
from edgekd.quant.paths import Held
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme
from edgekd.recipe.schema import Preset
from edgekd.records import Checkpoint, Figure
from edgekd.teachers.teacher import amx
from edgekd.train.board import Where, boards, replay
from edgekd.train.distill import Feed, student_input
from edgekd.train.judge import best_peer
from edgekd.train.kept import History, once
from edgekd.train.lesson import Lesson, Progress
from edgekd.train.loop import Course, Desk, Phase, first_step, fit, made_criterion
from edgekd.train.peers import Peers
from edgekd.train.room import LEAST
from edgekd.train.taps import Tutors, check_path

LOG = logging.getLogger(__name__)
CALIBRATION_SAMPLES = 512
#: Counts changes of what a training computes: one that is stored in the cache is used only by code that would compute the same.
TRAINING_VERSION = 2
FLOAT, QAT = "float.safetensors", "qat.safetensors"


@dataclass(frozen=True)
class Training:
    """How one student is trained: the recipe's preset, the resolution that the student is fed, and the seed.

    ``another`` builds an untrained student of the same spec from a seed, which ``preset.peers`` above 1 asks for. ``quantized`` says that a
    quantized phase follows, whose losses are then looked at before hours are spent. ``mlflow`` is where runs are logged, "" for nowhere.
    """

    lesson: Lesson
    preset: Preset
    size: tuple[int, int]
    seed: int
    another: Callable[[int], nn.Module] | None = None
    quantized: bool = False
    mlflow: str = ""

    @property
    def heads(self) -> tuple[Task, ...]:
        return self.lesson.data.heads

    @property
    def feed(self) -> Feed:
        lesson = self.lesson
        other = lesson.data.teachers_see
        samples = (lesson.chosen, lesson.weights, other.train.x if lesson.live and other is not None else None)
        return Feed(lesson.data.train, lesson.views, lesson.targets, self.preset.batch, self.size, self.heads, *samples)

    @property
    def validation(self) -> Split:
        held = self.lesson.data.validation
        return Split(resize(held.x, *self.size), held.y)

    @property
    def course(self) -> Course:
        return Course(self.feed, self.lesson.terms, self.validation, self.lesson.live)

    @property
    def bf16(self) -> bool:
        return amx() if self.preset.bf16 == "auto" else self.preset.bf16 == "on"

    @property
    def keeps(self) -> dict[str, Any]:
        """What both phases do alike about the weights that are kept."""
        return {"bf16": self.bf16, "ema": self.preset.ema, "patience": self.preset.patience}


def warm_up(model: nn.Module, training: Training, shared: Path, run: Path, progress: Progress) -> Checkpoint:
    """Train the float student in the folder ``shared``, or find it there trained already, and copy it into ``run``.

    Raises InputError for losses that do not fit the student, those of the quantized phase included.
    """
    p = training.preset
    phase = Phase("float", p.float_epochs, p.learning_rate, p.weight_decay, seed=training.seed, **training.keeps)

    def train(weights: Path) -> History:
        rehearse(model, training)
        if p.peers == 1:
            return fit_into(model, training, phase, weights, Told(run, progress))
        return _fit_peers(model, training, phase, weights, Told(run, progress))

    history = once(FLOAT, shared, run, train)
    _replay(training, run, phase.name, history)
    return checkpoint_of(run, FLOAT, history, training)


def quantize_aware(model: nn.Module, training: Training, scheme: Scheme, shared: Path, run: Path, progress: Progress) -> Checkpoint:
    """Fold, insert fake-quantizers, calibrate, and go on training under them; or find that done in ``shared``. Copied into ``run``."""

    def train(weights: Path) -> History:
        module = prepared(model, training, scheme, run)
        if (compress := training.lesson.recipe.compress) is not None and compress.method == "sparsity":
            hold_zeros(module.values[name] for name in module.weights)
        module.calibrate([student_input(calibration_samples(training))])
        return fit_into(module, training, second_phase(training, "qat"), weights, Told(run, progress))

    history = once(QAT, shared, run, train)
    _replay(training, run, "qat", history)
    return checkpoint_of(run, QAT, history, training)


def second_phase(training: Training, name: str) -> Phase:
    """The phase after the warm-up: quantized in a build, float in a comparison with it."""
    p = training.preset
    seed = training.seed + 1
    return Phase(name, p.qat_epochs, p.qat_learning_rate, p.weight_decay, warm_up=0.05, select=True, seed=seed, **training.keeps)


def rehearse(model: nn.Module, training: Training) -> None:
    """Feed the losses of both phases once, and look for what the second taps in the captured graph, before anything is trained.

    Raises InputError as these phases would, the second after hours.
    """
    for phase in ("float", "qat"):
        if phase == "qat" and not training.quantized:
            return
        terms = [term for term in training.lesson.terms if term.active(phase)]
        if not any(t.is_module or t.student is not None or t.teacher is not None for t in terms):
            continue
        tutors = Tutors(terms, training.lesson.live)
        made_criterion(model, terms, training.feed, tutors).close()
        tutors.close()
    if not any(term.student_paths for term in terms):
        return
    _, paths = _captured(model, training)
    for term in terms:
        for path in term.student_paths:
            check_path(path, paths, whose="quantized student", where=term.where)


def try_out(model: nn.Module, training: Training) -> None:
    """``rehearse``, and one step of each phase's losses on a whole batch, or a process's part of it. ``model`` is thrown away.

    Raises InputError, or EdgekdError for a loss that is not finite.
    """
    rehearse(model, training)
    train, feed, p = training.lesson.data.train, training.feed, training.preset
    size = max(LEAST, min(feed.batch, len(train)) // team.here().size)  # no more than each process has to have in memory
    # A loss that looks at labels must stand one that is not known, where there is one.
    unknown = [np.flatnonzero(train.classes(task) < 0)[:1] for task in range(train.tasks)]
    chosen = np.concatenate([*unknown, np.linspace(0, len(train) - 1, size).astype(np.int64)])[:size]
    batch = feed.taken(chosen, np.zeros(size, np.int64))
    begun = {name: value.clone() for name, value in model.state_dict().items()}
    for name, rate in (("float", p.learning_rate), *((("qat", p.qat_learning_rate),) if training.quantized else ())):
        model.load_state_dict(begun)  # a step that was far too large is the fault of its own phase
        first_step(model, training.course, Phase(name, 1, rate, p.weight_decay, bf16=training.bf16), batch)


def calibration_samples(training: Training) -> np.ndarray:
    """Training images uint8 [n, H, W, C] that ranges are first read off, spread over the split: it may lie class by class."""
    x = training.lesson.data.train.x
    return resize(x[np.linspace(0, len(x) - 1, min(CALIBRATION_SAMPLES, len(x))).astype(int)], *training.size)


def frozen(model: nn.Module, training: Training, scheme: Scheme, run: Path) -> QuantGraph:
    """The trained student of ``run`` as the graph that is exported."""
    module = prepared(model, training, scheme, run)
    if scheme.is_integer:
        module.load_state_dict(load_file(run / QAT))
    return freeze(module)


def oracle(model: nn.Module, run: Path, pixels: np.ndarray) -> np.ndarray:
    """What the float student of ``run`` answers for 8-bit ``pixels`` [N, H, W, C]: logits float32 [N, classes]."""
    return outputs(with_weights(model, run / FLOAT).eval(), pixels)


@torch.inference_mode()
def outputs(model: nn.Module, pixels: np.ndarray, *, batch: int = 500) -> np.ndarray:
    """Logits float32 [N, classes] of a student for 8-bit ``pixels`` [N, H, W, C]."""
    return np.concatenate([model(student_input(pixels[at : at + batch])).numpy() for at in range(0, len(pixels), batch)])


def prepared(model: nn.Module, training: Training, scheme: Scheme, run: Path) -> QatModule:
    """The float student of ``run`` as what its quantized training begins with, not calibrated."""
    graph, paths = _captured(with_weights(model, run / FLOAT), training)
    return QatModule(graph, scheme, paths)


def _captured(model: nn.Module, training: Training) -> tuple[QuantGraph, dict[str, Held]]:
    """The student's graph, an output a task, and where in it lies what its modules answer."""
    graph, paths = capture_paths(model, (training.lesson.data.shape[2], *training.size))
    graph = split_heads(graph, training.lesson.data.sizes)
    return graph, {path: held for path, held in paths.items() if graph.producer(held.tensor) is not None}


@dataclass(frozen=True)
class Told:
    """Who hears of a training: the run folder that keeps what is logged, and whoever shows progress."""

    run: Path
    progress: Progress


def fit_into(model: nn.Module, training: Training, phase: Phase, weights: Path, told: Told) -> History:
    """Train ``model`` and write what is kept of it into ``weights``; the state beside it, for going on after an interruption."""
    state, leads = weights.with_suffix(".state"), team.here().leads
    with boards(_board_of(training, told.run), phase.name) if leads else nullcontext(lambda *_: None) as board:
        history = fit(model, training.course, phase, Desk(state, told.progress, board))
    if not leads:
        return history
    try:
        training.lesson.data.check_unchanged()
    except InputError:
        state.unlink(missing_ok=True)  # nobody knows which of its passes saw what
        raise
    kept = best_peer(model, training.validation, training.heads) if isinstance(model, Peers) else model
    runs.atomic_write(weights, save({name: value.contiguous() for name, value in kept.state_dict().items()}))
    state.unlink(missing_ok=True)
    return history


def replay_all(run: Path, training: Training, history: History) -> None:
    """Log the phases of a training that was found in the cache, unless this run's own was logged."""
    for name in dict.fromkeys(entry["phase"] for entry in history):
        entries = tuple(entry for entry in history if entry["phase"] == name)
        _replay(training, run, name, entries)


def _replay(training: Training, run: Path, phase: str, history: History) -> None:
    if team.here().leads:
        replay(_board_of(training, run), phase, history, training.feed.steps)


def _board_of(training: Training, run: Path) -> Where:
    schedule = {key: value for key, value in training.preset.model_dump().items() if not isinstance(value, dict | NoneType)}
    return Where(run, training.lesson.recipe.name, training.mlflow, {"seed": training.seed, **schedule})


def _fit_peers(model: nn.Module, training: Training, phase: Phase, weights: Path, told: Told) -> History:
    """``model`` and its peers, each from a seed of its own; the one that is best on validation is kept."""
    if training.another is None:
        raise InputError("peers above 1 ask for students of several seeds", where="Training", expected="another")
    # Far from the seeds of other builds, which may be compared with this one.
    others = [training.another(training.seed + 1_000_003 * n) for n in range(1, training.preset.peers)]
    return fit_into(Peers([model, *others]), training, phase, weights, told)


def checkpoint_of(run: Path, name: str, history: History, training: Training) -> Checkpoint:
    """The record of the weights ``name`` in ``run``."""
    n, p = len(training.lesson.data.validation), training.preset
    # Quantized training keeps its best pass, warm-up its last; with patience both keep the best.
    # So do the rounds after compressing, each for itself.
    last = [h["validation"] for h in history if h["phase"] == history[-1]["phase"]]
    value = max(last) if name == QAT or p.patience or history[-1]["phase"].startswith("compress") else last[-1]
    n *= len(training.heads)
    low, high = Share(round(value * n), n).interval
    last = history[-1]  # trainings that were stored by an earlier version do not say how
    how = (f", {last['threads']} threads" if "threads" in last else "") + (", bf16" if last.get("bf16") else "")
    how += f", {last['processes']} processes" if "processes" in last else ""
    where = f"{host.host()}, {host.library('torch')}{how}, validation split after the pass that was kept"
    found = Figure(value, "share", "measured", where, n, low, high)
    return Checkpoint(name, runs.sha256_file(run / name), history, {"validation_accuracy": found})
