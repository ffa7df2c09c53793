"""Best placement: valid, never above greedy, proven where it says so."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.quant import arena_search
from edgekd.quant.arena import Lifetime, arrange, place, place_best
from edgekd.quant.arena_lifetimes import Placement, place_lifetimes
from edgekd.quant.arena_search import best_of
from edgekd.quant.arena_wheel import mended
from tests.random_graphs import random_graph

BUFFERS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12), st.integers(0, 12)), max_size=20)


def lives(drawn: list[tuple[int, int, int]]) -> list[Lifetime]:
    return [Lifetime(str(i), 16 * n, min(a, b), max(a, b)) for i, (n, a, b) in enumerate(drawn)]


def check(buffers: list[Lifetime], placed: Placement) -> None:
    assert max((placed.offsets[b.name] + b.nbytes for b in buffers), default=0) == placed.total_bytes
    for i, a in enumerate(buffers):
        start = placed.offsets[a.name]
        assert start >= 0
        assert start % 16 == 0
        for b in buffers[:i]:
            other = placed.offsets[b.name]
            assert not a.meets(b) or start + a.nbytes <= other or other + b.nbytes <= start


@given(BUFFERS)
@settings(deadline=None, max_examples=60)
def test_what_is_alive_together_never_overlaps(drawn: list[tuple[int, int, int]]) -> None:
    buffers = lives(drawn)
    greedy, best = place_lifetimes(buffers), best_of(buffers, steps=2000)
    check(buffers, best)
    assert greedy.bound <= best.bound <= best.total_bytes <= greedy.total_bytes
    assert best == best_of(buffers, steps=2000)


def smallest(buffers: list[Lifetime]) -> int:
    """By trying every order: some order of lowest gaps gives the optimum."""

    def total(order: tuple[Lifetime, ...]) -> int:
        placed: list[tuple[int, Lifetime]] = []
        for buffer in order:
            at = 0
            for start, other in sorted(((s, o) for s, o in placed if o.meets(buffer)), key=lambda p: p[0]):
                if start - at >= buffer.nbytes:
                    break
                at = max(at, start + other.nbytes)
            placed.append((at, buffer))
        return max(at + b.nbytes for at, b in placed)

    return min(total(order) for order in itertools.permutations(buffers))


def test_the_optimum_is_found_and_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena_search, "ROUNDS", 1)  # so that the search has to find it
    tried = 0
    for seed in range(400):
        draw = random.Random(seed)
        buffers = lives([(draw.randint(1, 9), draw.randrange(5), draw.randrange(5)) for _ in range(6)])
        if place_lifetimes(buffers).optimal:
            continue
        best = best_of(buffers)
        check(buffers, best)
        assert best.optimal
        assert best.total_bytes == smallest(buffers)
        tried += 1
    assert tried > 15


def test_the_heuristic_alone_reaches_the_bound_where_greedy_does_not() -> None:
    for seed in range(6):
        draw = random.Random(seed)
        spans = [(int(2 ** draw.uniform(0, 9)), at, at + int(draw.expovariate(0.25))) for at in (draw.randrange(60) for _ in range(60))]
        buffers = lives(spans)
        found = mended(buffers, 300)
        check(buffers, found)
        assert found.total_bytes <= 1.01 * found.bound


def test_time_ends_the_search() -> None:
    graph = random_graph(7)
    hurried = place_best(graph, limit_s=0.0)
    assert hurried.total_bytes <= place(graph).total_bytes
    assert hurried.bound <= place_best(graph).total_bytes


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs_are_planned_within_one_per_cent(seed: int) -> None:
    arranged = arrange(random_graph(seed))
    bound = place_best(arranged.graph).bound
    assert arranged.placement.total_bytes <= 1.01 * bound
    assert arranged.placement.total_bytes <= arranged.greedy_bytes
