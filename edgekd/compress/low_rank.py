"""Large linear layers and pointwise convolutions become two layers of lower rank (Xue et al. 2013, "Restructuring of Deep Neural Network
Acoustic Models with Singular Value Decomposition"; Denton et al. 2014).

Given   … → Linear(in, out) → …
Result  … → Linear(in, rank) → Linear(rank, out) → …, where that saves multiply-accumulates; else the layer as it is
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from edgekd.compress.factored import factored, pointwise
from edgekd.errors import InputError

#: Layers of fewer weights stay: what another operator costs, in time and in scales, eats what it would save.
SMALLEST = 1024
#: Inner channels are multiples of this: vector kernels take four int8 values at a time.
MULTIPLE = 4


def low_rank(
    module: nn.Module, example: torch.Tensor, *, energy: float | None = None, rank: float | None = None, smallest: int = SMALLEST
) -> nn.Module:
    """A copy of ``module`` with its large linear layers and pointwise convolutions factored, where that takes fewer MACs.

    ``energy`` in (0, 1] is the share of the squared singular values that each keeps at least, ``rank`` in (0, 1) the share of the rank that
    its shape allows; one of the two. ``example`` float [n, C, H, W] is fed once, to see that the module still works. Raises InputError for
    other values, or where no layer can be factored with profit.
    """
    if (energy is None) == (rank is None):
        raise InputError("energy and rank say the same in two ways", where="compress", expected="one of the two", mend="energy = 0.9")
    if not 0 < (energy if energy is not None else rank or 0) <= 1:
        name, value = ("energy", energy) if energy is not None else ("rank", rank)
        raise InputError(f"{name} = {value}", where="compress", expected="above 0, at most 1")
    made, changed = copy.deepcopy(module), 0
    for path in large(made, smallest):
        layer = made.get_submodule(path)
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        inner = _rank(layer, energy, rank)
        rows, columns = layer.weight.shape[:2]
        if inner * (rows + columns) < rows * columns:
            made.set_submodule(path, factored(layer, inner))
            changed += 1
    if not changed:
        raise InputError(
            "no layer takes fewer MACs at this rank",
            where="compress",
            expected=f"linear layers or pointwise convolutions of at least {smallest} weights, and a lower rank",
            mend=f"{'energy' if energy is not None else 'rank'} = {0.8 * (energy or rank or 1):.2f}",
        )
    _check(made, example)
    return made


def large(module: nn.Module, smallest: int = SMALLEST) -> list[str]:
    """Paths of the layers that could be factored: linear ones and pointwise convolutions of one user, of ``smallest`` weights at least."""
    inside = {id(child) for parent in module.modules() if isinstance(parent, nn.MultiheadAttention) for child in parent.modules()}
    shared = {id(p): 0 for p in module.parameters()}
    for _, parameter in module.named_parameters(remove_duplicate=False):
        shared[id(parameter)] += 1
    return [
        path
        for path, layer in module.named_modules()
        if path
        and id(layer) not in inside
        and (isinstance(layer, nn.Linear) or pointwise(layer))
        and isinstance(weight := layer.weight, nn.Parameter)
        and weight.numel() >= smallest
        and shared[id(weight)] == 1
    ]


def _rank(layer: nn.Linear | nn.Conv2d, energy: float | None, rank: float | None) -> int:
    weight = layer.weight.detach().flatten(1)
    if energy is None:
        wanted = round((rank or 0) * min(weight.shape))
    else:
        squares = torch.linalg.svdvals(weight.double()).square().cumsum(0)
        wanted = 1 + int((squares < energy * squares[-1] * (1 - 1e-12)).sum())
    return min(*weight.shape, max(MULTIPLE, -(-wanted // MULTIPLE) * MULTIPLE))


@torch.no_grad()
def _check(made: nn.Module, example: torch.Tensor) -> None:
    was_training = made.training
    try:
        made.eval()(example[:1])
    except Exception as error:  # whatever the user's forward() raises
        raise InputError(
            f"with factored layers the module does not work ({str(error).splitlines()[0] if str(error) else type(error).__name__})",
            where=type(made).__name__,
            expected="layers that are called, not read (layer(x) instead of layer.weight)",
        ) from error
    finally:
        made.train(was_training)
