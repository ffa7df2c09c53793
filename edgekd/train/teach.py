"""Train a teacher: one visible loop, resumable after every epoch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn import functional

from edgekd.data.dataset import Dataset
from edgekd.errors import EdgekdError
from edgekd.teachers.reading import Reader
from edgekd.train.augment import cutout, mirror, shift, slide
from edgekd.train.readings import reading
from edgekd.train.room import in_memory
from edgekd.train.state import load_state, restored, save_state
from edgekd.train.watch import odd_weights

M = TypeVar("M", bound=nn.Module)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TeachSchedule:
    """SGD with Nesterov momentum, one warm-up and one cosine; the weights kept are their exponential moving average."""

    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    mirror: bool
    shift: int
    cutout: int
    seed: int
    bf16: bool = False
    average: float = 0.998


def teach(model: M, data: Dataset, schedule: TeachSchedule, state: Path, progress: Progress) -> M:
    """Train ``model`` (pixels/255 [N, C, H, W], or what a Reader reads of a sample, → logits) and return its moving average.

    ``state`` is the file that holds everything needed to go on after an interruption; it is written after every epoch.
    Raises OutOfMemory, naming a batch that fits; EdgekdError if the loss stops being finite; InputError if ``state`` is another teacher's.
    """
    torch.manual_seed(schedule.seed)
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.SGD(_groups(model, schedule.weight_decay), lr=schedule.learning_rate, momentum=0.9, nesterov=True)
    generator = torch.Generator().manual_seed(schedule.seed)
    first = _resume(state, model, average, optimizer, generator)
    x, y = _inputs(model, data), torch.from_numpy(data.train.y)
    batch_size = min(schedule.batch, len(y))
    steps, odd = len(y) // batch_size, set(odd_weights(model))

    def epochs() -> None:
        lately: list[torch.Tensor] = []
        for epoch in range(first, schedule.epochs):
            model.train()
            for step, chosen in enumerate(torch.randperm(len(y), generator=generator)[: steps * batch_size].view(steps, -1)):
                for group in optimizer.param_groups:
                    group["lr"] = schedule.learning_rate * _rate((epoch * steps + step) / (schedule.epochs * steps))
                batch = _batch(model, x[chosen], schedule, generator)
                with torch.autocast("cpu", torch.bfloat16, enabled=schedule.bf16):
                    logits = model(batch)
                loss = functional.cross_entropy(logits.float(), y[chosen])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                done = epoch * steps + step
                lately.append(loss.detach())
                _update(average, model, min(schedule.average, (1 + done) / (10 + done)))
                if step % 20 == 0 or step == steps - 1:
                    progress("teacher", done + 1, schedule.epochs * steps)
                    _check(torch.stack(lately), done + 1, schedule.epochs * steps, state)
                    lately.clear()
            if set(odd_weights(model)) - odd:
                _check(torch.full((1,), math.nan), (epoch + 1) * steps, schedule.epochs * steps, state)
            saved = {"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
            # Dropout draws from torch's own generator.
            save_state(state, {**saved, "generator": generator.get_state(), "torch": torch.get_rng_state(), "epoch": epoch + 1})

    def tried(size: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(model.train()(_batch(model, x[:size], schedule, generator)).float(), y[:size]).backward()

    in_memory(epochs, "teacher", batch_size, tried, "batch in the recipe's table teacher.schedule")
    progress("teacher", schedule.epochs * steps, schedule.epochs * steps)
    return average


def _check(losses: torch.Tensor, step: int, steps: int, state: Path) -> None:
    """Raise EdgekdError unless the ``losses`` of the steps up to ``step`` are finite, naming the first that is not."""
    if bool((good := losses.isfinite()).all()):
        return
    first = step - len(losses) + 1 + int(good.int().argmin())
    kept = f"\n  kept:     the state after the last good epoch, {state}" if state.is_file() else ""
    raise EdgekdError(
        f"the teacher's loss is not finite at step {first} of {steps}{kept}\n"
        "  to mend:  lower learning_rate in the recipe's table teacher.schedule"
    )


def _inputs(model: nn.Module, data: Dataset) -> torch.Tensor:
    if isinstance(model, Reader):
        return torch.from_numpy(reading(data.train, str(model.reads)).copy())
    return torch.from_numpy(data.train.x.copy()).permute(0, 3, 1, 2).contiguous()


def _batch(model: nn.Module, x: torch.Tensor, schedule: TeachSchedule, generator: torch.Generator) -> torch.Tensor:
    if isinstance(model, Reader):  # which knows what the whole range of its integers is
        return slide(x, schedule.shift, generator) if schedule.shift else x
    x = x.float() / 255
    if schedule.mirror:
        x = mirror(x, generator)
    if schedule.shift:
        x = shift(x, schedule.shift, 0.0, generator)
    if schedule.cutout:
        x = cutout(x, schedule.cutout, 0.0, generator)
    return x.contiguous(memory_format=torch.channels_last)


def _rate(done: float) -> float:
    """Share of the peak learning rate after the share ``done`` of training: linear warm-up over 10 %, then cosine to zero."""
    return done / 0.1 if done < 0.1 else 0.5 * (1 + math.cos(math.pi * (done - 0.1) / 0.9))


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices only: on biases and batch norms it costs accuracy (Goyal et al. 2017)."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


@torch.no_grad()
def _update(average: nn.Module, model: nn.Module, keep: float) -> None:
    for mean, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(new, 1 - keep)
        else:
            mean.copy_(new)


def _resume(path: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> int:
    if (state := load_state(path)) is None:
        return 0
    with restored(path):
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        return state["epoch"]
