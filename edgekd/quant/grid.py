"""Which activations are quantized, how far their integers reach, and who shares a scale: decided from graph and scheme alone."""

from __future__ import annotations

from dataclasses import dataclass

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph, Quantization
from edgekd.quant.ops import SHARES_SCALE, Logistic, Relu, Softmax

#: TFLite prescribes the output of softmax and logistic (TFLite 8-bit quantization specification, 2019).
FIXED_OUTPUT = Quantization.per_tensor(1 / 256, -128)
#: An image student sees (p − 128)/128 of 8-bit pixels p.
IMAGE_INPUT = Quantization.per_tensor(1 / 128, 0)


def probabilities(*, symmetric: bool) -> Quantization:
    """What softmax and logistic write. A symmetric runtime has no zero point of −128: half the range is then enough."""
    return Quantization.per_tensor(1 / 127, 0) if symmetric else FIXED_OUTPUT


@dataclass(frozen=True)
class Group:
    """Tensors that share one scale. ``fixed`` where a rule prescribes it; ``rectified`` where no value is below zero."""

    tensors: tuple[str, ...]
    rectified: bool
    fixed: Quantization | None


def groups(graph: QuantGraph, *, symmetric: bool) -> tuple[Group, ...]:
    """One group for each scale of ``graph``, in the order in which the tensors are made.

    Raises InputError where an operator that shares scales meets two that are prescribed and differ.
    """
    names = [*graph.inputs, *(name for op in graph.ops for name in op.outputs)]
    leader = {name: name for name in names}

    def find(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for op in graph.ops:
        if isinstance(op, SHARES_SCALE):
            for name in op.inputs:
                leader[find(op.outputs[0])] = find(name)
    members: dict[str, list[str]] = {}
    for name in names:
        members.setdefault(find(name), []).append(name)
    return tuple(_group(graph, tuple(m), symmetric) for m in members.values())


def _group(graph: QuantGraph, tensors: tuple[str, ...], symmetric: bool) -> Group:
    fixed: list[Quantization] = []
    rectified = True
    for name in tensors:
        op = graph.producer(name)
        if op is None:
            fixed.append(IMAGE_INPUT)
            rectified = False
        elif isinstance(op, Softmax | Logistic):
            fixed.append(probabilities(symmetric=symmetric))
        elif not isinstance(op, SHARES_SCALE):
            rectified &= isinstance(op, Relu) or getattr(op, "activation", "none") != "none"
    if len({q.single for q in fixed}) > 1:
        raise InputError(
            f"{', '.join(tensors)} must share one scale, but two are prescribed",
            where=graph.name,
            expected="softmax, logistic and the input not joined by concat, pooling or reshape with one another",
        )
    return Group(tensors, rectified, fixed[0] if fixed else None)
