"""A graph in the making while an ONNX file is read: real values as float32 tensors, with Quantize and Dequantize where the file has them.

Channels first, the batch is 1. Constants stay NumPy arrays (``constants``), or integers with their scales (tensors with data) where the
file dequantizes them, until an operator needs them as tensors.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from edgekd.importers.onnx_file import LARGEST, Model, Node
from edgekd.quant.graph import Quantization, Tensor
from edgekd.quant.ops import Op, Reshape


class Draft:
    """Final. ``values`` gives the tensor that stands for a value of the file; several names may stand for one tensor."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.opset = model.opset
        self.constants: dict[str, np.ndarray] = dict(model.constants)
        self.tensors: dict[str, Tensor] = {}
        self.values: dict[str, str] = {}
        self.ops: list[Op] = []
        self.notes: dict[str, None] = {}
        self._names: set[str] = set()

    def note(self, text: str) -> None:
        self.notes[text] = None

    def has(self, node: Node, at: int) -> bool:
        return at < len(node.inputs) and bool(node.inputs[at])

    def array(self, node: Node, at: int) -> np.ndarray | None:
        """Input ``at`` as a constant (dequantized if need be), or None where it is no constant or left out."""
        return self.constant(node.inputs[at]) if self.has(node, at) else None

    def constant(self, name: str) -> np.ndarray | None:
        if name in self.constants:
            return self.constants[name]
        tensor = self.tensors.get(self.values.get(name, ""))
        return None if tensor is None or tensor.data is None else real_values(tensor)

    def need(self, node: Node, at: int, what: str) -> np.ndarray:
        found = self.array(node, at)
        if found is None:
            raise node.refuse(f"{what} is missing or computed while it runs", "a constant")
        return found

    def tensor(self, node: Node, at: int) -> Tensor:
        """Input ``at`` as a tensor, made of the constant if it is one."""
        if not self.has(node, at):
            raise node.refuse(f"input {at} is missing")
        name = node.inputs[at]
        if name in self.values:
            return self.tensors[self.values[name]]
        if name not in self.constants:
            raise node.refuse(f"{name!r} is read before it is written", "operators in the order in which they run")
        array = self.constants[name]
        if array.dtype.kind not in "fiu":
            raise node.refuse(f"constant {name!r} of type {array.dtype}", "numbers")
        if array.dtype.kind == "f":
            made = self.add_constant(name, array.astype(np.float16 if array.dtype == np.float16 else np.float32, copy=False))
        else:
            made = self.add_constant(name, array.astype(np.int32))
        self.values[name] = made.name
        return made

    def is_constant(self, node: Node, at: int) -> bool:
        return self.has(node, at) and self.constant(node.inputs[at]) is not None

    def free(self, wanted: str) -> str:
        """``wanted``, or with a number where it is taken."""
        name, count = wanted, 1
        while name in self._names or name in self.tensors:
            count += 1
            name = f"{wanted}.{count}"
        return name

    def add_constant(self, wanted: str, data: np.ndarray, dtype: str = "", quantization: Quantization | None = None) -> Tensor:
        name = self.free(wanted)
        data = np.ascontiguousarray(data) if data.ndim else data
        tensor = Tensor(name, dtype or str(data.dtype), data.shape, quantization, data)  # type: ignore[arg-type]
        self.tensors[name] = tensor
        return tensor

    def emit(self, op: type[Op], node: Node, inputs: list[str], shape: tuple[int, ...], /, **options: Any) -> str:
        """Add ``op``; the name of its output, float32 (``like``: with dtype and scale of that tensor; ``output``: one of the file).

        Unless the output is ``like`` an input, or ``integers`` may be read, activations that are integers are refused.
        """
        like, output, integers = options.pop("like", None), options.pop("output", None), options.pop("integers", False)
        if like is None and not integers:
            for name in inputs:
                if self.tensors[name].data is None and self.tensors[name].dtype != "float32":
                    raise node.refuse(f"computes with {name!r}, which holds integers", "a DequantizeLinear before it")
        shape = tuple(int(d) for d in shape)
        if any(d < 1 for d in shape) or math.prod(shape) > LARGEST:
            raise node.refuse(f"makes a tensor of shape {list(shape)}", "sizes of at least 1")
        wanted = node.outputs[0] if output is None else output
        name = self.free(wanted if output is not None else f"{wanted}/{op.__name__}")
        base = Tensor(name, "float32", shape) if like is None else replace(self.tensors[like], name=name, shape=shape, data=None)
        self.tensors[name] = base
        operator = f"{node.name}/{op.__name__}" if output is None else node.name
        count, unique = 1, operator
        while unique in self._names:
            count += 1
            unique = f"{operator}.{count}"
        self._names.add(unique)
        self.ops.append(op(unique, tuple(inputs), (name,), **options))
        return name

    def finish(self, node: Node, tensor: str, at: int = 0) -> None:
        """Output ``at`` of the node is ``tensor``."""
        self.values[node.outputs[at]] = tensor


def real_values(tensor: Tensor) -> np.ndarray:
    """The constant's real values as float32 [shape]; as they are where it has no scale."""
    assert tensor.data is not None
    q = tensor.quantization
    if q is None:
        return tensor.data
    shape = [1] * tensor.data.ndim
    if q.axis is not None:
        shape[q.axis] = -1
    scale, zero = (q.scale.reshape(shape), q.zero_point.reshape(shape)) if tensor.data.ndim else (q.scale[0], q.zero_point[0])
    result = tensor.data.astype(np.float32)
    result -= zero
    result *= scale
    return result


def with_full_rank(draft: Draft, node: Node, tensor: Tensor, rank: int) -> str:
    """``tensor`` with sizes of 1 before its own, so that broadcasting aligns axes of one number."""
    missing = rank - len(tensor.shape)
    if missing <= 0:
        return tensor.name
    shape = (1,) * missing + tensor.shape
    if tensor.data is None:
        return draft.emit(Reshape, node, [tensor.name], shape, shape=shape, like=tensor.name)
    q = tensor.quantization
    if q is not None and q.axis is not None:
        q = replace(q, axis=q.axis + missing)
    return draft.add_constant(tensor.name, tensor.data.reshape(shape), tensor.dtype, q).name
