"""The least arena for buffers with known lifetimes: branch and bound over canonical placements, with a proven bound.

Dynamic storage allocation is NP-hard (Garey and Johnson 1979, SR2), but a network's is small. The search is our own after the ideas of
MiniMalloc (Moffitt 2023): every placement can be pushed down until each buffer lies at 0 or on another, so buffers are placed from the
lowest offset up, each on what already lies below it; a branch ends where the buffers still to come no longer fit above some moment.
Steps are counted, not timed, where the answer must be the same each time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edgekd.quant.arena_lifetimes import Lifetime, Placement, place_lifetimes
from edgekd.quant.arena_wheel import mended

#: Nodes of the search at most; some hundreds of thousands take ten seconds.
STEPS = 20_000
#: Placements that the heuristic makes before the search.
ROUNDS = 300
#: Components of more buffers than this are placed by the heuristics alone: the search goes one level deeper for each.
LARGEST = 300
#: Shares of the steps that the orders of branching get, one after another, before one of them gets all that is left.
_SHORT, _LONG = 0.01, 0.1


def best_of(wanted: Iterable[Lifetime], *, steps: int = STEPS, limit_s: float | None = None) -> Placement:
    """The best placement found, at most as large as the greedy one; where ``optimal`` no placement is smaller.

    Without ``limit_s`` the same buffers always get the same placement; with it the search also ends after that many seconds.
    """
    buffers = tuple(wanted)
    greedy = place_lifetimes(buffers)
    if greedy.optimal:
        return greedy
    clock = _Clock(steps, math.inf if limit_s is None else time.monotonic() + limit_s)
    parts = sorted((_part(part, clock) for part in _components(buffers)), key=lambda p: -p.total_bytes)
    offsets = {name: at for part in parts for name, at in part.offsets.items()}
    total = max(part.total_bytes for part in parts)
    bound = max(part.bound for part in parts)
    return Placement(offsets, total, bound) if total < greedy.total_bytes else Placement(greedy.offsets, greedy.total_bytes, bound)


class _Clock:
    """What may still be spent."""

    def __init__(self, steps: int, until: float) -> None:
        self.left, self.until = steps, until

    @property
    def over(self) -> bool:
        return self.left <= 0 or time.monotonic() > self.until


def _components(buffers: Sequence[Lifetime]) -> list[list[Lifetime]]:
    """Groups that share no moment with one another: each may use the whole arena."""
    groups: list[list[Lifetime]] = []
    end = -1
    for buffer in sorted(buffers, key=lambda b: (b.first, b.last)):
        if buffer.first > end:
            groups.append([])
        groups[-1].append(buffer)
        end = max(end, buffer.last)
    return groups


def _part(buffers: list[Lifetime], clock: _Clock) -> Placement:
    """One component: heuristics first, then the search between the proven bound and the best that is known."""
    best = place_lifetimes(buffers)
    if not best.optimal:
        best = min(best, mended(buffers, ROUNDS), key=lambda p: p.total_bytes)
    bound = best.bound
    if best.optimal or len(buffers) > LARGEST:
        return best
    problem = _problem(buffers)
    low = bound // problem.unit  # below it nothing is left to look for; up to `bound` that is proven
    proven, share = low, clock.left
    while low < best.total_bytes // problem.unit and not clock.over:
        capacity = low if low == proven else (low + best.total_bytes // problem.unit - 1) // 2
        found, exhausted = _decide(problem, capacity, clock, share)
        if found is not None:
            offsets = {b.name: problem.unit * at for b, at in zip(buffers, found, strict=True)}
            best = Placement(offsets, max(offsets[b.name] + b.nbytes for b in buffers), bound)
            continue
        proven = capacity + 1 if exhausted else proven
        low = capacity + 1
    return Placement(best.offsets, best.total_bytes, max(bound, min(proven * problem.unit, best.total_bytes)))


@dataclass(frozen=True)
class _Problem:
    """``sizes`` in units; ``sections[i]``: the moments at which buffer i lives, save those whose buffers are all alive at
    another one too."""

    unit: int
    sizes: tuple[int, ...]
    sections: tuple[tuple[int, ...], ...]
    members: tuple[tuple[int, ...], ...]
    orders: tuple[tuple[int, ...], ...]


def _problem(buffers: Sequence[Lifetime]) -> _Problem:
    unit = math.gcd(*(b.nbytes for b in buffers))
    sizes = tuple(b.nbytes // unit for b in buffers)
    alive = [frozenset(i for i, b in enumerate(buffers) if b.first <= t <= b.last) for t in sorted({b.first for b in buffers})]
    maximal = [s for s in dict.fromkeys(alive) if not any(s < other for other in alive)]
    members = tuple(tuple(sorted(s)) for s in maximal)
    sections = tuple(tuple(s for s, inside in enumerate(maximal) if i in inside) for i in range(len(buffers)))
    totals = [sum(sizes[i] for i in inside) for inside in members]
    everything = range(len(buffers))

    def ranks(key: Callable[[int], tuple[int, ...]]) -> tuple[int, ...]:
        order = sorted(everything, key=key, reverse=True)
        return tuple(order.index(i) for i in everything)

    orders = (
        ranks(lambda i: (max(totals[s] for s in sections[i]), sizes[i] * len(sections[i]), sizes[i])),
        ranks(lambda i: (sizes[i], len(sections[i]))),
        ranks(lambda i: (len(sections[i]), sizes[i])),
        ranks(lambda i: (sizes[i] * len(sections[i]), sizes[i])),
    )
    return _Problem(unit, sizes, sections, members, orders)


def _decide(problem: _Problem, capacity: int, clock: _Clock, share: int) -> tuple[list[int] | None, bool]:
    """Offsets within ``capacity`` or None, and whether the search saw everything."""
    for part in (_SHORT, _LONG):
        for rank in problem.orders:
            search = _Search(problem, capacity, rank, min(clock.left, max(int(part * share / len(problem.orders)), 50)), clock.until)
            found = search.run()
            clock.left -= search.used
            if found is not None or search.exhausted:
                return found, search.exhausted
            if clock.over:
                return None, False
    search = _Search(problem, capacity, problem.orders[0], min(clock.left, share // 2), clock.until)
    found = search.run()
    clock.left -= search.used
    return found, search.exhausted


class _Search:
    """Depth first; ``exhausted`` unless it stopped for lack of steps or time."""

    def __init__(self, problem: _Problem, capacity: int, rank: tuple[int, ...], steps: int, until: float) -> None:
        self.problem, self.capacity, self.rank, self.steps, self.until = problem, capacity, rank, steps, until
        self.used = 0
        self.exhausted = True
        self._failed: set[tuple[int, ...]] = set()
        self._floor = [0] * len(problem.members)  # where the highest buffer of a section ends
        self._left = [sum(problem.sizes[i] for i in inside) for inside in problem.members]
        self._offsets = [-1] * len(problem.sizes)
        self._open = set(range(len(problem.sizes)))

    def run(self) -> list[int] | None:
        return self._offsets if self._descend(0) else None

    def _descend(self, lowest: int) -> bool:
        """Place the rest, nothing below ``lowest``: placements go up in offset."""
        if not self._open:
            return True
        self.used += 1
        if self.used > self.steps or (self.used % 64 == 0 and time.monotonic() > self.until):
            self.exhausted = False
            return False
        candidates = self._candidates(lowest)
        if not candidates:
            return False
        state = (lowest, *(at if at >= lowest else -1 for at in self._floor), *sorted(self._open))
        if state in self._failed:
            return False
        for at, _, i in candidates:
            before = self._put(i, at)
            done = self._descend(at)
            if done:
                return True
            self._take(i, before)
            if not self.exhausted:
                return False
        self._failed.add(state)
        return False

    def _candidates(self, lowest: int) -> list[tuple[int, int, int]]:
        """(offset, rank, buffer) that may come next; none where what is left cannot fit."""
        sizes, sections, floor, capacity = self.problem.sizes, self.problem.sections, self._floor, self.capacity
        for at, left in zip(floor, self._left, strict=True):
            if left and max(at, lowest) + left > capacity:
                return []
        found: list[tuple[int, int, int]] = []
        seen: set[tuple[int, tuple[int, ...]]] = set()
        first_end = capacity + 1
        for i in self._open:
            at = max(floor[s] for s in sections[i])
            if max(at, lowest) + sizes[i] > capacity:
                return []
            if at < lowest:
                continue  # it may come later, on what is still to be placed
            first_end = min(first_end, at + sizes[i])
            found.append((at, self.rank[i], i))
        # What could lie wholly below a candidate would go there first. Of equal buffers one is enough.
        kept: list[tuple[int, int, int]] = []
        for at, rank, i in sorted(found):
            key = (sizes[i], sections[i])
            if at < first_end and key not in seen:
                seen.add(key)
                kept.append((at, rank, i))
        return kept

    def _put(self, i: int, at: int) -> list[int]:
        size, before = self.problem.sizes[i], []
        for s in self.problem.sections[i]:
            before.append(self._floor[s])
            self._floor[s] = at + size
            self._left[s] -= size
        self._offsets[i] = at
        self._open.remove(i)
        return before

    def _take(self, i: int, before: list[int]) -> None:
        for s, at in zip(self.problem.sections[i], before, strict=True):
            self._floor[s] = at
            self._left[s] += self.problem.sizes[i]
        self._offsets[i] = -1
        self._open.add(i)
