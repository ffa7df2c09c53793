"""Which layers take weights of 4 bits: those that change the answers least for the bytes that they save (after Yao et al. 2021, HAWQ-V3).
And which take activations of 16: those that 8 bits cost most.

Given   a calibrated QatModule of 8 bits, and samples
Result  names of operators, as ``Scheme.four_bits`` and ``Scheme.sixteen_bits`` have them, so that the exported file keeps its limits
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

from edgekd.errors import DoesNotFit
from edgekd.quant import sixteen_bits
from edgekd.quant.four_bits import candidates
from edgekd.quant.freeze import freeze
from edgekd.quant.graph import QuantGraph
from edgekd.quant.prepare import QatModule
from edgekd.records import Bits, BudgetUse, Figure

#: Activations get 16 bits until those left change so small a share of what all of them change.
LEFT = 0.1


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


def choose(module: QatModule, x: torch.Tensor, limit: float, file_bytes: Callable[[QuantGraph], int]) -> Bits:
    """The layers of 4 bits with which ``file_bytes`` of the frozen graph is at most ``limit``.

    They are taken by divergence for each weight, the least first: what layers change together is taken for the sum of what each changes.
    Raises DoesNotFit if all of them do not suffice.
    """
    found = divergences(module, x)
    weights = {op.name: module.values[op.inputs[1]].numel() for op in candidates(module.graph)}
    taken: tuple[str, ...] = ()
    size = _bytes(module, taken, file_bytes)
    for name in sorted(found, key=lambda name: (max(found[name], 0.0) / weights[name], name)):
        if size <= limit:
            break
        taken = (*taken, name)
        size = _bytes(module, taken, file_bytes)
    if size > limit:
        raise DoesNotFit(
            f"{size:,} B with all {len(taken)} layers in 4 bits that may have them, of {limit:,.0f}\n"
            "  to mend:  smaller values in the recipe's student.space, or a wider budget"
        )
    return Bits(taken, found, {"model_bytes": Figure(size, "B", "counted", "the file as it would be before quantized training")})


@torch.no_grad()
def activation_divergences(module: QatModule, x: torch.Tensor) -> dict[str, float]:
    """KL(softmax of floats ‖ softmax with the activations of one scale in 8 bits), mean over ``x`` [N, C, H, W], of each that may have 16.

    They are named as in ``sixteen_bits.candidates``. Of several outputs the softmax is over all of them together.
    """
    module.eval()
    mode, module.mode = module.mode, "float"
    try:
        before = functional.log_softmax(module(x), -1)
        found = {}
        for name, tensors in sixteen_bits.candidates(module.graph, module.scheme).items():
            module.probed = module.group_of[tensors[0]]
            after = functional.log_softmax(module(x), -1)
            found[name] = float(functional.kl_div(after, before, reduction="batchmean", log_target=True))
    finally:
        module.mode, module.probed = mode, None
    return found


def choose_activations(module: QatModule, x: torch.Tensor, uses: Callable[[QuantGraph], Sequence[BudgetUse]]) -> Bits:
    """The activations of 16 bits with which the frozen graph keeps every budget that ``uses`` counts of it.

    They are taken by divergence, the largest first, those passed over that do not fit, until what is left changes less than LEFT of what
    all change.
    """
    found = activation_divergences(module, x)
    eight, scheme = freeze(module), module.scheme
    taken: tuple[str, ...] = ()
    used = uses(eight)
    for name in sorted(found, key=lambda name: (-found[name], name)):
        if sum(max(found[other], 0.0) for other in found if other not in taken) <= LEFT * sum(max(d, 0.0) for d in found.values()):
            break
        if name in taken:
            continue
        more = sixteen_bits.closed(module.graph, scheme, (*taken, name))
        tried = uses(sixteen_bits.widened(eight, scheme, more))
        if all(use.fits for use in tried):
            taken, used = more, tried
    where = "the file as it would be before quantized training"
    figures = {use.name: Figure(use.used, use.unit, "predicted", where) for use in used}
    return Bits((), {}, figures, taken, found)


def _bytes(module: QatModule, names: Iterable[str], file_bytes: Callable[[QuantGraph], int]) -> int:
    """Of the file with the layers ``names`` in 4 bits."""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(_with(module, name))
        return file_bytes(freeze(module))


@contextmanager
def _with(module: QatModule, name: str) -> Generator[None]:
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
