"""Nouns of the C exporter: a call of a kernel with its parameters, and a kernel as a file of C."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.reference.profiles import limits_of, quantization
from edgekd.quant.reference.rounding import activation_bounds, quantize_multiplier

#: Values of a tensor → their type in C.
C_TYPES = {
    "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "uint16": "uint16_t", "int32": "int32_t", "int64": "int64_t",
    "float32": "float",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Array:
    """A constant array of the file, flat; equal arrays are written once. ``values`` have a dtype of C_TYPES."""

    values: np.ndarray


#: What a field of a kernel's struct is set to: a number, several (an array within the struct), or a pointer to an array, None for NULL.
Field = int | float | tuple[int, ...] | Array | None


@dataclass(frozen=True, eq=False)
class Call:
    """One call of one kernel: ``ek_…(&parameters, inputs…, output, scratch)``.

    ``kind`` is a key of c_sets' tables ("conv_s8"), ``struct`` the type of the parameters; ``fields`` are those that every set of kernels
    has alike, ``raw`` the weights and biases as the graph has them (channels last; depthwise [kh, kw, out]), which a kernel packs.
    An operator may be several calls; ``inputs`` are then those that this one reads, and each writes its part of ``output``.
    """

    kind: str
    struct: str
    fields: Mapping[str, Field]
    inputs: tuple[str, ...]
    output: str
    raw: Mapping[str, np.ndarray] = field(default_factory=dict)

    def number(self, name: str) -> int:
        """The field ``name``, which is an integer."""
        value = self.fields[name]
        assert isinstance(value, int), name
        return value


def _as_they_are(call: Call) -> Mapping[str, Field]:
    return {name: Array(values) for name, values in call.raw.items()}


def _no_scratch(call: Call, core: str) -> int:
    return 0


def _always(call: Call, core: str | None) -> bool:
    return True


@dataclass(frozen=True)
class Kernel:
    """One C function. ``file`` is relative to firmware/kernels; it may name others that it needs.

    ``pack`` gives the fields that hold ``raw`` as this kernel reads it (and may set any other field); ``scratch`` the bytes that it needs
    on ``core`` ("cortex-m4") while it runs; ``when`` whether it takes this call, where ``core`` None asks for all cores.
    """

    function: str
    file: str
    pack: Callable[[Call], Mapping[str, Field]] = _as_they_are
    scratch: Callable[[Call, str], int] = _no_scratch
    when: Callable[[Call, str | None], bool] = _always


#: Set of kernels: kind of call → its kernels; the first whose ``when`` agrees is taken.
Kernels = Mapping[str, tuple[Kernel, ...]]
Build = Callable[..., list[Call]]


def lacks(op: ops.Op, graph: QuantGraph, what: str) -> InputError:
    """The C exporter has no kernel for ``op`` as it stands."""
    return InputError(
        f"C has no {type(op).__name__} {what}",
        where=f"graph {graph.name}, operator {op.name}",
        expected="an operator that `edgekd operators` lists for C",
    )


def bounds_of(op: ops.Op, graph: QuantGraph) -> tuple[int, int]:
    """Smallest and largest integer that the operator's fused activation lets through, as TFLM has it."""
    y = graph.tensor(op.outputs[0])
    activation: ops.Activation = getattr(op, "activation", "none")
    return activation_bounds(activation, *quantization(graph, y.name), half_to_even=False, limits=limits_of(y))


def multipliers(real: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Real multipliers → int32 mantissas and int8 shifts. Raises InputError for one of 2^30 or more: TFLite clips those."""
    pairs = [quantize_multiplier(float(r)) for r in real]
    mantissas, shifts = (np.array(part, np.int64) for part in zip(*pairs, strict=True))
    if shifts.max() > 30:
        raise InputError(f"multiplier {float(np.max(real)):.4g}", where=where, expected="below 2^30")
    return mantissas.astype(np.int32), shifts.astype(np.int8)
