"""From one layout to the other, with as few Transposes as there can be.

Given   channels first: x [1, C, H, W] ── Conv2D ── Relu ── Transpose (0, 2, 3, 1) ── Mean ── …
Result  channels last:  x [1, H, W, C] ── Conv2D ── Relu ── Mean ── …

No operator is transposed at once. Every tensor gets a view (``views.py``): how its values lie in a tensor of the new graph. Transposes and
reshapes change the view alone; what treats axes alike works in any; convolutions, pools and resizes demand the layout; matrix products and
what reads the last axis demand it last. Only where a demand is not met, a Transpose is made, and shared by all who demand the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgekd.quant import ops
from edgekd.quant.graph import Layout, QuantGraph, Quantization, Tensor
from edgekd.quant.passes.views import View, literal_groups, normal, plain

#: Image activations: what lies where, seen from the other layout.
INTO: dict[Layout, tuple[int, ...]] = {"channels_last": (0, 2, 3, 1), "channels_first": (0, 3, 1, 2)}
IMAGES = (
    ops.Conv2D, ops.DepthwiseConv2D, ops.TransposeConv2D, ops.AveragePool2D, ops.MaxPool2D, ops.ResizeNearest, ops.ResizeBilinear,
)  # fmt: skip
EACH = (ops.Relu, ops.LeakyRelu, ops.HardSwish, ops.Gelu, ops.Rsqrt, ops.Logistic, ops.Tanh, ops.Quantize, ops.Dequantize)
PAIRS = (ops.Add, ops.Sub, ops.Mul, ops.SquaredDifference, ops.Maximum, ops.Minimum, ops.PRelu)
_PLAIN = (ops.FullyConnected, ops.Softmax, ops.BatchMatMul, ops.Gather)


@dataclass
class State:
    """The new graph as far as it is made. ``where`` has the view of each tensor of the old one."""

    graph: QuantGraph
    layout: Layout
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[ops.Op] = field(default_factory=list)
    where: dict[str, View] = field(default_factory=dict)
    made: dict[tuple[object, ...], str] = field(default_factory=dict)
    reshape_of: dict[str, str] = field(default_factory=dict)

    @property
    def into(self) -> tuple[int, ...]:
        return INTO[self.layout]

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor of the old graph."""
        return self.graph.tensor(name).shape

    def stored(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor of the new graph."""
        return self.found(name).shape

    def found(self, name: str) -> Tensor:
        """A tensor of the new graph, or a constant of the old one that has not been filed yet."""
        return self.tensors[name] if name in self.tensors else self.graph.tensor(name)

    def start(self) -> None:
        for name in self.graph.inputs:
            perm = self.into if len(self.shape(name)) == 4 else None
            view = plain(name, self.shape(name), perm)
            self.where[name] = view
            tensor = self.graph.tensor(name)
            self.tensors[name] = replace(tensor, shape=tuple(tensor.shape[a] for a in perm) if perm else tensor.shape)

    # What operators read.

    def view(self, name: str) -> View:
        """The view of an activation, or of a constant that is read as one."""
        return self.where[name] if name in self.where else plain(name, self.shape(name))

    def at(self, view: View, perm: Sequence[int]) -> str:
        """The tensor that holds the view's tensor transposed by ``perm``, made where there is none."""
        shape = view.shape
        target, memory = tuple(shape[a] for a in perm), view.memory(perm)
        if memory == sorted(memory):
            return self.reshaped(view.name, target)
        key = (view.name, view.sizes, tuple(memory), target)
        if key not in self.made:
            self.made[key] = self._moved(view, perm, target)
        return self.made[key]

    def settled(self, name: str) -> tuple[str, tuple[int, ...]]:
        """A tensor and the permutation by which it holds ``name``: as it lies, or as its readers wish."""
        view = self.view(name)
        perm = self.arrangement(view) or self.wish(name) or tuple(range(len(view.axes)))
        found = self.at(view, perm)
        if name in self.where:
            self.where[name] = plain(found, self.shape(name), perm)
        return found, perm

    def arrangement(self, view: View) -> tuple[int, ...] | None:
        """A permutation by which memory holds the tensor already; None if there is none."""
        rank = len(view.axes)
        by_memory = sorted(range(rank), key=lambda a: (a > 0, min(view.axes[a], default=-1)))
        candidates = [*([self.into] if rank == 4 else []), tuple(range(rank)), tuple(by_memory)]
        return next((c for c in candidates if view.fits(c)), None)

    def wish(self, name: str, depth: int = 0) -> tuple[int, ...] | None:
        """The permutation that the first reader with a demand asks for."""
        rank = len(self.shape(name))
        for op in self.graph.consumers(name):
            if isinstance(op, IMAGES):
                return self.into
            if isinstance(op, _PLAIN):
                return tuple(range(rank))
            follows = isinstance(op, EACH + PAIRS) and depth < 8 and len(self.shape(op.outputs[0])) == rank
            if follows and (found := self.wish(op.outputs[0], depth + 1)) is not None:
                return found
        return None

    def absorbed(self, name: str) -> bool:
        """Whether any order of the last axis will do, because only the columns of weights meet it."""
        readers = self.graph.consumers(name)
        return bool(readers) and name not in self.graph.outputs and all(self._absorbs(op, name) for op in readers)

    def _absorbs(self, op: ops.Op, name: str) -> bool:
        if isinstance(op, ops.FullyConnected):
            return op.inputs.count(name) == 1 and op.inputs[0] == name
        joined = isinstance(op, ops.Concat) and op.axis % len(self.shape(name)) == len(self.shape(name)) - 1
        return (joined or isinstance(op, EACH)) and self.absorbed(op.outputs[0])

    # What is written.

    def add(self, op: ops.Op, perm: Sequence[int]) -> None:
        """``op``, already in terms of the new graph, writes its output transposed by ``perm``."""
        name = op.outputs[0]
        shape = self.shape(name)
        self.append(op, tuple(shape[a] for a in perm))
        self.where[name] = plain(name, shape, perm)

    def append(self, op: ops.Op, stored: tuple[int, ...]) -> None:
        name = op.outputs[0]
        self.tensors[name] = replace(self.graph.tensor(name), shape=stored)
        self.ops.append(op)

    def constant(self, tensor: Tensor) -> str:
        """File a constant; one that other operators need in another form gets a name of its own."""
        name, count = tensor.name, 0
        while name in self.tensors and not (self.stored(name) == tensor.shape and np.array_equal(self.tensors[name].data, tensor.data)):  # type: ignore[arg-type]
            count += 1
            name = f"{tensor.name}.{count}"
        self.tensors[name] = replace(tensor, name=name)
        return name

    def reshaped(self, name: str, shape: tuple[int, ...]) -> str:
        """``name`` in another shape; a reshape of a reshape is one."""
        tensor = self.found(name)
        if tensor.data is not None:
            return self.constant(replace(tensor, shape=shape, data=tensor.data.reshape(shape)))
        if tensor.shape == shape:
            return name
        source = self.reshape_of.get(name, name)
        if self.stored(source) == shape:
            return source
        key = (source, shape)
        if key not in self.made:
            self.made[key] = self._insert(ops.Reshape("", (source,), ("",), shape=shape), shape)
            self.reshape_of[self.made[key]] = source
        return self.made[key]

    def _moved(self, view: View, perm: Sequence[int], target: tuple[int, ...]) -> str:
        """``view`` transposed: by one Transpose where the axes are whole, else between two Reshapes."""
        tensor, memory = self.found(view.name), view.memory(perm)
        if tensor.data is not None:
            data = np.ascontiguousarray(tensor.data.reshape(view.sizes).transpose(memory).reshape(target))
            return self.constant(replace(tensor, shape=target, data=data))
        have, want = literal_groups(view, tensor.shape), [view.axes[a] for a in perm]
        if have is not None and len(have) == len(want) and sorted(filter(None, have)) == sorted(filter(None, want)):
            free = [i for i, group in enumerate(have) if not group]
            order = tuple(have.index(group) if group else free.pop(0) for group in want)
            return self._insert(ops.Transpose("", (view.name,), ("",), order), target)
        parts = normal(View(view.name, view.sizes, (tuple(memory),)))
        fine, order = (1, *parts.sizes), (0, *(d + 1 for d in parts.axes[-1]))
        source = self.reshaped(view.name, fine)
        moved = self._insert(ops.Transpose("", (source,), ("",), order), tuple(fine[a] for a in order))
        return self.reshaped(moved, target)

    def _insert(self, op: ops.Op, shape: tuple[int, ...]) -> str:
        """An operator that the old graph has not, named after what it reads."""
        source = op.inputs[0]
        name = self._free(f"{source}.{'moved' if isinstance(op, ops.Transpose) else 'shaped'}")
        self.tensors[name] = replace(self.tensors[source], name=name, shape=shape)
        self.ops.append(replace(op, name=name, outputs=(name,)))
        return name

    # What comes out.

    def finish(self) -> QuantGraph:
        outputs = []
        for name in self.graph.outputs:
            rank = len(self.shape(name))
            perm = self.into if rank == 4 else tuple(range(rank))
            found = self.at(self.view(name), perm)
            kept = {*self.graph.inputs, *self.graph.outputs, *outputs}
            if found not in kept and name not in (*self.graph.inputs, *outputs) and self.found(found).data is None:
                if name in self.tensors:
                    self._rename(name, self._free(f"{name}.inner"))
                self._rename(found, name)
                found = name
            outputs.append(found)
        needed, kept = set(outputs), []
        for op in reversed(self.ops):
            moves = isinstance(op, ops.Reshape | ops.Transpose)
            if not moves or needed.intersection(op.outputs):
                needed.update(op.inputs)
                kept.append(op)
        used = {n for op in kept for n in (*op.inputs, *op.outputs)} | set(self.graph.inputs) | set(outputs)
        tensors = {n: t for n, t in self.tensors.items() if n in used}
        return replace(self.graph, layout=self.layout, tensors=tensors, ops=tuple(kept[::-1]), outputs=tuple(outputs))

    def _free(self, stem: str) -> str:
        """A name that neither graph has."""
        name, count = stem, 0
        while name in self.tensors or name in self.graph.tensors:
            count += 1
            name = f"{stem}{count}"
        return name

    def _rename(self, old: str, new: str) -> None:
        """A tensor of the new graph, and its operator, get another name: that of an output goes to what is returned."""
        self.tensors[new] = replace(self.tensors.pop(old), name=new)
        self.ops = [
            replace(
                op,
                name=new if op.name == old else op.name,
                inputs=tuple(new if n == old else n for n in op.inputs),
                outputs=tuple(new if n == old else n for n in op.outputs),
            )
            for op in self.ops
        ]
        self.made = {key: new if name == old else name for key, name in self.made.items()}
        self.where = {key: replace(v, name=new) if v.name == old else v for key, v in self.where.items()}
        self.reshape_of = {new if k == old else k: new if v == old else v for k, v in self.reshape_of.items()}


def transposed(tensor: Tensor, order: tuple[int, ...]) -> Tensor:
    """A constant with its axes in another order, that of its scales included."""
    q = tensor.quantization
    if q is not None and q.axis is not None:
        q = Quantization(q.scale, q.zero_point, order.index(q.axis))
    data = None if tensor.data is None else np.ascontiguousarray(tensor.data.transpose(order))
    return replace(tensor, shape=tuple(tensor.shape[a] for a in order), quantization=q, data=data)


def size(shape: Sequence[int]) -> int:
    return math.prod(shape)
