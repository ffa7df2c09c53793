"""The training loop of a student: one phase, float or quantized, resumable after every pass over the data."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgekd.data.dataset import Split
from edgekd.errors import EdgekdError
from edgekd.train.distill import Feed, Term, student_input, total
from edgekd.train.state import load_state, restored, save_state


@dataclass(frozen=True)
class Phase:
    """AdamW (Loshchilov and Hutter 2019) under a linear warm-up over the share ``warm_up`` and one cosine to zero.

    ``epochs`` may be a fraction: half a pass is half a pass. ``select`` keeps the weights of the pass that was best on validation.
    """

    name: str
    epochs: float
    learning_rate: float
    weight_decay: float
    warm_up: float = 0.1
    bf16: bool = False
    select: bool = False
    seed: int = 0


Progress = Callable[[str, int, int], None]


def fit(
    model: nn.Module, feed: Feed, terms: Sequence[Term], phase: Phase, *, validation: Split, state: Path, progress: Progress
) -> tuple[dict[str, Any], ...]:
    """Train ``model`` in place; returns its history, one dictionary a pass. ``state`` holds what a resumed training needs.

    Raises EdgekdError if the loss stops being finite, naming the step; InputError if ``state`` belongs to another model.
    """
    torch.manual_seed(phase.seed)
    generator = torch.Generator().manual_seed(phase.seed)
    if phase.bf16:
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.AdamW(_groups(model, phase.weight_decay), lr=phase.learning_rate, foreach=True)
    steps = max(1, round(phase.epochs * feed.steps))
    history, best = _resume(state, model, optimizer, generator)
    while (done := len(history) * feed.steps) < steps:
        start = time.monotonic()
        loss = _epoch(model, optimizer, feed, terms, phase, (done, steps, generator, progress))
        accuracy = evaluate(model, validation)
        seconds, how = round(time.monotonic() - start, 2), {"threads": torch.get_num_threads(), "bf16": phase.bf16}
        history.append({"phase": phase.name, "loss": loss, "validation": accuracy, "seconds": seconds, **how})
        if phase.select and accuracy >= max(h["validation"] for h in history):
            best = copy.deepcopy(model.state_dict())
        saved = {"model": model.state_dict(), "best": best, "optimizer": optimizer.state_dict()}
        # Dropout and the like draw from torch's own generator.
        save_state(state, {**saved, "generator": generator.get_state(), "torch": torch.get_rng_state(), "history": history})
    if phase.select and best is not None:
        model.load_state_dict(best)
    return tuple(history)


def _epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    feed: Feed,
    terms: Sequence[Term],
    phase: Phase,
    where: tuple[int, int, torch.Generator, Progress],
) -> float:
    """One pass, or what is left of the phase; returns the mean loss."""
    done, steps, generator, progress = where
    model.train()
    summed, count = torch.zeros(()), 0
    for x, teacher, labels in feed.batches(generator):
        if done + count >= steps:
            break
        for group in optimizer.param_groups:
            group["lr"] = phase.learning_rate * _rate((done + count) / steps, phase.warm_up)
        with torch.autocast("cpu", torch.bfloat16, enabled=phase.bf16):
            outputs = model(x.contiguous(memory_format=torch.channels_last) if phase.bf16 else x)
        loss = total(terms, outputs.float(), teacher, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        summed += loss.detach()
        count += 1
        if count % 20 == 0 or done + count == steps:
            progress(phase.name, done + count, steps)
            _check(summed, phase, done + count, steps)
    _check(summed, phase, done + count, steps)
    return float(summed) / max(count, 1)


def _check(loss: torch.Tensor, phase: Phase, step: int, steps: int) -> None:
    if not math.isfinite(float(loss)):
        rate = "qat_learning_rate" if phase.name == "qat" else "learning_rate"
        raise EdgekdError(
            f"phase {phase.name}: the loss is not finite at step {step} of {steps}\n  to mend:  lower {rate} in the recipe's preset"
        )


@torch.inference_mode()
def evaluate(model: nn.Module, split: Split, *, batch: int = 500) -> float:
    """Share of ``split`` that a student labels right, in evaluation mode and full precision."""
    model.eval()
    right = 0
    for at in range(0, len(split), batch):
        found = model(student_input(split.x[at : at + batch])).argmax(1)
        right += int((found == torch.from_numpy(split.y[at : at + batch])).sum())
    return right / len(split)


def _rate(done: float, warm_up: float) -> float:
    """Share of the peak learning rate after the share ``done`` of the phase."""
    if done < warm_up:
        return (done + 1e-3) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices only: on biases, batch norms and steps it costs accuracy (Goyal et al. 2017)."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    decayed = [p for n, p in named if p.ndim > 1 and not n.startswith("weight_steps")]
    others = [p for n, p in named if p.ndim <= 1 or n.startswith("weight_steps")]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _resume(
    state: Path, model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator
) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor] | None]:
    saved = load_state(state)
    if saved is None:
        return [], None
    with restored(state):
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        generator.set_state(saved["generator"])
        torch.set_rng_state(saved["torch"])
        return saved["history"], saved["best"]
