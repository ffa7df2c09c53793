"""Which activations are quantized, how far their integers reach, and who shares a scale: decided from graph and scheme alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph, Quantization
from edgekd.quant.ops import SHARES_SCALE, WEIGHTED, Logistic, Relu, Softmax, Tanh

#: TFLite prescribes the output of softmax and logistic (TFLite 8-bit quantization specification, 2019).
FIXED_OUTPUT = Quantization.per_tensor(1 / 256, -128)
#: The same for tanh.
TANH_OUTPUT = Quantization.per_tensor(1 / 128, 0)
#: The same for softmax, logistic and tanh in 16 bits.
FIXED_OUTPUT_16 = Quantization.per_tensor(1 / 32768, 0)
#: An image student sees (p − 128)/128 of 8-bit pixels p.
IMAGE_INPUT = Quantization.per_tensor(1 / 128, 0)
#: The same in words, as the metadata of graphs and files has it.
PIXELS = "(p - 128)/128 of 8-bit pixels p"


def probabilities(*, symmetric: bool) -> Quantization:
    """What softmax and logistic write. A symmetric runtime has no zero point of −128: half the range is then enough."""
    return Quantization.per_tensor(1 / 127, 0) if symmetric else FIXED_OUTPUT


@dataclass(frozen=True)
class Group:
    """Tensors that share one scale. ``fixed`` where a rule prescribes it; ``rectified`` where no value is below zero.

    ``bits``: 8, or 16 with a zero point of 0.
    """

    tensors: tuple[str, ...]
    rectified: bool
    fixed: Quantization | None
    bits: int = 8


def groups(graph: QuantGraph, *, symmetric: bool, sixteen: Collection[str] = ()) -> tuple[Group, ...]:
    """One group for each scale of ``graph``, in the order in which the tensors are made. Those that an operator named in ``sixteen`` writes
    have 16 bits.

    Raises InputError where an operator that shares scales meets two that are prescribed and differ.
    """
    constants, names = constants_read(graph), [name for name in graph.inputs if _has_scale(graph, name)]
    for op in graph.ops:
        names += [name for name in dict.fromkeys(op.inputs) if name in constants and name not in names]
        names += op.outputs
    leader = {name: name for name in names}

    def find(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for op in graph.ops:
        if isinstance(op, SHARES_SCALE):
            for name in filter(leader.__contains__, op.inputs):
                leader[find(op.outputs[0])] = find(name)
    members: dict[str, list[str]] = {}
    for name in names:
        members.setdefault(find(name), []).append(name)
    found = (_group(graph, tuple(m), symmetric) for m in members.values())
    wide = {name for op in graph.ops if op.name in sixteen for name in op.outputs}
    return tuple(_wide(group) if wide.intersection(group.tensors) else group for group in found)


def _wide(group: Group) -> Group:
    return replace(group, bits=16, fixed=None if group.fixed is None else FIXED_OUTPUT_16)


def constants_read(graph: QuantGraph) -> tuple[str, ...]:
    """Constants that are read as activations, not as weights: addends, factors, tables."""
    read = (name for op in graph.ops if not isinstance(op, WEIGHTED) for name in op.inputs)
    return tuple(name for name in dict.fromkeys(read) if graph.tensor(name).is_constant and _has_scale(graph, name))


def _has_scale(graph: QuantGraph, name: str) -> bool:
    """Indices have none."""
    return graph.tensor(name).dtype not in ("int32", "int64")


def _group(graph: QuantGraph, tensors: tuple[str, ...], symmetric: bool) -> Group:
    fixed: list[Quantization] = []
    rectified = True
    for name in tensors:
        op = graph.producer(name)
        if (data := graph.tensor(name).data) is not None:
            rectified &= bool((data >= 0).all())
        elif op is None:
            fixed.append(IMAGE_INPUT)
            rectified = False
        elif isinstance(op, Softmax | Logistic):
            fixed.append(probabilities(symmetric=symmetric))
        elif isinstance(op, Tanh):
            fixed.append(TANH_OUTPUT)
            rectified = False
        elif not isinstance(op, SHARES_SCALE):
            rectified &= isinstance(op, Relu) or getattr(op, "activation", "none") != "none"
    if len({q.single for q in fixed}) > 1:
        raise InputError(
            f"{', '.join(tensors)} must share one scale, but two are prescribed",
            where=graph.name,
            expected="softmax, logistic, tanh and the input not joined by concat, pooling or reshape with one another",
        )
    return Group(tensors, rectified, fixed[0] if fixed else None)
