"""A teacher: a torch module with its own normalization, from 8-bit images to logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file
from torch import nn

from edgekd.errors import InputError


class Teacher(nn.Module):
    """Pixels/255 [N, C, H, W] → (x − mean)/std → ``body`` → logits [N, classes]."""

    def __init__(self, body: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.body = body
        self.mean, self.std = (torch.tensor(v).reshape(1, -1, 1, 1) for v in (mean, std))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body((x - self.mean) / self.std)


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
