"""Random views of whole batches, on tensors: mirror, shift, cutout. Draws come from the generator that is passed."""

from __future__ import annotations

import torch
from torch.nn import functional


def mirror(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror each image [N, C, H, W] left to right with probability one half."""
    flip = torch.rand(len(x), generator=generator) < 0.5
    return torch.where(flip[:, None, None, None], x.flip(-1), x)


def shift(x: torch.Tensor, pixels: int, fill: float, generator: torch.Generator) -> torch.Tensor:
    """Move each image [N, C, H, W] by up to ``pixels`` in both directions; what comes in from outside is ``fill``."""
    n, c, h, w = x.shape
    padded = functional.pad(x, (pixels,) * 4, value=fill)
    top = torch.randint(0, 2 * pixels + 1, (n, 1), generator=generator) + torch.arange(h)
    left = torch.randint(0, 2 * pixels + 1, (n, 1), generator=generator) + torch.arange(w)
    return padded[torch.arange(n)[:, None, None, None], torch.arange(c)[:, None, None], top[:, None, :, None], left[:, None, None, :]]


def slide(x: torch.Tensor, most: int, generator: torch.Generator) -> torch.Tensor:
    """Move each sequence [N, T], sound for example, by up to ``most`` steps either way; what comes in from outside is 0."""
    n, length = x.shape
    start = torch.randint(0, 2 * most + 1, (n, 1), generator=generator) + torch.arange(length)
    return functional.pad(x, (most, most)).gather(1, start)


def cutout(x: torch.Tensor, size: int, fill: float, generator: torch.Generator) -> torch.Tensor:
    """Overwrite one square of ``size`` pixels of each image [N, C, H, W] by ``fill`` (DeVries and Taylor 2017)."""
    n, _, h, w = x.shape
    top = torch.randint(-size // 2, h - size // 2, (n, 1), generator=generator)
    left = torch.randint(-size // 2, w - size // 2, (n, 1), generator=generator)
    rows, columns = torch.arange(h), torch.arange(w)
    inside = ((rows >= top) & (rows < top + size))[:, None, :, None] & ((columns >= left) & (columns < left + size))[:, None, None, :]
    return x.masked_fill(inside, fill)
