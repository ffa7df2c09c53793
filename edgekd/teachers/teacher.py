"""A teacher: a torch module with its own normalization, from 8-bit images to logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from edgekd.errors import InputError
from edgekd.teachers.answers import SMALLEST


class Teacher(nn.Module):
    """Pixels/255 [N, C, H, W] → resized to ``size`` → scale · (x − mean)/std → ``body`` → logits [N, classes].

    Images are resized as a student's are: the mean of the area that a pixel covers, rounded to 8 bits. With ``log`` the body answers
    probabilities; their logarithms are logits of the same softmax at any temperature. ``columns`` are the body's outputs to be
    taken, in the order of the data's classes.
    """

    def __init__(
        self,
        body: nn.Module,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        *,
        scale: float = 1.0,
        size: tuple[int, int] | None = None,
        log: bool = False,
        columns: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.body = body
        self.mean, self.std = (torch.tensor(v).reshape(1, -1, 1, 1) for v in (mean, std))
        self.scale, self.size, self.log, self.columns = scale, size, log, columns

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.size is not None and x.shape[2:] != self.size:
            x = functional.interpolate(x * 255, self.size, mode="area").round_() / 255
        x = (x - self.mean) / self.std
        y = self.body(x if self.scale == 1 else x * self.scale)
        if self.log:
            y = y.float().clamp_min(SMALLEST).log()
        return y if self.columns is None else y[:, list(self.columns)]

    @property
    def settings(self) -> tuple[object, ...]:
        """What is neither weights nor mean nor std, and yet decides the outputs; empty where it is what it always was."""
        now = (self.scale, self.size, self.log, self.columns)
        return () if now == (1.0, None, False, None) else now

    @property
    def batch(self) -> int:
        """Images at a time that a machine has memory for."""
        return 500 if self.size is None else max(8, min(500, (1 << 22) // (self.size[0] * self.size[1])))


def load_weights(body: nn.Module, file: Path) -> None:
    """Put the safetensors in ``file`` into ``body``. Raises InputError if the file is not one or does not belong to the module."""
    try:
        weights = load_file(file)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(
            f"no readable checkpoint ({error})", where=str(file), expected="a safetensors file", mend="edgekd teach RECIPE"
        ) from error
    try:
        body.load_state_dict(weights)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise InputError(
            f"the checkpoint belongs to another teacher: {detail}", where=str(file), mend="edgekd teach RECIPE --fresh"
        ) from error


def amx() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware: there bf16 is several times faster, elsewhere slower than fp32."""
    probe = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(probe and probe())


@torch.inference_mode()
def logits(
    teacher: nn.Module, x: np.ndarray, *, batch: int = 500, bf16: bool, progress: Callable[[int], None] = lambda _: None
) -> np.ndarray:
    """Logits float32 [N, classes] of 8-bit images ``x`` uint8 [N, H, W, C]. ``progress`` gets the samples done so far."""
    teacher.eval()
    parts = []
    for at in range(0, len(x), batch):
        images = torch.from_numpy(x[at : at + batch].copy()).permute(0, 3, 1, 2).float().div_(255)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            parts.append(teacher(images.contiguous(memory_format=torch.channels_last)).float().numpy())
        progress(min(at + batch, len(x)))
    return np.concatenate(parts)
