"""How promising an untrained network is, without training it: for ranking, not for foretelling an accuracy."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

#: What has two sides: on or off for each value.
SWITCHES = (nn.ReLU, nn.ReLU6)


@torch.no_grad()
def naswot(module: nn.Module, x: torch.Tensor) -> float:
    """log |det K| of K[i, j] = how many rectifiers are on for both samples i and j, or off for both (Mellor et al. 2021, Neural
    Architecture Search without Training), divided by the number of samples.

    ``x`` float [N, C, H, W], different samples; in training mode, where the batch norms center what they are fed. The more differently a
    network treats different samples before it has learned anything, the higher. −inf where it treats two alike, or has no rectifier.
    """
    kernel = torch.zeros(len(x), len(x), dtype=torch.float64)

    def count(_: nn.Module, __: object, answer: torch.Tensor) -> None:
        on = (answer.reshape(len(x), -1) > 0).float()
        kernel.add_((on @ on.T + (1 - on) @ (1 - on).T).double())

    hooks = [m.register_forward_hook(count) for m in module.modules() if isinstance(m, SWITCHES)]
    was = module.training
    try:
        module.train()(x)
    finally:
        module.train(was)
        for hook in hooks:
            hook.remove()
    if not hooks:
        return -np.inf
    sign, determinant = np.linalg.slogdet(kernel.numpy())
    return float(determinant) / len(x) if sign > 0 else -np.inf
