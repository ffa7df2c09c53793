"""The float training of a student that is compressed: trained as it is, then compressed and distilled again, round after round."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from edgekd import team
from edgekd.compress.apply import applied
from edgekd.compress.channels import module_macs
from edgekd.compress.load import with_weights
from edgekd.compress.sparsity import hold_zeros, prunable, zeros
from edgekd.recipe.schema_compress import Compress
from edgekd.records import Checkpoint, Figure
from edgekd.train.judge import evaluate
from edgekd.train.kept import History, agreed, keep, once
from edgekd.train.lesson import Progress
from edgekd.train.loop import Phase, made_criterion
from edgekd.train.student import FLOAT, Told, Training, checkpoint_of, fit_into, replay_all, warm_up
from edgekd.train.taps import Tutors

LOG = logging.getLogger(__name__)
#: Where a run keeps the student that it compresses.
FOLDER = "uncompressed"
#: Samples whose gradients say what channels matter.
SAMPLES = 1024


@dataclass(frozen=True)
class Whole:
    """The student before it is compressed: the untrained ``model``, the folder ``shared`` where its training lies or will lie, or the
    ``checkpoint`` of one that the user has trained. ``macs`` is the share that channels leave."""

    model: nn.Module
    shared: Path
    checkpoint: Path | None
    macs: float | None


def warm_up_compressed(whole: Whole, training: Training, shared: Path, run: Path, progress: Progress) -> Checkpoint:
    """Train, compress and distil the float student in the folder ``shared``, or find it there; copied into ``run``.

    Each round is a whole schedule of the preset's learning rate: rewinding it beats finetuning at its end (Renda et al. 2020, "Comparing
    Rewinding and Fine-tuning in Neural Network Pruning"). Raises InputError for a checkpoint of another student, and as compressors do.
    """
    table = training.lesson.recipe.compress
    assert table is not None
    first: Checkpoint | None = None
    if whole.checkpoint is None:
        first = warm_up(whole.model, training, whole.shared, run / FOLDER, progress)

    def train(weights: Path) -> History:
        file = run / FOLDER / FLOAT if whole.checkpoint is None else whole.checkpoint
        model = with_weights(whole.model, file)
        return _rounds(replace(whole, model=model), training, weights, Told(run, progress))

    history = once(FLOAT, shared, run, train)
    replay_all(run, training, history)
    found = checkpoint_of(run, FLOAT, history, training)
    figures = {**found.figures, **_figures(run, table)}
    if first is not None:
        figures["uncompressed_validation_accuracy"] = first.figures["validation_accuracy"]
    return replace(found, figures=figures)


def compress(model: nn.Module, training: Training, macs: float | None, *, done: float = 1.0) -> nn.Module:
    """``model``, trained, as the recipe of ``training`` wants it after the share ``done`` of its rounds; ``macs`` of all, in the end."""
    table = training.lesson.recipe.compress
    assert table is not None
    example = torch.zeros(1, training.lesson.data.shape[2], *training.size)
    limit = round(module_macs(model, example) * (macs or 1)) if table.method == "channels" else 0
    return applied(model, example, table, macs=limit, done=done, losses=lambda module: _losses(module, training, table))


def _rounds(whole: Whole, training: Training, weights: Path, told: Told) -> History:
    table, p = training.lesson.recipe.compress, training.preset
    assert table is not None
    LOG.info("%s: %.4f on validation before", table.method, evaluate(whole.model, training.validation, training.heads))
    model, history = whole.model, list[dict[str, Any]]()
    epochs = (table.epochs or p.float_epochs) / table.steps
    files = [weights.with_name(f"round{n}.safetensors") for n in range(1, table.steps)]
    for n, file in enumerate([*files, weights], 1):
        name = "compress" if table.steps == 1 else f"compress{n}"
        if (found := agreed(file)) is not None:
            model, entries = with_weights(model, file), found
        else:
            # Of what a round is given it leaves the same share in each.
            left = None if whole.macs is None else whole.macs ** (1 / table.steps)
            model = compress(model, training, left, done=n / table.steps)
            if table.method == "sparsity":
                hold_zeros(weight for _, weight in prunable(model))
            seed = training.seed + 100 * n
            phase = Phase(name, epochs, p.learning_rate, p.weight_decay, select=True, seed=seed, **training.keeps)
            entries = fit_into(model, training, phase, file, told)
            if file != weights:
                keep(file, entries)
        history += entries
    for file in files if team.here().leads else ():
        file.unlink(missing_ok=True)
        file.with_suffix(".json").unlink(missing_ok=True)
    return tuple(history)


def _losses(module: nn.Module, training: Training, table: Compress) -> Iterator[torch.Tensor]:
    """The recipe's own loss of some batches, as the float phases have it; the module is in evaluation mode."""
    lesson, feed = training.lesson, training.feed
    terms = [term for term in lesson.terms if term.active("float")]
    tutors = Tutors(terms, lesson.live)
    torch.manual_seed(training.seed)
    criterion = made_criterion(module, terms, feed, tutors)
    batches = -(-(table.samples or SAMPLES) // feed.batch)
    was_training = module.training
    try:
        module.eval()
        for _, batch in zip(range(batches), feed.batches(torch.Generator().manual_seed(training.seed)), strict=False):
            yield criterion(module(batch.x).float(), batch, tutors(batch))[0]
    finally:
        module.train(was_training)
        criterion.close()
        tutors.close()


def _figures(run: Path, table: Compress) -> dict[str, Figure]:
    if table.method != "sparsity":
        return {}
    weights = [tensor for name, tensor in load_file(run / FLOAT).items() if name.endswith("weight") and tensor.ndim > 1]
    return {"zeros": Figure(zeros(weights), "share", "counted", "weights of the float student")}
