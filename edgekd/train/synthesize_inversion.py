"""DeepInversion (Yin et al. 2020, Dreaming to distill): pixels that the teacher takes for a class, and whose inner statistics are those
that its batch norms saw in training."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgekd import runs
from edgekd.errors import EdgekdError, InputError
from edgekd.train.synthesize import Order

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def inversion(
    order: Order,
    *,
    statistics: float = 1.0,
    total_variation: float = 2.5e-3,
    pixels: float = 100.0,
    jitter: int = 2,
    learning_rate: float = 0.05,
    batch: int = 250,
) -> np.ndarray:
    """Images uint8 [samples, H, W, C]; ``order.steps`` are steps of Adam on each ``batch`` of them, from noise, under one cosine.

    The loss of a batch, whose targets are all classes in turn, is the mean cross-entropy + ``statistics`` · Σ over batch norms of
    (|μ − running mean|₂ + |σ² − running variance|₂) + ``total_variation`` · mean over images of Σ |neighbours' differences| / 2
    + ``pixels`` · Σ over channels of |μ − mean| + |σ − std|, on pixels of 0 to 1: the mean and standard deviation that the teacher
    normalizes by say how bright its images were, in place of the authors' norm of the image. Each step moves all images of the batch by up
    to ``jitter`` pixels. The statistics are those of the whole batch, so that it must be large and hold every class.

    Raises InputError if the teacher has no batch norm that keeps statistics, or for a bad option; EdgekdError if the loss is not finite.
    """
    _check({"statistics": statistics, "total_variation": total_variation, "pixels": pixels, "jitter": jitter}, least=0)
    _check({"learning_rate": learning_rate, "batch": batch}, least=None)
    watch = Statistics(order.teacher)
    weights = {"statistics": statistics, "total_variation": total_variation, "pixels": pixels}
    batches = max(1, math.ceil(order.samples / batch))
    sizes = [len(part) for part in np.array_split(np.arange(order.samples), batches)]
    parts = []
    try:
        for n, size in enumerate(sizes):
            file = order.state / f"batch{n:05}.npy"
            if (part := _stored(file, (size, *order.shape))) is None:
                part = _dream(order, watch, weights, (jitter, learning_rate), (n, len(sizes), size))
                _store(file, part)
            parts.append(part)
    finally:
        watch.close()
    return np.concatenate(parts)


def _dream(order: Order, watch: Statistics, weights: dict[str, float], how: tuple[int, float], which: tuple[int, int, int]) -> np.ndarray:
    """Batch ``n`` of ``count``, of ``size`` images."""
    (jitter, rate), (n, count, size) = how, which
    generator = torch.Generator().manual_seed(order.seed * 1_000_003 + n)
    height, width, channels = order.shape
    x = torch.rand(size, channels, height, width, generator=generator).requires_grad_()
    mean, std = torch.tensor(order.mean), torch.tensor(order.std)
    # Batches begin with different classes, so that all are as many however small the batches are.
    targets = (torch.arange(size) + n * size) % order.classes
    optimizer = torch.optim.Adam([x], lr=rate, betas=(0.5, 0.9))
    for step in range(order.steps):
        optimizer.param_groups[0]["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / order.steps))
        moves = torch.randint(-jitter, jitter + 1, (2,), generator=generator).tolist()
        loss = functional.cross_entropy(order.teacher(torch.roll(x, moves, (2, 3))), targets)
        loss = loss + weights["statistics"] * watch.distance()
        loss = loss + weights["total_variation"] * variation(x)
        if order.mean:
            loss = loss + weights["pixels"] * ((x.mean((0, 2, 3)) - mean).abs() + (x.std((0, 2, 3)) - std).abs()).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            x.clamp_(0, 1)
        if (step + 1) % 10 == 0 or step + 1 == order.steps:
            if not math.isfinite(float(loss.detach())):
                raise EdgekdError(
                    f"the images' loss is not finite at step {step + 1}\n  to mend:  lower learning_rate in data_free.options"
                )
            order.progress(n * order.steps + step + 1, count * order.steps)
    return (x.detach() * 255).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def norms(module: nn.Module) -> list[nn.Module]:
    """The batch norms in ``module`` that keep running statistics."""
    return [m for m in module.modules() if isinstance(m, NORMS) and m.running_mean is not None]


class Statistics:
    """Watches what flows into every batch norm of a module that keeps running statistics."""

    def __init__(self, module: nn.Module) -> None:
        self._norms = norms(module)
        if not self._norms:
            raise InputError(
                "the teacher has no batch norm whose statistics could be met",
                where="recipe, data_free",
                expected="a teacher with batch norms",
                mend='method = "generator"',
            )
        self._seen: list[torch.Tensor] = []
        self._hooks = [norm.register_forward_pre_hook(self._see) for norm in self._norms]

    def _see(self, norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(norm.running_mean, torch.Tensor) and isinstance(norm.running_var, torch.Tensor)
        x = inputs[0].float()
        rest = [d for d in range(x.ndim) if d != 1]
        # Less memory traffic than in torch's own variance; from the running mean, so that nothing cancels.
        x = x - norm.running_mean.reshape(1, -1, *[1] * (x.ndim - 2))
        away = x.mean(rest)
        var = x.square().mean(rest) - away.square()
        self._seen.append(torch.linalg.vector_norm(away) + torch.linalg.vector_norm(var - norm.running_var))

    def distance(self) -> torch.Tensor:
        """Σ (|μ − running mean|₂ + |σ² − running variance|₂) over what flowed since the last call."""
        seen, self._seen = self._seen, []
        return torch.stack(seen).sum()

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()


def variation(x: torch.Tensor) -> torch.Tensor:
    """Mean over images [n, C, H, W] of Σ (|difference to the lower neighbour| + |to the right one|) / 2 (Rudin et al. 1992)."""
    down, right = (x[:, :, 1:] - x[:, :, :-1]).abs(), (x[..., 1:] - x[..., :-1]).abs()
    return (down.sum((1, 2, 3)) + right.sum((1, 2, 3))).mean() / 2


def _check(options: dict[str, float], *, least: int | None) -> None:
    """Raise InputError for what is no number of at least ``least``, or above 0 where that is None; whole, if its default is."""
    for name, value in options.items():
        whole = name in ("jitter", "batch")
        kind = isinstance(value, int) if whole else isinstance(value, int | float) and math.isfinite(value)
        if isinstance(value, bool) or not kind or (value <= 0 if least is None else value < least):
            expected = f"a {'whole ' * whole}number {'above 0' if least is None else f'of at least {least}'}"
            raise InputError(f"{name} = {value!r}", where="recipe, data_free.options", expected=expected)


def _store(file: Path, images: np.ndarray) -> None:
    content = io.BytesIO()
    np.save(content, images)
    runs.atomic_write(file, content.getvalue())


def _stored(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        found = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == shape and found.dtype == np.uint8 else None
