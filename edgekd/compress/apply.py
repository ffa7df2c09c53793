"""What a recipe's [compress] asks for, done to a module."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from edgekd import lazy
from edgekd.compress import COMPRESSORS
from edgekd.compress.channels import Rule, channels, module_macs
from edgekd.compress.importance import Losses
from edgekd.compress.sparsity import profit
from edgekd.profile.schema import Profile
from edgekd.recipe.schema_compress import Compress


def applied(
    module: nn.Module, example: torch.Tensor, table: Compress, *, macs: int = 0, done: float = 1.0, losses: Losses | None = None
) -> nn.Module:
    """A copy of ``module`` as ``table`` wants it; ``macs`` is what channels leave.

    ``done`` in (0, 1] is how far the rounds have come: zeros grow by the cubic of Zhu and Gupta 2017 ("To Prune, or Not to Prune"), fast at
    first. Raises InputError as the compressor does.
    """
    compressor: Callable[..., nn.Module] = lazy.load(COMPRESSORS[table.method])
    if table.method == "channels":
        rule = Rule(table.importance or "taylor", table.spread or "even")
        return compressor(module, example, macs=macs, rule=rule, losses=losses)
    if table.method == "low_rank":
        return compressor(module, example, energy=table.energy, rank=table.rank)
    if table.pattern is not None:
        return compressor(module, pattern=table.pattern)
    return compressor(module, share=(table.share or 0) * (1 - (1 - done) ** 3))


def outlined(module: nn.Module, example: torch.Tensor, share: float, table: Compress) -> nn.Module:
    """``module`` pruned to the ``share`` of its MACs in the rounds of ``table``, whatever its weights are: an even spread has these shapes,
    since they follow from the module's own."""
    for _ in range(table.steps):
        limit = round(module_macs(module, example) * share ** (1 / table.steps))
        module = channels(module, example, macs=limit, rule=Rule("l2", "even"))
    return module


def notes(table: Compress, profile: Profile) -> tuple[str, ...]:
    """What a plan has to say of a student that will be compressed."""
    before = "" if table.checkpoint else ", which is not trained yet"
    if table.method == "channels" and table.spread == "importance":
        return (f"which layers lose channels depends on the trained student{before}: bytes and memory are those of an even spread",)
    if table.method == "low_rank" and table.energy is not None and not table.checkpoint:
        return ("ranks depend on the trained student, which is not trained yet: counted as it is before it is factored",)
    if table.method == "sparsity":
        return (profit(profile.deploy.runtime, profile.scheme.numeric, share=table.share, pattern=table.pattern),)
    return ()
