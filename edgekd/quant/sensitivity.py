"""Which layers take weights of 4 bits: those that change the answers least for the bytes that they save (after Yao et al. 2021, HAWQ-V3).

Given   a calibrated QatModule of 8 bits, and samples
Result  names of operators, as ``Scheme.four_bits`` has them, so that the exported file keeps a limit
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional

from edgekd.errors import DoesNotFit
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.prepare import QatModule
from edgekd.quant.scheme import FOUR_BITS


@dataclass(frozen=True)
class Bits:
    """``four_bits`` are the layers of 4 bits, in the order in which they were taken; ``divergence`` is what each alone changes, in nats, by
    the name of its operator; ``file_bytes`` are those of the exported file then."""

    four_bits: tuple[str, ...]
    divergence: Mapping[str, float]
    file_bytes: int


@torch.no_grad()
def divergences(module: QatModule, x: torch.Tensor) -> dict[str, float]:
    """KL(softmax of 8 bits ‖ softmax with one layer's weights in 4), mean over ``x`` [N, C, H, W], of every layer that may have 4.

    Of several outputs the softmax is over all of them together.
    """
    module.eval()
    before = functional.log_softmax(module(x), -1)
    found = {}
    for op in candidates(module.graph):
        with _with(module, op.name):
            after = functional.log_softmax(module(x), -1)
        found[op.name] = float(functional.kl_div(after, before, reduction="batchmean", log_target=True))
    return found


def choose(module: QatModule, x: torch.Tensor, limit: int, file_bytes: Callable[[tuple[str, ...]], int]) -> Bits:
    """The layers of 4 bits with which ``file_bytes`` (of the file, with those layers in 4 bits) is at most ``limit``.

    They are taken by divergence for each weight, the least first: what layers change together is taken for the sum of what each changes.
    Raises DoesNotFit if all of them do not suffice.
    """
    found = divergences(module, x)
    weights = {op.name: module.values[op.inputs[1]].numel() for op in candidates(module.graph)}
    taken: tuple[str, ...] = ()
    size = file_bytes(taken)
    for name in sorted(found, key=lambda name: (max(found[name], 0.0) / weights[name], name)):
        if size <= limit:
            break
        taken = (*taken, name)
        size = file_bytes(taken)
    if size > limit:
        raise DoesNotFit(
            f"{size:,} B with all {len(taken)} layers in 4 bits that may have them, of {limit:,}\n"
            "  to mend:  smaller values in the recipe's student.space, or a wider budget"
        )
    return Bits(taken, found, size)


def candidates(graph: QuantGraph) -> list[ops.Op]:
    """The operators that may have 4 bits, but for those that share their weights with another."""
    weighted = [op for op in graph.ops if isinstance(op, ops.WEIGHTED)]
    read = [op.inputs[1] for op in weighted]
    return [op for op in weighted if isinstance(op, FOUR_BITS) and read.count(op.inputs[1]) == 1]


@contextmanager
def _with(module: QatModule, name: str) -> Iterator[None]:
    """``module`` with one more layer of 4 bits, at the step that suits its weights as they are."""
    weight = next(op.inputs[1] for op in module.graph.ops if op.name == name)
    scheme, step = module.scheme, module.weight_steps[weight]
    module.scheme = replace(scheme, four_bits=(*scheme.four_bits, name))
    module.weight_steps[weight] = nn.Parameter(module._weight_step(weight))
    try:
        yield
    finally:
        module.scheme = scheme
        module.weight_steps[weight] = step
