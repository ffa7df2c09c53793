"""A trained student's weights, compressed or not, into a module as its code builds it."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from edgekd.compress.shape import like
from edgekd.errors import InputError


def with_weights(module: nn.Module, file: Path, example: torch.Tensor | None = None) -> nn.Module:
    """``module`` with the weights of ``file``, in the shapes that they have there. Raises InputError if they are another module's.

    Shapes that do not fit one another are only seen when something flows through them: ``example`` [1, C, H, W], of a user's own file.
    """
    try:
        state = load_file(file)
        own = module.state_dict()
        if odd := next(
            (name for name, value in state.items() if name in own and value.dtype.is_floating_point != own[name].dtype.is_floating_point),
            "",
        ):
            raise InputError(f"{odd} is {state[odd].dtype}", where=str(file), expected="float weights, as trained: edgekd quantizes them")
        if odd := next((name for name, value in state.items() if not value.isfinite().all()), ""):
            raise InputError(f"{odd} is not finite", where=str(file), expected="the state_dict of a trained student", mend="train it again")
        made = like(module, state)
        made.load_state_dict(state)
        if example is not None:
            with torch.no_grad():
                copy.deepcopy(made).eval()(example)
    except (OSError, SafetensorError, RuntimeError) as error:
        text = "; ".join(line.strip() for line in str(error).splitlines()[:3])
        raise InputError(
            f"does not fit {type(module).__name__} ({text})",
            where=str(file),
            expected="a safetensors file of the student's state_dict, of the same code and options",
        ) from error
    return made
