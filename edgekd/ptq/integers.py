"""What NNCF decided, carried out under the rules of the waist: every activation has integers, and who must share a scale shares it.

Given   a float graph, and NNCF's ranges, weight scales and corrected biases (it leaves outputs and some sums float, and knows no rule of a
        runtime's: one scale for concat and pooling, the prescribed ones of softmax and logistic)
Result  the integer graph: NNCF's scale where it has one, the widest where several must be one, and the step of least squared error over
        the samples where it has none
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import nn

from edgekd.quant.freeze import freeze
from edgekd.quant.graph import QuantGraph, Quantization
from edgekd.quant.passes.rename import renamed
from edgekd.quant.prepare import QatModule, weight_axis
from edgekd.quant.scheme import Scheme

#: Samples, and how many at a time, that ranges are read off where NNCF has none.
OBSERVED, BATCH = 64, 8


class Found(Protocol):
    """See ``edgekd.ptq.nncf.Found``."""

    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]: ...

    @property
    def scales(self) -> Mapping[str, np.ndarray]: ...

    @property
    def constants(self) -> Mapping[str, np.ndarray]: ...


def with_plain_names(graph: QuantGraph) -> QuantGraph:
    """The same graph under names that a torch module can hold, and that no exporter gives to what it puts in between."""
    new = _plain(graph.tensors, {"input", "output", *dir(nn.ParameterDict())})
    called = _plain([op.name for op in graph.ops], set())
    return renamed(graph, new, called)


def _plain(names: Iterable[str], taken: set[str]) -> dict[str, str]:
    new: dict[str, str] = {}
    for name in names:
        wanted = plain = re.sub(r"[^\w-]+", "_", name).strip("_") or "unnamed"
        count = 1
        while plain in taken:
            count += 1
            plain = f"{wanted}_{count}"
        taken.add(plain)
        new[name] = plain
    return new


def frozen_float(graph: QuantGraph, scheme: Scheme) -> QuantGraph:
    """A float graph (channels first) as a target that computes in float16 or float32 has it, channels last."""
    return freeze(QatModule(graph, scheme))


@torch.no_grad()
def integers(
    graph: QuantGraph, scheme: Scheme, entry: Quantization | None, found: Found, samples: np.ndarray
) -> tuple[QuantGraph, tuple[str, ...]]:
    """The integer graph (channels last) of a float one (channels first), and what a reader must know of its scales.

    ``entry``: of the input, None where that is indices. ``samples`` [n, ...] as the graph is fed. Raises InputError as ``freeze`` does.
    """
    module = QatModule(graph, scheme)
    if entry is not None:
        _prescribe(module, module.group_of[graph.inputs[0]], entry)
    part = samples[np.linspace(0, len(samples) - 1, min(OBSERVED, len(samples))).astype(int)]
    module.calibrate([torch.from_numpy(np.ascontiguousarray(part[at : at + BATCH])) for at in range(0, len(part), BATCH)])
    taken = [_adopt(module, index, found) for index in range(len(module.groups))]
    module._raise_small_addends()  # the sums' steps are others now
    for name in module.weights:
        _adopt_weight(module, name, found)
    for op in graph.ops:
        for name in op.inputs[2:] if module.bias(op) is not None else ():
            if name in found.constants and found.constants[name].shape == tuple(module.values[name].shape):
                module.values[name].copy_(torch.from_numpy(np.array(found.constants[name])))
    free = [group for group in module.groups if group.fixed is None]
    notes = (
        f"of {len(free)} scales of activations {sum(taken)} are NNCF's; the others have the least squared error over {len(part)} samples"
    )
    return freeze(module), (notes,)


def _prescribe(module: QatModule, index: int, quantization: Quantization) -> None:
    """Fix the scale of a group."""
    groups = list(module.groups)
    groups[index] = replace(groups[index], fixed=quantization)
    module.groups = tuple(groups)
    _set(module, index, *quantization.single)
    module.steps[index].requires_grad_(False)


def _adopt(module: QatModule, index: int, found: Found) -> bool:
    """Give a group the range that NNCF has for its tensors; False where it has none, or a rule prescribes another."""
    group = module.groups[index]
    ranges = [found.ranges[name] for name in group.tensors if name in found.ranges]
    if group.fixed is not None or not ranges:
        return False
    low, high = min(0.0, *(r[0] for r in ranges)), max(0.0, *(r[1] for r in ranges))
    if module.scheme.symmetric_activations:
        scale, zero = max(-low / 128, high / 127), 0
    else:
        scale = (high - low) / 255
        zero = round(-128 - low / scale) if scale else 0
    if not (math.isfinite(scale) and scale > 1e-12):
        return False  # of what is always zero, nothing is learned
    _set(module, index, scale, min(127, max(-128, zero)))
    return True


def _set(module: QatModule, index: int, scale: float, zero: int) -> None:
    module.steps[index].fill_(math.log2(scale))
    module.zero_points[index] = zero  # pyright: ignore[reportIndexIssue]
    module._levels.pop(index, None)


def _adopt_weight(module: QatModule, name: str, found: Found) -> None:
    """NNCF's scales of a weight of 8 bits, where they lie along the outputs as ours do; weights of 4 keep their own."""
    if module.scheme_of(name)[0] != 8:
        return
    step, scale = module.weight_steps[name], found.scales.get(name)
    channels = module.values[name].shape[weight_axis(module.graph, name)]
    if scale is not None and len(scale) in (1, channels) and step.numel() in (len(scale), channels) and (scale > 0).all():
        wide = np.broadcast_to(scale, (step.numel(),))
        step.copy_(torch.from_numpy(np.log2(wide).astype(np.float32)).reshape(step.shape))
