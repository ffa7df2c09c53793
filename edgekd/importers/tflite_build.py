"""A QuantGraph under construction from a TFLite file: names, constants, the batch axis, and operators as they are added.

A QuantGraph's first axis is the batch, in TFLite nothing says so: a reshape may fold the batch of 1 into something else. A tensor of the
file whose first axis is not 1 is therefore "lifted": in the graph it has one more axis, of 1, before its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgekd.errors import InputError
from edgekd.importers.tflite_tables import File, FileOperator, FileTensor
from edgekd.quant import ops
from edgekd.quant.graph import STORAGE, DType, Quantization, Tensor

DTYPES: dict[str, DType] = {
    "INT4": "int4",
    "INT8": "int8",
    "UINT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FLOAT16": "float16",
    "FLOAT32": "float32",
}
#: Elements of all constants together, for each byte of the file: int4 has two a byte, and a few may share a buffer.
ELEMENTS_PER_BYTE = 16
#: Bias scales that differ from s_x·s_w by more than this share were not merely rounded.
ROUNDING = 1e-6
MOST_INTEGERS = 64


class Build:
    """Final. One graph being built; ``ops`` and ``tensors`` are the result, ``notes`` what a reader must know."""

    def __init__(self, file: File, where: str) -> None:
        self.file, self.where = file, where
        self.ops: list[ops.Op] = []
        self.tensors: dict[str, Tensor] = {}
        self.notes: list[str] = []
        self._names = _names(file)
        self._taken = set(self._names)
        self._constants: dict[int, Tensor] = {}
        self._views: dict[tuple[str, tuple[int, ...]], str] = {}
        self._left = ELEMENTS_PER_BYTE * file.size

    def refuse(self, op: FileOperator, what: str, expected: str) -> InputError:
        name = self._names[op.outputs[0]] if op.outputs else "without output"
        return InputError(what, where=f"{self.where}, operator {op.kind} {name}", expected=expected)

    # What the file says of a tensor

    def name(self, number: int) -> str:
        return self._names[number]

    def entry(self, number: int) -> FileTensor:
        """The file's tensor. Raises InputError for one that cannot be used."""
        entry = self.file.tensors[number]
        if entry.refused or entry.type not in DTYPES:
            raise InputError(
                entry.refused or f"{entry.type} values", where=f"{self.where}, tensor {self._names[number]}", expected=", ".join(DTYPES)
            )
        return entry

    def is_constant(self, number: int) -> bool:
        return number in self._constants or self.file.tensors[number].data is not None

    def lifted(self, number: int) -> bool:
        shape = self.file.tensors[number].shape
        return not self.is_constant(number) and (not shape or shape[0] != 1)

    def shape(self, number: int, lift: bool = False) -> tuple[int, ...]:
        """As it is in the graph; with ``lift`` there is an axis of 1 before the file's own in any case."""
        shape = self.entry(number).shape
        return (1, *shape) if lift or self.lifted(number) else shape

    # Constants

    def constant(self, number: int) -> Tensor:
        """The constant, in the graph's dtype. Raises InputError for an activation, and for data of another size than its shape says."""
        if number not in self._constants:
            entry, name = self.entry(number), self._names[number]
            if entry.data is None:
                raise InputError("not a constant", where=f"{self.where}, tensor {name}", expected="a constant")
            self._left -= math.prod(entry.shape)
            if self._left < 0:
                raise InputError(
                    f"constants of more than {ELEMENTS_PER_BYTE} elements for each byte of the file",
                    where=self.where,
                    expected="no such file",
                )
            self._constants[number] = Tensor(
                name, DTYPES[entry.type], entry.shape, self._quantization(number), _values(entry, f"{self.where}, tensor {name}")
            )
        return self._constants[number]

    def fold(self, number: int, tensor: Tensor) -> None:
        """From now on the file's tensor ``number`` is the constant ``tensor``."""
        self._constants[number] = tensor

    def integers(self, number: int) -> tuple[int, ...]:
        """The values of a small constant: axes, sizes, amounts."""
        tensor = self.constant(number)
        if tensor.data is None or tensor.dtype not in ("int32", "int64") or tensor.data.size > MOST_INTEGERS:
            raise InputError(
                f"{tensor.dtype} {list(tensor.shape)}", where=f"{self.where}, tensor {tensor.name}", expected="a few int32 constants"
            )
        return tuple(int(value) for value in tensor.data.ravel())

    def bias(self, number: int, x: str, weight: str) -> str:
        """The bias, under the scale that the kernels give it: s_x·s_w, whatever the file states."""
        bias, names = self.constant(number), (x, weight)
        source, weights = (self.tensors[name].quantization for name in names)
        if bias.dtype not in ("int32", "int64") or source is None or weights is None or source.axis is not None:
            return self._keep(bias)
        scale = source.scale * weights.scale
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise InputError("s_x·s_w is zero or infinite", where=f"{self.where}, bias {bias.name}", expected="a positive float32")
        if bias.quantization is not None and bias.quantization.scale.size in (1, scale.size):
            away = float(np.max(np.abs(bias.quantization.scale.astype(np.float64) / scale - 1)))
            if away > ROUNDING and np.any(bias.data):
                self.notes.append(f"bias {bias.name}: its scale is off s_x·s_w by {away:.2g}; its integers are kept, as runtimes do")
        per_channel = weights.axis is not None and bias.shape == (len(scale),)
        if not per_channel and len(scale) > 1:
            scale = scale[:1]  # refused later, by its shape
        quantization = Quantization(scale, np.zeros(len(scale), np.int32), 0 if per_channel else None)
        known = self.tensors.get(bias.name)
        if known is not None and known.quantization is not None and not np.array_equal(known.quantization.scale, scale):
            bias = replace(bias, name=self.fresh(bias.name))
        return self._keep(replace(bias, quantization=quantization))

    # Reading and writing in the graph

    def fresh(self, name: str) -> str:
        """A name like ``name`` that nothing has."""
        count = 2
        while (found := f"{name}#{count}") in self._taken:
            count += 1
        self._taken.add(found)
        return found

    def read(self, number: int, lift: bool = False) -> str:
        """The graph's tensor for the file's: a constant as it is, an activation lifted if asked."""
        if self.is_constant(number):
            return self._keep(self.constant(number))
        name = self._activation(number)
        return self.reshaped(name, self.shape(number, lift))

    def reshaped(self, name: str, shape: tuple[int, ...]) -> str:
        """``name`` in another shape, through a Reshape where it has not that shape already."""
        tensor = self.tensors[name]
        if tensor.shape == shape:
            return name
        key = (name, shape)
        if key not in self._views:
            if tensor.data is not None:
                self._views[key] = self._keep(replace(tensor, name=self.fresh(name), shape=shape, data=tensor.data.reshape(shape)))
            else:
                view = replace(tensor, name=self.fresh(name), shape=shape)
                self.tensors[view.name] = view
                self.ops.append(ops.Reshape(view.name, (name,), (view.name,), shape))
                self._views[key] = view.name
        return self._views[key]

    def put(self, op: ops.Op, number: int, shape: tuple[int, ...] | None = None) -> None:
        """Append ``op``, which writes the file's tensor ``number``; its name and output are filled in here.

        ``shape``: what the operator itself gives, where a Reshape has to follow to the shape that the tensor has in the graph.
        """
        name = self._activation(number)
        final = self.tensors[name].shape
        if shape is not None and shape != final:
            before = replace(self.tensors[name], name=self.fresh(name), shape=shape)
            self.append(op, before)
            self.ops.append(ops.Reshape(name, (before.name,), (name,), final))
        else:
            self.ops.append(replace(op, name=name, outputs=(name,)))

    def append(self, op: ops.Op, out: Tensor) -> str:
        """Append ``op``, which writes a tensor that the file does not have."""
        self.tensors[out.name] = out
        self.ops.append(replace(op, name=out.name, outputs=(out.name,)))
        return out.name

    def _activation(self, number: int) -> str:
        name = self._names[number]
        if name not in self.tensors:
            quantization = self._quantization(number)
            if quantization is not None and quantization.axis is not None:
                raise InputError("an activation with several scales", where=f"{self.where}, tensor {name}", expected="one")
            self.tensors[name] = Tensor(name, DTYPES[self.entry(number).type], self.shape(number), quantization)
        return name

    def _keep(self, tensor: Tensor) -> str:
        self.tensors[tensor.name] = tensor
        return tensor.name

    def _quantization(self, number: int) -> Quantization | None:
        entry = self.entry(number)
        if entry.scale is None or entry.type in ("FLOAT16", "FLOAT32"):
            return None
        where = f"{self.where}, tensor {self._names[number]}"
        zeros = np.zeros(entry.scale.size, np.int64) if entry.zero_point is None else entry.zero_point.astype(np.int64)
        if entry.type == "UINT8":
            zeros = zeros - 128
        limits = np.iinfo(STORAGE[DTYPES[entry.type]])
        if zeros.min() < max(limits.min, -(1 << 31)) or zeros.max() > min(limits.max, (1 << 31) - 1):
            raise InputError(f"zero point {zeros.min()} to {zeros.max()}", where=where, expected=f"within {entry.type}")
        scale = entry.scale.astype(np.float32)
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise InputError("a scale is zero, negative or not finite", where=where, expected="positive scales")
        return Quantization(scale, zeros.astype(np.int32), None if scale.size == 1 else entry.axis)


def _values(entry: FileTensor, where: str) -> np.ndarray:
    """A constant's values in its shape; a view of the file where the dtype allows."""
    data, count = entry.data, math.prod(entry.shape)
    assert data is not None
    storage = STORAGE[DTYPES[entry.type]]
    wanted = (count + 1) // 2 if entry.type == "INT4" else count * storage.itemsize
    if data.size != wanted:
        raise InputError(f"{data.size} bytes of data", where=where, expected=f"{wanted} for {entry.type} {list(entry.shape)}")
    if entry.type == "INT4":  # two a byte, the first in the low half
        halves = np.stack([data << 4, data & 0xF0], axis=1).ravel()[:count]
        values = halves.view(np.int8) >> 4
    elif entry.type == "UINT8":
        values = (data ^ 0x80).view(np.int8)
    else:
        # The flatbuffer aligns data to 16 bytes, a hostile one does not.
        values = (data if data.ctypes.data % storage.itemsize == 0 else data.copy()).view(storage)
    return values.reshape(entry.shape)


def _names(file: File) -> list[str]:
    """The file's own names where they are unique, else numbered."""
    counts: Counter[str] = Counter(tensor.name for tensor in file.tensors)
    names = [t.name if t.name and counts[t.name] == 1 else f"{t.name or 'tensor'}#{i}" for i, t in enumerate(file.tensors)]
    taken = set(names)
    if len(taken) == len(names):
        return names
    return [f"tensor#{i}" for i in range(len(names))]  # someone named tensors as we number them


def lift_of(build: Build, numbers: Sequence[int]) -> bool:
    """Whether any of the activations is lifted."""
    return any(build.lifted(number) for number in numbers if number >= 0)
