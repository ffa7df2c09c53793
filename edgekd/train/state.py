"""Everything that a training needs to go on after an interruption, in one file, written atomically."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from edgekd import runs


def save_state(path: Path, state: dict[str, Any]) -> None:
    content = io.BytesIO()
    torch.save(state, content)
    runs.atomic_write(path, content.getvalue())


def load_state(path: Path) -> dict[str, Any] | None:
    """What was saved; None where there is nothing, or nothing readable: the training then starts over."""
    try:
        return torch.load(path, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        return None
