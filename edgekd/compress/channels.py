"""Structured pruning: whole channels leave, and every layer that made, moved or read them becomes smaller.

Given   a module, and the share of its MACs that shall be left
Result  a copy with fewer channels, the same code around them; what is left computes what it did when nobody read the removed ones
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from edgekd.compress.choose_units import evenly, globally, least
from edgekd.compress.couple import coupling
from edgekd.compress.importance import IMPORTANCES, Losses
from edgekd.compress.shape import like
from edgekd.compress.units import Coupling
from edgekd.errors import InputError

#: Channels left are multiples of this: vector kernels take four int8 values at a time.
MULTIPLE = 4
#: How far two computations of one thing may lie apart in float32, over the largest value.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Rule:
    """How channels are chosen. ``spread`` "even": every layer keeps the same share, so that shapes follow from the module alone;
    "importance": the least important of all layers go, wherever they are. Counts are multiples of ``multiple``."""

    importance: str = "l2"
    spread: str = "even"
    multiple: int = MULTIPLE

    def __post_init__(self) -> None:
        for name, value, known in (
            ("importance", self.importance, tuple(IMPORTANCES)),
            ("spread", self.spread, ("even", "importance")),
        ):
            if value not in known:
                raise InputError(f"{name} = {value!r}", where="compress", expected=" or ".join(known))
        if self.multiple < 1:
            raise InputError(f"multiple = {self.multiple}", where="compress", expected="at least 1")


def channels(module: nn.Module, example: torch.Tensor, *, macs: int, rule: Rule = Rule(), losses: Losses | None = None) -> nn.Module:
    """A copy of ``module`` with the most channels of which it has ``macs`` multiply-accumulates a sample, or less.

    ``example`` float [n, C, H, W] says the shape of a sample; ``losses`` yields the losses that importance "taylor" differentiates. Raises
    InputError if so few are out of reach, if nothing can be removed, or if the module's code counts on the sizes that it had.
    """
    known = coupling(module, example)
    if not known.bundles:
        raise InputError(
            "no channels can be removed",
            where=type(module).__name__,
            expected="convolutions or linear layers whose outputs no reshape takes apart",
            mend='method = "low_rank" or "sparsity"',
        )
    if known.macs(np.ones(known.count, bool)) <= macs:
        return copy.deepcopy(module)
    scores = IMPORTANCES[rule.importance](module, known, losses)
    if rule.spread == "even":
        kept = evenly(known, scores, macs, rule.multiple)
    else:
        kept = globally(known, scores, macs, rule.multiple, per_mac=rule.importance == "taylor")
    return cut(module, known, kept, example)


def module_macs(module: nn.Module, example: torch.Tensor) -> int:
    """Multiply-accumulates of one sample of ``example``: convolutions and matrix products, as edgekd.quant.size counts."""
    known = coupling(module, example)
    return known.macs(np.ones(known.count, bool))


def least_share(module: nn.Module, example: torch.Tensor, multiple: int = MULTIPLE) -> float:
    """The smallest share of the MACs of ``module`` that ``channels`` can leave."""
    known = coupling(module, example)
    return known.macs(least(known, multiple)) / known.macs(np.ones(known.count, bool))


def cut(module: nn.Module, known: Coupling, kept: np.ndarray, example: torch.Tensor) -> nn.Module:
    """A copy of ``module`` with the units of ``kept`` bool [count] alone. Raises InputError where it does not compute what it did."""
    state = {name: tensor.detach() for name, tensor in module.state_dict().items()}
    for (name, dim), units in known.units.items():
        chosen = torch.from_numpy(np.flatnonzero(kept[units]))
        state[name] = state[name].index_select(dim, chosen)
    made = like(module, state)
    made = copy.deepcopy(made) if made is module else made
    made.load_state_dict(state)
    _check(module, made, known, kept, example)
    return made


@torch.no_grad()
def _check(module: nn.Module, made: nn.Module, known: Coupling, kept: np.ndarray, example: torch.Tensor) -> None:
    """Where the original no longer reads what was removed, it answers what is left of it answers: on two samples of noise."""
    silent = copy.deepcopy(module).eval()
    state = silent.state_dict()
    for name, dim in known.reads & known.units.keys():
        gone = torch.from_numpy(np.flatnonzero(~kept[known.units[name, dim]]))
        state[name].index_fill_(dim, gone, 0.0)
    x = torch.randn(2, *example.shape[1:], generator=torch.Generator().manual_seed(0))
    was_training = made.training
    expected = silent(x)
    try:
        found = made.eval()(x)
    except Exception as error:  # whatever the user's forward() raises
        raise _counts_on_sizes(module, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    finally:
        made.train(was_training)
    if found.shape != expected.shape or not torch.allclose(found, expected, rtol=0, atol=TOLERANCE * float(expected.abs().max() + 1e-6)):
        raise _counts_on_sizes(module, "what is left of it answers otherwise")


def _counts_on_sizes(module: nn.Module, found: str) -> InputError:
    return InputError(
        f"with fewer channels the module does not work ({found})",
        where=type(module).__name__,
        expected="a forward() that takes sizes from its tensors (x.shape[1]) instead of from numbers",
        mend='correct it, or take method = "low_rank"',
    )
