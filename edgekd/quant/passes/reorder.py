"""Run operators in the order that needs the least memory at once.

Given   x ─► a: expand ─► A (100) ─► b: shrink ─► B (10) ─┐                order a, c, b, d: A and C together, 200 and x
        └──► c: expand ─► C (100) ─► d: shrink ─► D (10) ─┴─► concat
Result  the same operators in the order a, b, c, d: never more than one of A and C, 110 and x

What is computed does not change, only when: every result stays bit for bit the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgekd.quant.arena_lifetimes import aligned, lifetimes, most_alive, scratch
from edgekd.quant.graph import QuantGraph

#: States at most of the exact search, over all its levels; a chain of residual blocks has about one for each operator.
STATES = 20_000
#: States kept for each level beyond that.
BEAM = 64


@dataclass(frozen=True)
class _Order:
    peak: int
    at: tuple[int, ...]


def reorder(graph: QuantGraph) -> QuantGraph:
    """``graph`` with its operators in an order whose most live bytes are least; itself where its own order is as good.

    Exact by dynamic programming over the sets of operators that can have run (Liberis and Lane 2019), of which a network has few; beyond
    STATES of them the best of a beam search and of three orders made by rule. Scratch counts, and the input until its last reader has run.
    """
    own = most_alive(lifetimes(graph))
    if own <= _least(graph):
        return graph
    best = _Search(graph, own).run()
    if best is None:
        return graph
    ops = tuple(graph.ops[i] for i in best.at)
    made = {name for op in ops for name in op.outputs}
    # Tensors follow the operators, so that whoever lists them lists them as they are made.
    order = [n for n in graph.tensors if n not in made] + [name for op in ops for name in op.outputs]
    return replace(graph, ops=ops, tensors={name: graph.tensors[name] for name in order})


def _least(graph: QuantGraph) -> int:
    """What no order can go below: some operator's inputs, outputs and scratch together."""
    return max((sum(_live_at(graph, i)) for i in range(len(graph.ops))), default=0)


def _live_at(graph: QuantGraph, i: int) -> list[int]:
    op = graph.ops[i]
    tensors = [graph.tensor(name) for name in {*op.inputs, *op.outputs}]
    return [aligned(t.nbytes) for t in tensors if not t.is_constant] + [aligned(size) for size in scratch(graph, op).values()]


class _Search:
    """Level by level: after k operators, of all orders that lead to one set of them the one with the lowest peak."""

    def __init__(self, graph: QuantGraph, own: int) -> None:
        self.own, self.least = own, _least(graph)
        self.count = len(graph.ops)
        maker = {name: i for i, op in enumerate(graph.ops) for name in op.outputs}
        self.inputs = [[maker[n] for n in dict.fromkeys(op.inputs) if n in maker] for op in graph.ops]
        self.needs = [sum(1 << j for j in before) for before in self.inputs]
        sizes = {n: aligned(t.nbytes) for n, t in graph.tensors.items() if not t.is_constant}
        readers: dict[str, int] = dict.fromkeys(sizes, 0)
        for i, op in enumerate(graph.ops):
            for name in op.inputs:
                if name in readers:
                    readers[name] |= 1 << i
        kept = set(graph.outputs)
        self.exact = True
        self.start = sum(sizes[name] for name in graph.inputs)
        self.last = sum(1 << i for i, op in enumerate(graph.ops) if not any(readers[n] for n in op.outputs))
        # Whose only reader is which operator.
        alone = {i: readers[op.outputs[0]] for i, op in enumerate(graph.ops) if readers[op.outputs[0]].bit_count() == 1}
        self.next = {i: mask.bit_length() - 1 for i, mask in alone.items()}
        # A tensor goes once all its readers have run; what nobody reads goes at once.
        self.frees = [[(readers[n], sizes[n]) for n in dict.fromkeys(op.inputs) if n in sizes and n not in kept] for op in graph.ops]
        self.makes = [sum(sizes[n] for n in op.outputs) for op in graph.ops]
        self.lost = [sum(sizes[n] for n in op.outputs if not readers[n] and n not in kept) for op in graph.ops]
        self.scratch = [sum(aligned(size) for size in scratch(graph, op).values()) for op in graph.ops]

    def run(self) -> _Order | None:
        """The best order, None where none is better than the graph's own."""
        level = {0: (self.start, _Order(0, ()))}
        seen = 0
        for _ in range(self.count):
            following: dict[int, tuple[int, _Order]] = {}
            for done, (live, order) in level.items():
                for i in self._ready(done, live, order.peak):
                    during = max(order.peak, live + self.makes[i] + self.scratch[i])
                    if during >= self.own:
                        continue
                    after = done | 1 << i
                    if after not in following or during < following[after][1].peak:
                        following[after] = (self._after(i, after, live), _Order(during, (*order.at, i)))
            seen += len(following)
            if seen > STATES and len(following) > BEAM:
                self.exact = False
                kept = sorted(following.items(), key=lambda state: (state[1][1].peak, state[1][0], state[1][1].at))[:BEAM]
                following = dict(kept)
            level = following
        found = [order for _, order in level.values()]
        if not self.exact:
            guesses = (self._runs(), self._depth_first(1), self._depth_first(-1))
            found += [order for order in guesses if order.peak < self.own]
        return min(found, key=lambda order: order.peak, default=None)

    def _runs(self) -> _Order:
        """An order made of runs, each from an operator that is ready down its chain to where least is alive: first those that free
        something, the lowest first, then those that end farthest below their own peak, as is best for chains alone (Liu 1987)."""
        done, live, peak = 0, self.start, 0
        at: list[int] = []
        while len(at) < self.count:
            runs = [self._run_from(i, done, live) for i in range(self.count) if not done >> i & 1 and self.needs[i] & ~done == 0]
            hill, valley, run = min(runs, key=lambda r: (r[1] > live, r[0] if r[1] <= live else r[1] - r[0]))
            peak, live = max(peak, hill), valley
            at += run
            done |= sum(1 << i for i in run)
        return _Order(peak, tuple(at))

    def _depth_first(self, step: int) -> _Order:
        """Each operator right after what it needs, that in the order of its inputs or (``step`` −1) against it (Sethi and Ullman 1970)."""
        done, live, peak = 0, self.start, 0
        at: list[int] = []
        waiting = [i for i in range(self.count) if self.last >> i & 1][::-step]
        while waiting:
            i = waiting[-1]
            missing = [j for j in self.inputs[i][::-step] if not done >> j & 1]
            if missing and not done >> i & 1:
                waiting += missing
                continue
            waiting.pop()
            if done >> i & 1:
                continue
            peak = max(peak, live + self.makes[i] + self.scratch[i])
            done |= 1 << i
            live = self._after(i, done, live)
            at.append(i)
        return _Order(peak, tuple(at))

    def _run_from(self, i: int, done: int, live: int) -> tuple[int, int, list[int]]:
        """The most alive in a run, what is alive at its end, and the run."""
        hill, steps, points = 0, [i], list[tuple[int, int, int]]()
        while True:
            i = steps[-1]
            hill = max(hill, live + self.makes[i] + self.scratch[i])
            done |= 1 << i
            live = self._after(i, done, live)
            points.append((live, -len(steps), hill))
            following = self.next.get(i)
            if following is None or self.needs[following] & ~done:
                valley, length, hill = min(points)
                return hill, valley, steps[:-length]
            steps.append(following)

    def _ready(self, done: int, live: int, peak: int) -> list[int]:
        """What can run next, in the graph's order; one alone where it frees as much as it makes and sets no new peak: then it may as well
        run now."""
        ready = [i for i in range(self.count) if not done >> i & 1 and self.needs[i] & ~done == 0]
        for i in ready:
            if self._after(i, done | 1 << i, live) <= live and live + self.makes[i] + self.scratch[i] <= max(peak, self.least):
                return [i]
        return ready

    def _after(self, i: int, done: int, live: int) -> int:
        freed = sum(size for readers, size in self.frees[i] if readers & ~done == 0)
        return live + self.makes[i] - self.lost[i] - freed
