"""A user's torch module as a float graph, and as what its graph has to answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from edgekd import lazy
from edgekd.errors import InputError
from edgekd.quant.capture import capture
from edgekd.quant.graph import QuantGraph

Shape = tuple[int, ...]


def open_module(name: str, weights: Path | None, shape: Shape) -> nn.Module:
    """What ``package.module:function`` returns, called with ``channels``, ``height`` and ``width`` of ``shape`` (one sample, channels last)
    where it takes them, with ``weights`` (safetensors) in it. Raises InputError for what is no module, and for weights that do not fit.
    """
    given: dict[str, int] = {}
    if len(shape) == 3:
        given["height"], given["width"], given["channels"] = shape
    found = lazy.load(name)
    module = found if isinstance(found, nn.Module) else lazy.call(name, found, given, {}, where="MODEL")
    if not isinstance(module, nn.Module):
        raise InputError(f"{name} returned a {type(module).__name__}", where="MODEL", expected="an nn.Module")
    return with_weights(module, weights)


def with_weights(module: nn.Module, weights: Path | None) -> nn.Module:
    """``module``, ready to answer, with what lies in ``weights``. Raises InputError where that does not fit it."""
    if weights is not None:
        try:
            module.load_state_dict(load_file(weights))
        except (OSError, SafetensorError, RuntimeError) as error:
            text = "; ".join(line.strip() for line in str(error).splitlines()[:3])
            raise InputError(
                f"does not fit {type(module).__name__} ({text})",
                where=str(weights),
                expected="a safetensors file of the module's state_dict",
            ) from error
    return module.eval()


def graph_of(module: nn.Module, shape: Shape, *, tokens: bool, name: str) -> QuantGraph:
    """The float graph for samples of ``shape`` (channels last; three axes are an image). Raises InputError as ``capture`` does."""
    sample = (shape[2], *shape[:2]) if len(shape) == 3 else shape
    return capture(module, sample, name=name, indices=tokens)


def answers_of(module: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """The module as a function of samples [n, ...], images channels last."""

    def run(x: np.ndarray) -> np.ndarray:
        tensor = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2) if x.ndim == 4 else x))
        with torch.inference_mode():
            return module(tensor.long() if x.dtype.kind == "i" else tensor).numpy()

    return run
