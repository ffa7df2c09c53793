"""How much a unit of channels matters. Every function gives one score a unit, float64 [count], the least for what is removed first."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import nn

from edgekd.compress.units import Axis, Coupling
from edgekd.errors import InputError

#: Yields the loss of one batch after another, of the module that it is given.
Losses = Callable[[nn.Module], Iterable[torch.Tensor]]


def l2(module: nn.Module, known: Coupling, _: Losses | None = None) -> np.ndarray:
    """The L2 norm of all weights of a unit (Li et al. 2017, "Pruning Filters for Efficient ConvNets", whose norm is L1; over a coupled
    unit as in Fang et al. 2023, "DepGraph"), over the mean of the units like it: layers have weights of many sizes."""
    state = module.state_dict()
    squares = sum((_summed(known, axis, _along(state[axis[0]].double().square(), axis[1])) for axis in known.units), np.zeros(known.count))
    return _relative(np.sqrt(squares), known)


def bn_scale(module: nn.Module, known: Coupling, _: Losses | None = None) -> np.ndarray:
    """The factors of batch norm, as they are (Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming").

    Raises InputError for a unit that no batch norm scales.
    """
    state = module.state_dict()
    scaled = [(name, 0) for name in known.scales if (name, 0) in known.units]
    sums = sum((_summed(known, axis, state[axis[0]].double().abs()) for axis in scaled), np.zeros(known.count))
    counts = sum((_summed(known, axis, torch.ones(len(state[axis[0]]))) for axis in scaled), np.zeros(known.count))
    for bundle in known.bundles:
        if not counts[bundle].all():
            name = next(axis[0] for axis, units in known.units.items() if np.isin(units, bundle).any())
            raise InputError(
                f"the channels of {name} are scaled by no batch norm",
                where="compress.importance",
                expected='"taylor" or "l2" for such a module',
                mend='importance = "taylor"',
            )
    return sums / np.maximum(counts, 1)


def taylor(module: nn.Module, known: Coupling, losses: Losses | None = None) -> np.ndarray:
    """The loss's change where nobody reads the unit any more, to the first order, squared (Molchanov et al. 2019, "Importance Estimation
    for Neural Network Pruning"): (Σ w · ∂loss/∂w)² over the weights that read it, which is what a gate on its activations would have;
    the mean over batches.

    Raises InputError without losses, or where a unit's weights get no gradient.
    """
    if losses is None:
        raise InputError("no samples to take gradients of", where="compress.importance", expected="losses", mend='importance = "l2"')
    parameters = dict(module.named_parameters())
    readers = [axis for axis in known.units if axis in known.reads and axis[0] in parameters]
    total, batches = np.zeros(known.count), 0
    for loss in losses(module):
        module.zero_grad(set_to_none=True)
        loss.backward()
        change = np.zeros(known.count)
        for axis in readers:
            weight = parameters[axis[0]]
            if weight.grad is not None:
                change += _summed(known, axis, _along((weight.detach() * weight.grad).double(), axis[1]))
        total, batches = total + change**2, batches + 1
    module.zero_grad(set_to_none=True)
    if not batches or not total.any():
        raise InputError("no gradients", where="compress.importance", expected="at least one batch whose loss depends on the weights")
    return total / batches


IMPORTANCES: dict[str, Callable[[nn.Module, Coupling, Losses | None], np.ndarray]] = {"l2": l2, "bn_scale": bn_scale, "taylor": taylor}


def _along(tensor: torch.Tensor, dim: int) -> torch.Tensor:
    """Summed over all dimensions but one."""
    return tensor.transpose(0, dim).flatten(1).sum(1) if tensor.ndim > 1 else tensor


def _summed(known: Coupling, axis: Axis, values: torch.Tensor) -> np.ndarray:
    """``values`` of the slices along an axis, added up by unit."""
    return np.bincount(known.units[axis], values.double().numpy(), known.count)


def _relative(scores: np.ndarray, known: Coupling) -> np.ndarray:
    found = scores.copy()
    for bundle in known.bundles:
        found[bundle] = scores[bundle] / max(float(scores[bundle].mean()), 1e-30)
    return found
