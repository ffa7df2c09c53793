"""A module takes the shapes of a state dictionary: how channels are cut out, and how a compressed student is loaded again."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from edgekd.compress.factored import factored

#: What of a module's own numbers says the size of its tensors, by the tensor and its dimension.
_COUNTS: tuple[tuple[type[nn.Module], str, str, int], ...] = (
    (nn.Linear, "out_features", "weight", 0),
    (nn.Linear, "in_features", "weight", 1),
    (nn.modules.batchnorm._NormBase, "num_features", "running_mean", 0),
    (nn.PReLU, "num_parameters", "weight", 0),
)


def like(module: nn.Module, state: Mapping[str, torch.Tensor]) -> nn.Module:
    """``module`` with the shapes of ``state``, which a compressed copy of it wrote; itself where they are its own.

    The weights are arbitrary until they are loaded. What fits not even so is left to ``load_state_dict`` to refuse.
    """
    own = module.state_dict()
    if own.keys() == state.keys() and all(own[name].shape == tensor.shape for name, tensor in state.items()):
        return module
    made = copy.deepcopy(module)
    for path, layer in list(made.named_modules()):
        first = state.get(f"{path}.0.weight")
        if isinstance(layer, nn.Linear | nn.Conv2d) and f"{path}.weight" not in state and first is not None:
            made.set_submodule(path, factored(layer, len(first)))
    own = made.state_dict(keep_vars=True)
    sizes = {name: tensor.shape for name, tensor in own.items()}
    for name, tensor in state.items():
        if name in own and own[name].shape != tensor.shape and own[name].ndim == tensor.ndim:
            _replace(made, name, tensor)
    for path, layer in made.named_modules():
        prefix = f"{path}." if path else ""
        if (before := sizes.get(f"{prefix}weight")) is not None or isinstance(layer, nn.modules.batchnorm._NormBase):
            _recount(layer, before)
    return made


def _replace(module: nn.Module, name: str, tensor: torch.Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    old = getattr(owner, leaf)
    new = tensor.detach().clone().to(old.dtype)
    setattr(owner, leaf, nn.Parameter(new, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else new)


def _recount(layer: nn.Module, before: torch.Size | None) -> None:
    """Set what ``layer`` says of itself by the tensors that it has; ``before`` is the shape that its weight had."""
    for kind, attribute, tensor, dim in _COUNTS:
        if isinstance(layer, kind) and (held := getattr(layer, tensor, None)) is not None:
            setattr(layer, attribute, held.shape[dim])
    if isinstance(layer, _ConvNd) and before is not None:
        outer, inner = (1, 0) if layer.transposed else (0, 1)
        if layer.groups > 1 and before[inner] == 1 and not layer.transposed:  # depthwise: a group a channel
            layer.groups = layer.weight.shape[0] // (before[0] // layer.groups)
        layer.out_channels = layer.weight.shape[outer] * (layer.groups if layer.transposed else 1)
        layer.in_channels = layer.weight.shape[inner] * (1 if layer.transposed else layer.groups)
