"""A finished teacher of another library, behind a torch module: what its files say of it, and how it is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from edgekd.errors import InputError

#: Images at a time: teachers are large, and so are their activations.
BATCH = 64


@dataclass(frozen=True)
class Normalization:
    """What a teacher is fed of 8-bit pixels p: scale · (p/255 − mean)/std. ``mean`` and ``std`` have one value, or one a channel."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1.0


@dataclass(frozen=True)
class About:
    """What a model's files say. None stands for what they leave open.

    ``size`` is the height and width that the model must be fed, ``prefers`` the ones that it was trained on. ``library`` is what
    runs it, with its version. ``needs_normalization``: was surely trained on normalized pixels, but its files do not say how.
    ``integer``: takes integers 0 to 255.
    """

    sha256: str
    library: str
    channels: int | None = None
    size: tuple[int | None, int | None] = (None, None)
    prefers: tuple[int | None, int | None] = (None, None)
    labels: tuple[str, ...] | None = None
    normalization: Normalization | None = None
    needs_normalization: bool = False
    integer: bool = False


class Opened(nn.Module):
    """Normalized images float32 [N, C, H, W] → outputs [N, classes of the model], computed by ``inner``, at most BATCH at a time."""

    def __init__(self, inner: Callable[[torch.Tensor], torch.Tensor], about: About) -> None:
        super().__init__()
        self.inner, self.about = inner, about

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.inner(part) for part in x.split(BATCH)])


@dataclass(frozen=True)
class Foreign:
    """``run``, a function of one numpy array, as a function of a tensor [n, C, H, W].

    ``run`` is fed ``dtype`` [n, H, W, C], or [n, C, H, W] where not ``channels_last``, and answers [n, classes]; a ``batch`` that the
    model fixes is filled up with zeros.
    """

    run: Callable[[np.ndarray], np.ndarray]
    dtype: np.dtype
    channels_last: bool
    batch: int | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        array = (x.permute(0, 2, 3, 1) if self.channels_last else x).contiguous().float().numpy()
        if self.dtype.kind in "iu":
            array = array.round().clip(0, 255)
        array = array.astype(self.dtype)
        step, n = self.batch or len(array), len(array)
        if missing := -n % step:
            array = np.concatenate([array, np.zeros((missing, *array.shape[1:]), self.dtype)])
        parts = [np.asarray(self.run(array[at : at + step]), dtype=np.float32) for at in range(0, len(array), step)]
        return torch.from_numpy(np.concatenate(parts)[:n])


def images_of(shape: tuple[int | None, ...] | list[int | None] | None, where: str) -> tuple[int | None, ...]:
    """The ``shape`` of an input of images, of which None is open. Raises InputError if it is not of rank 4."""
    if shape is None or len(shape) != 4:
        found = (
            "the shape of its input is not known"
            if shape is None
            else f"its input has the shape {['?' if d is None else d for d in shape]}"
        )
        raise InputError(found, where=where, expected="one batch of images, of rank 4")
    return tuple(shape)


def channels_last(shape: tuple[int | None, ...], channels: int, where: str) -> tuple[int | None, int | None]:
    """Height and width of an input [N, H, W, C]. Raises InputError if C is not ``channels``."""
    if shape[3] is not None and shape[3] != channels:
        raise InputError(
            f"its input has the shape {['?' if d is None else d for d in shape]}", where=where, expected=f"[N, H, W, {channels}]"
        )
    return shape[1], shape[2]


def chosen(name: object, names: list[str], where: str, what: str = "outputs") -> str:
    """The one of a model's ``names`` that the recipe's ``output_name`` says, or the only one. Raises InputError otherwise."""
    if name in names and isinstance(name, str) and name:
        return name
    if name or len(names) != 1:
        found = f"no output is called {name!r}" if name else f"{len(names)} {what}"
        mend = f'options = {{ …, output_name = "{names[0]}" }}' if names else ""
        raise InputError(found, where=where, expected=f"one of {', '.join(names)}" if names else "one output", mend=mend)
    return names[0]
