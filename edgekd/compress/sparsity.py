"""Weights of small magnitude become zero and stay zero through every training that follows, to the exported file.

A mask is nothing but the zeros themselves: capture, batch norm's folding and symmetric quantization of weights all keep them, so that only
training has to be told (``hold_zeros``).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable

import torch
from torch import nn

from edgekd.errors import InputError

#: Layers of fewer weights stay dense: they cost little, and lose much (Zhu and Gupta 2017).
SMALLEST = 1024
#: XNNPACK's sparse convolutions are taken where two thirds of a pointwise convolution's weights are zero.
XNNPACK_LEAST = 2 / 3


def sparsity(module: nn.Module, *, share: float | None = None, pattern: str | None = None, smallest: int = SMALLEST) -> nn.Module:
    """A copy of ``module`` whose large weights hold zeros.

    ``share`` in (0, 1): of each layer's weights that many of the smallest magnitude (Han et al. 2015). ``pattern`` "N:M": of every M
    neighbouring input channels N are left (Zhou et al. 2021, "Learning N:M Fine-grained Structured Sparse Neural Networks"; NVIDIA's sparse
    tensor cores take 2:4); a layer whose input channels are no multiple of M stays dense. One of the two. The first convolution, depthwise
    ones and layers under ``smallest`` weights stay dense. Raises InputError for other values, or where no layer is left.
    """
    if (share is None) == (pattern is None):
        raise InputError("share and pattern say the same in two ways", where="compress", expected="one of the two", mend='pattern = "2:4"')
    if share is not None and not 0 < share < 1:
        raise InputError(f"share = {share}", where="compress", expected="above 0, below 1", mend="share = 0.75")
    n, m = parsed(pattern) if pattern is not None else (0, 1)
    made, changed = copy.deepcopy(module), 0
    with torch.no_grad():
        for _, weight in prunable(made, smallest):
            if share is not None:
                weight.mul_(_largest(weight, share))
            elif weight.shape[1] % m == 0:
                weight.mul_(_n_of_m(weight, n, m))
            else:
                continue
            changed += 1
    if not changed:
        fits = f" whose input channels are a multiple of {m}" if pattern is not None else ""
        raise InputError(
            "no layer can be made sparse", where="compress", expected=f"linear layers or convolutions of {smallest} weights or more{fits}"
        )
    return made


def prunable(module: nn.Module, smallest: int = SMALLEST) -> list[tuple[str, nn.Parameter]]:
    """Weights [out, in, …] of the linear layers and convolutions that may be sparse, by their names."""
    return [
        (f"{path}.weight" if path else "weight", layer.weight)
        for path, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d)
        and isinstance(layer.weight, nn.Parameter)
        and layer.weight.numel() >= smallest
        and layer.weight.shape[1] > 4  # neither depthwise nor the first, which sees the image
        and not (isinstance(layer, nn.Conv1d | nn.Conv2d) and layer.groups > 1)
    ]


def hold_zeros(parameters: Iterable[nn.Parameter]) -> list[torch.utils.hooks.RemovableHandle]:
    """Zeros of these parameters stay zero in training: their gradients are zero from here on, and weight decay moves no zero.

    True of SGD and Adam alike, as long as nothing was accumulated before. Returns what ``remove()`` ends that by.
    """
    handles = []
    for parameter in parameters:
        kept = parameter.detach() != 0
        if not bool(kept.all()):
            handles.append(parameter.register_hook(lambda gradient, kept=kept: gradient * kept))
    return handles


def zeros(parameters: Iterable[torch.Tensor]) -> float:
    """Share of zeros among all weights given."""
    counts = [(int((p == 0).sum()), p.numel()) for p in parameters]
    return sum(n for n, _ in counts) / max(1, sum(total for _, total in counts))


def profit(runtime: str, numeric: str, *, share: float | None = None, pattern: str | None = None) -> str:
    """What a device's runtime makes of zeros, in words: of a scheme's ``numeric`` (int8, float16, float32)."""
    if runtime == "tensorrt" and pattern == "2:4":
        return "TensorRT's sparse tensor cores (Ampere and later) take 2:4 weights where the builder is given SPARSE_WEIGHTS"
    if runtime == "litert" and numeric != "int8":
        enough = share is not None and share >= XNNPACK_LEAST
        return "XNNPACK has sparse kernels for float pointwise convolutions" + (
            "" if enough else f", but takes them only from {XNNPACK_LEAST:.0%} zeros on: nothing becomes faster"
        )
    return f"{runtime} multiplies by zeros as by other {numeric} weights: only the compressed file becomes smaller, nothing faster"


def parsed(pattern: str) -> tuple[int, int]:
    """N and M of "N:M". Raises InputError for anything else."""
    left, colon, right = pattern.partition(":")
    if not (colon and left.isascii() and left.isdigit() and right.isascii() and right.isdigit() and 0 < int(left) < int(right) <= 64):
        raise InputError(f"pattern = {pattern!r}", where="compress", expected='"N:M", N of every M weights left', mend='pattern = "2:4"')
    return int(left), int(right)


def _largest(weight: torch.Tensor, share: float) -> torch.Tensor:
    gone = math.ceil(share * weight.numel())
    order = weight.abs().flatten().argsort(stable=True)
    kept = torch.ones(weight.numel(), dtype=torch.bool)
    kept[order[:gone]] = False
    return kept.reshape(weight.shape)


def _n_of_m(weight: torch.Tensor, n: int, m: int) -> torch.Tensor:
    blocks = weight.abs().transpose(1, -1).unflatten(-1, (-1, m))  # neighbours are input channels, the last dimension here
    kept = torch.zeros_like(blocks, dtype=torch.bool).scatter_(-1, blocks.topk(n, -1).indices, True)
    return kept.flatten(-2).transpose(1, -1)
