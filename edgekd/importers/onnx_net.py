"""Operators as a net that is rewritten in place: who makes and who reads each tensor is known at every moment."""

from __future__ import annotations

import heapq
from dataclasses import replace

from edgekd.errors import InputError
from edgekd.quant.graph import Quantization, Tensor
from edgekd.quant.ops import Op


class Net:
    """Final. Tensors by name, operators by number; the order in which they run is found at the end."""

    def __init__(self, tensors: dict[str, Tensor], ops: list[Op], inputs: list[str], outputs: list[str]) -> None:
        self.tensors, self.inputs, self.outputs = dict(tensors), list(inputs), list(outputs)
        self.ops: dict[int, Op] = {}
        self.maker: dict[str, int] = {}
        self.readers: dict[str, dict[int, None]] = {}
        self.notes: dict[str, None] = {}
        self._names = {op.name for op in ops}
        self._next = 0
        self._rank: dict[int, int] = {}
        for op in ops:
            self.add(op)

    def add(self, op: Op, near: int | None = None) -> int:
        """Add ``op``; where its order is free, it runs beside operator ``near``."""
        number, self._next = self._next, self._next + 1
        self._rank[number] = number if near is None else self._rank[near]
        self._put(number, op)
        return number

    def _put(self, number: int, op: Op) -> None:
        self.ops[number] = op
        for name in op.outputs:
            self.maker[name] = number
        for name in op.inputs:
            self.readers.setdefault(name, {})[number] = None

    def remove(self, number: int) -> Op:
        op = self.ops.pop(number)
        for name in op.outputs:
            if self.maker.get(name) == number:
                del self.maker[name]
        for name in set(op.inputs):
            self.readers[name].pop(number, None)
        return op

    def swap(self, number: int, op: Op) -> None:
        """Put ``op`` in place of operator ``number``."""
        self.remove(number)
        self._put(number, op)

    def redirect(self, old: str, new: str) -> None:
        """Everything that reads ``old`` reads ``new``; so do the graph's outputs."""
        for number in list(self.readers.get(old, ())):
            op = self.ops[number]
            self.swap(number, replace(op, inputs=tuple(new if name == old else name for name in op.inputs)))
        self.outputs = [new if name == old else name for name in self.outputs]

    def producer(self, name: str) -> Op | None:
        number = self.maker.get(name)
        return None if number is None else self.ops[number]

    def sole_reader(self, name: str) -> Op | None:
        """The only operator that reads ``name``; None where there are several, none, or it is an output of the graph."""
        readers = self.readers.get(name, {})
        return self.ops[next(iter(readers))] if len(readers) == 1 and name not in self.outputs else None

    def free(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self.tensors or name in self._names:
            count += 1
            name = f"{wanted}.{count}"
        self._names.add(name)
        return name

    def tensor(self, wanted: str, dtype: str, shape: tuple[int, ...], quantization: Quantization | None = None) -> str:
        """A new activation."""
        name = self.free(wanted)
        self.tensors[name] = Tensor(name, dtype, shape, quantization)  # type: ignore[arg-type]
        return name

    def drop_unread(self) -> None:
        """Operators whose output nothing reads go, from the end to the beginning."""
        waiting = list(self.ops)
        while waiting:
            number = waiting.pop()
            op = self.ops.get(number)
            if op is not None and not any(self.readers.get(name) or name in self.outputs for name in op.outputs):
                self.remove(number)
                waiting += [self.maker[name] for name in op.inputs if name in self.maker]

    def ordered(self) -> tuple[Op, ...]:
        """The operators in an order in which they can run, as near to the file's as can be. Raises InputError for a circle."""
        missing = {number: len({name for name in op.inputs if name in self.maker}) for number, op in self.ops.items()}
        ready = [(self._rank[number], number) for number, count in missing.items() if not count]
        heapq.heapify(ready)
        order = []
        while ready:
            op = self.ops[heapq.heappop(ready)[1]]
            order.append(op)
            for reader in self.readers.get(op.outputs[0], ()):
                missing[reader] -= 1
                if not missing[reader]:
                    heapq.heappush(ready, (self._rank[reader], reader))
        if len(order) != len(self.ops):
            raise InputError("operators that wait for one another", where="graph", expected="no circle")
        return tuple(order)

    def used_tensors(self) -> dict[str, Tensor]:
        used = {name for op in self.ops.values() for name in (*op.inputs, *op.outputs)} | set(self.inputs) | set(self.outputs)
        return {name: tensor for name, tensor in self.tensors.items() if name in used}
