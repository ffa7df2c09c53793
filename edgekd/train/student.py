"""From an untrained module to frozen integers: float warm-up, then quantization-aware training, both distilled."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import nn

from edgekd import host, runs
from edgekd.data.dataset import Split
from edgekd.data.resize import resize
from edgekd.quant.capture import capture
from edgekd.quant.compare import Share
from edgekd.quant.freeze import freeze
from edgekd.quant.graph import QuantGraph
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import Scheme
from edgekd.recipe.schema import Preset
from edgekd.records import Checkpoint, Figure
from edgekd.teachers.teacher import amx
from edgekd.train.distill import Feed, student_input
from edgekd.train.lesson import Lesson, Progress
from edgekd.train.loop import Phase, fit

LOG = logging.getLogger(__name__)
History = tuple[dict[str, Any], ...]
CALIBRATION_SAMPLES = 512
#: Counts changes of what a training computes: one that is stored in the cache is used only by code that would compute the same.
TRAINING_VERSION = 1
FLOAT, QAT = "float.safetensors", "qat.safetensors"


@dataclass(frozen=True)
class Training:
    """How one student is trained: the recipe's preset, the resolution that the student is fed, and the seed."""

    lesson: Lesson
    preset: Preset
    size: tuple[int, int]
    seed: int

    @property
    def feed(self) -> Feed:
        return Feed(self.lesson.data.train, self.lesson.views, self.lesson.targets, self.preset.batch, self.size)

    @property
    def validation(self) -> Split:
        held = self.lesson.data.validation
        return Split(resize(held.x, *self.size), held.y)

    @property
    def bf16(self) -> bool:
        return amx() if self.preset.bf16 == "auto" else self.preset.bf16 == "on"


def warm_up(model: nn.Module, training: Training, shared: Path, run: Path, progress: Progress) -> Checkpoint:
    """Train the float student in the folder ``shared``, or find it there trained already, and copy it into ``run``."""
    p = training.preset
    phase = Phase("float", p.float_epochs, p.learning_rate, p.weight_decay, bf16=training.bf16, seed=training.seed)
    history = _once(FLOAT, shared, run, lambda weights: _fit(model, training, phase, weights, progress))
    return _checkpoint(run, FLOAT, history, len(training.lesson.data.validation))


def quantize_aware(model: nn.Module, training: Training, scheme: Scheme, shared: Path, run: Path, progress: Progress) -> Checkpoint:
    """Fold, insert fake-quantizers, calibrate, and go on training under them; or find that done in ``shared``. Copied into ``run``."""

    def train(weights: Path) -> History:
        module = _prepared(model, training, scheme, run)
        module.calibrate([student_input(calibration_samples(training))])
        return _fit(module, training, second_phase(training, "qat"), weights, progress)

    return _checkpoint(run, QAT, _once(QAT, shared, run, train), len(training.lesson.data.validation))


def second_phase(training: Training, name: str) -> Phase:
    """The phase after the warm-up: quantized in a build, float in a comparison with it."""
    p = training.preset
    seed = training.seed + 1
    return Phase(name, p.qat_epochs, p.qat_learning_rate, p.weight_decay, warm_up=0.05, bf16=training.bf16, select=True, seed=seed)


def calibration_samples(training: Training) -> np.ndarray:
    """Training images uint8 [n, H, W, C] that ranges are first read off, spread over the split: it may lie class by class."""
    x = training.lesson.data.train.x
    return resize(x[np.linspace(0, len(x) - 1, min(CALIBRATION_SAMPLES, len(x))).astype(int)], *training.size)


def _once(name: str, shared: Path, run: Path, train: Callable[[Path], History]) -> History:
    """Train into ``shared`` / ``name`` unless that was done before, by this target or by another that asks for the same."""
    shared.mkdir(parents=True, exist_ok=True)
    weights, note = shared / name, (shared / name).with_suffix(".json")
    with runs.lock(shared, wait=lambda who: LOG.warning("%s trains the same student: waiting", who)):
        if (history := _trained(weights, note)) is None:
            history = train(weights)
            runs.atomic_write(note, json.dumps({"sha256": runs.sha256_file(weights), "history": history}).encode())
        runs.atomic_write(run / name, weights.read_bytes())
    return history


def _trained(weights: Path, note: Path) -> History | None:
    """The history of what lies in ``weights``, if it lies there as it was written."""
    try:
        found = json.loads(note.read_text())
        return tuple(found["history"]) if found["sha256"] == runs.sha256_file(weights) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def frozen(model: nn.Module, training: Training, scheme: Scheme, run: Path) -> QuantGraph:
    """The trained student of ``run`` as the graph that is exported."""
    module = _prepared(model, training, scheme, run)
    if scheme.is_integer:
        module.load_state_dict(load_file(run / QAT))
    return freeze(module)


def oracle(model: nn.Module, run: Path, pixels: np.ndarray) -> np.ndarray:
    """What the float student of ``run`` answers for 8-bit ``pixels`` [N, H, W, C]: logits float32 [N, classes]."""
    model.load_state_dict(load_file(run / FLOAT))
    return outputs(model.eval(), pixels)


@torch.inference_mode()
def outputs(model: nn.Module, pixels: np.ndarray, *, batch: int = 500) -> np.ndarray:
    """Logits float32 [N, classes] of a student for 8-bit ``pixels`` [N, H, W, C]."""
    return np.concatenate([model(student_input(pixels[at : at + batch])).numpy() for at in range(0, len(pixels), batch)])


def _prepared(model: nn.Module, training: Training, scheme: Scheme, run: Path) -> QatModule:
    model.load_state_dict(load_file(run / FLOAT))
    return QatModule(capture(model, (training.lesson.data.shape[2], *training.size)), scheme)


def _fit(model: nn.Module, training: Training, phase: Phase, weights: Path, progress: Progress) -> History:
    state = weights.with_suffix(".state")
    terms = training.lesson.terms
    history = fit(model, training.feed, terms, phase, validation=training.validation, state=state, progress=progress)
    runs.atomic_write(weights, save({name: value.contiguous() for name, value in model.state_dict().items()}))
    state.unlink(missing_ok=True)
    return history


def _checkpoint(run: Path, name: str, history: History, n: int) -> Checkpoint:
    # Quantized training keeps its best pass, warm-up its last.
    value = max(h["validation"] for h in history) if name == QAT else history[-1]["validation"]
    low, high = Share(round(value * n), n).interval
    last = history[-1]  # trainings that were stored by an earlier version do not say how
    how = (f", {last['threads']} threads" if "threads" in last else "") + (", bf16" if last.get("bf16") else "")
    where = f"{host.host()}, {host.library('torch')}{how}, validation split after the pass that was kept"
    found = Figure(value, "share", "measured", where, n, low, high)
    return Checkpoint(name, runs.sha256_file(run / name), history, {"validation_accuracy": found})
