"""Weights that a student's training begins from, instead of random ones."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from edgekd.errors import InputError


def begin(module: nn.Module, file: Path, *, mend: str = "delete initial") -> nn.Module:
    """``module`` with the weights of ``file``. Raises InputError if it is none, or of another student."""
    try:
        module.load_state_dict(load_file(file))
    except (OSError, SafetensorError, RuntimeError) as error:
        text = "; ".join(line.strip() for line in str(error).splitlines()[:3])[:300]
        expected = "a safetensors file with the state_dict of just this student"
        raise InputError(f"cannot be begun from ({text})", where=str(file), expected=expected, mend=mend) from error
    return module
