"""What a capture gathers: tensors and operators of one graph, and which tensor holds the value of each ATen node.

Torch's batch may lie on any axis, or be merged into the first one (windows of attention, ``bmm``). Ours lies first, always: a value of
shape [3, 1, heads, tokens, d] with its batch on axis 1 is held as [1, 3, heads, tokens, d]; one of shape [heads, tokens, d], into which the
batch has been merged, as [1, heads, tokens, d].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from edgekd.errors import InputError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph, Tensor

#: Operators whose result may share memory with their input in torch.
_VIEWS = (ops.Reshape, ops.Transpose, ops.Slice)


class Builder:
    """``names`` says which tensor holds a node's value, ``batch`` on which of torch's axes its batch lies (None: merged).

    ``first`` says both as they were when the node was computed, whatever overwrote it later.
    """

    def __init__(self, name: str) -> None:
        self.title = name
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[ops.Op] = []
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        self.names: dict[str, str] = {}
        self.batch: dict[str, int | None] = {}
        self.first: dict[str, tuple[str, int | None]] = {}
        self.held: dict[str, Any] = {}
        self.parts: dict[str, list[fx.Node | str]] = {}
        self.memory: dict[str, str] = {}
        self.stale: set[str] = set()

    # What goes in.

    def hold(self, node: str, value: Any) -> None:
        """Keep a parameter, or what was computed of parameters alone, until an operator turns it into a constant."""
        self.held[node] = value

    def input(self, node: str, shape: tuple[int, ...], *, indices: bool = False) -> None:
        self.tensors["input"] = Tensor("input", "int32" if indices else "float32", shape)
        self.names[node], self.batch[node] = "input", 0
        self.inputs.append("input")

    def output(self, name: str) -> None:
        self.outputs.append(name)

    def constant(self, name: str, value: np.ndarray) -> str:
        # A copy: the module goes on changing its own.
        self.tensors[name] = Tensor(name, "float32", value.shape, data=np.array(value, np.float32, order="C"))
        return name

    # What operators read.

    def value(self, argument: Any) -> np.ndarray | None:
        """The parameter behind an argument; None where it is None."""
        if argument is None:
            return None
        if not self.is_held(argument):
            raise InputError(
                f"{argument} is computed, but must be a parameter", where=self.title, expected="weights that do not depend on the input"
            )
        found = self.held[argument.name]
        return found.detach().cpu().numpy() if isinstance(found, torch.Tensor) else found

    def is_held(self, argument: Any) -> bool:
        return isinstance(argument, fx.Node) and argument.name in self.held

    def name_of(self, argument: Any) -> str:
        """The tensor behind an argument; a constant that the graph returns becomes one here."""
        if not isinstance(argument, fx.Node) or argument.name not in self.names:
            raise InputError(f"{argument} is a constant where an activation is expected", where=self.title, expected="a computed tensor")
        name = self.names[argument.name]
        if name in self.stale:
            raise InputError(f"{argument} is read after a view of it was overwritten", where=self.title, expected="inplace=False there")
        return name

    def shape(self, argument: Any) -> tuple[int, ...]:
        """Our shape of an argument, batch first."""
        return self.tensors[self.name_of(argument)].shape

    def axis(self, argument: fx.Node, axis: int) -> int:
        """Our axis for one of torch's; 0 is the batch."""
        return our_axis(axis % len(shape_of(argument)), self.batch[argument.name])

    def operand(self, argument: Any, node: fx.Node, batch: int | None, *, suffix: str = "constant") -> str:
        """The tensor behind one operand of ``node``, with as many axes as the result whose batch lies on ``batch``.

        A number or parameter becomes a constant of that rank.
        """
        rank = len(shape_of(node))
        if isinstance(argument, int | float) or self.is_held(argument):
            data = np.asarray(argument if isinstance(argument, int | float) else self.value(argument), np.float32)
            padded = data.reshape((1,) * (rank - data.ndim) + data.shape)
            return self.constant(f"{node.name}_{suffix}", padded.reshape(ours(padded.shape, batch)))
        name = self.name_of(argument)
        theirs = shape_of(argument)
        shape = ours((1,) * (rank - len(theirs)) + theirs, batch)
        if shape == self.tensors[name].shape:
            return name
        if math.prod(shape) != math.prod(self.tensors[name].shape):
            raise InputError(f"{argument} meets a batch that lies elsewhere", where=node.name, expected="the batch on one axis")
        return self.reshaped(name, shape)

    # What they write.

    def batch_of(self, node: fx.Node, *arguments: Any) -> int | None:
        """On which axis of ``node`` the batch lies: where it does in the first argument in which it lies anywhere, counted from the end."""
        rank = len(shape_of(node))
        for argument in arguments:
            if isinstance(argument, fx.Node) and (at := self.batch.get(argument.name)) is not None:
                return at + rank - len(shape_of(argument))
        return None

    def emit(self, node: fx.Node, op: ops.Op, batch: int | None = 0) -> None:
        """``op`` computes ``node``, whose batch lies on axis ``batch``."""
        shape = shape_of(node)
        if batch is not None and shape[batch] != 1:
            raise InputError(f"{node.name} {shape} mixes the batch with something", where=node.name, expected="the batch alone")
        self.tensors[node.name] = Tensor(node.name, "float32", ours(shape, batch))
        self.ops.append(op)
        self.bind(node, node.name, batch)

    def step(self, op: ops.Op, shape: Sequence[int]) -> str:
        """An operator on the way to a node, of our ``shape``."""
        name = op.outputs[0]
        self.tensors[name] = Tensor(name, "float32", tuple(shape))
        self.ops.append(op)
        return name

    def reshaped(self, name: str, shape: tuple[int, ...]) -> str:
        """``name`` in another of our shapes."""
        if self.tensors[name].shape == shape:
            return name
        fresh = self.fresh(f"{name}_view")
        self.tensors[fresh] = Tensor(fresh, self.tensors[name].dtype, shape)
        self.ops.append(ops.Reshape(fresh, (name,), (fresh,), shape=shape))
        return fresh

    def fresh(self, name: str) -> str:
        """A tensor name that is free."""
        count, found = 1, name
        while found in self.tensors:
            count, found = count + 1, f"{name}_{count}"
        return found

    def bind(self, node: fx.Node, name: str, batch: int | None) -> None:
        """``node`` is the tensor ``name``."""
        self.names[node.name], self.batch[node.name] = name, batch
        self.first[node.name] = (name, batch)

    def alias(self, node: fx.Node, argument: Any, *, copy: bool = False) -> None:
        """``node`` holds the same values as ``argument``; in the same memory, unless it is a copy."""
        self.bind(node, self.name_of(argument), self.batch[argument.name])
        if not copy:
            self.memory[node.name] = self.memory.get(argument.name, str(argument.name))

    def alias_argument(self, node: fx.Node) -> None:
        """``node`` has overwritten its first argument: whoever reads the same memory from here on reads the result."""
        argument, result = node.args[0], self.names[node.name]
        assert isinstance(argument, fx.Node)
        old, where = self.names[argument.name], self.memory.get(argument.name, argument.name)
        self.memory[node.name] = where
        self.names = {key: result if self.memory.get(key, key) == where else name for key, name in self.names.items()}
        views = [{*op.inputs, *op.outputs} for op in self.ops if isinstance(op, _VIEWS)]
        self.stale |= {name for view in views if old in view for name in view} - {old}

    def graph(self) -> QuantGraph:
        return QuantGraph(self.title, "channels_first", self.tensors, tuple(self.ops), tuple(self.inputs), tuple(self.outputs))


def shape_of(node: Any) -> tuple[int, ...]:
    """Torch's shape of a node."""
    return tuple(node.meta["val"].shape)


def ours(shape: tuple[int, ...], batch: int | None) -> tuple[int, ...]:
    """Our shape of a value of torch's ``shape`` whose batch lies on axis ``batch``."""
    return (1, *(d for i, d in enumerate(shape) if i != batch))


def our_axis(axis: int, batch: int | None) -> int:
    """Our axis for one of torch's, counted from the front."""
    if batch is None or axis < batch:
        return axis + 1
    return 0 if axis == batch else axis


def arguments(node: fx.Node, *defaults: Any) -> list[Any]:
    """Positional and keyword arguments in the operator's order; ``defaults`` fill the tail that torch leaves out."""
    given = list(node.args)
    names = [a.name for a in node.target._schema.arguments]  # pyright: ignore[reportFunctionMemberAccess,reportAttributeAccessIssue]
    for name in names[len(given) :]:
        if name in node.kwargs:
            given.append(node.kwargs[name])
        elif len(given) < len(defaults):
            given.append(defaults[len(given)])
    return given + list(defaults[len(given) :])


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])


def image(builder: Builder, argument: Any, what: str) -> str:
    """The tensor behind ``argument``, which must be [N, C, H, W] with the batch on its own."""
    name = builder.name_of(argument)
    if len(shape_of(argument)) != 4 or builder.batch[argument.name] != 0:
        raise InputError(
            f"{what} {shape_of(argument)}, which is no image", where=str(argument), expected="[N, C, H, W], the batch alone on axis 0"
        )
    return name
