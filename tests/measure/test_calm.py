"""The figure of calm inferences, on times that are made up: what others do on the machine must not move it."""

from __future__ import annotations

import numpy as np
import pytest

from edgekd.measure.calm import NEAREST, calm
from edgekd.measure.timing import FEWEST, KEPT, Timed, run

RULER = 2e-6


def process(seed: int, *, n: int = 400, base: float = 1e-3, crowded: float = 0.0, switched: float = 0.0, slower: float = 1.5) -> Timed:
    """Inferences of ``base`` seconds; while others compute (a share ``crowded`` of the time) these and the ruler take ``slower`` times as
    long; a share ``switched`` is interrupted for 4 ms, which the processor's own time does not have."""
    rng = np.random.default_rng(seed)
    busy = rng.random(n) < crowded
    factor = np.where(busy, slower, 1.0)
    cpu = base * factor * (1 + np.abs(rng.normal(0, 0.004, n)))
    lost = rng.random(n) < switched
    return Timed(cpu + 4e-3 * lost, cpu, RULER * factor * (1 + np.abs(rng.normal(0, 0.01, n))), lost, "made up")


def test_alone() -> None:
    found = calm([process(seed) for seed in range(3)])
    assert found.median == pytest.approx(1.003e-3, rel=2e-3) and found.settled and not found.by_cpu
    assert found.low == pytest.approx((1 - NEAREST) * found.median) and found.high == pytest.approx((1 + NEAREST) * found.median)
    assert found.ruler == pytest.approx(RULER, rel=0.01)
    assert found.processes == 3 and found.share > 0.9 and found.p90 < 1.02e-3


@pytest.mark.parametrize("crowded", [0.3, 0.7, 0.9])
@pytest.mark.parametrize("switched", [0.0, 0.3])
def test_others_do_not_move_it(crowded: float, switched: float) -> None:
    alone = calm([process(seed) for seed in range(3)])
    for session in range(10):
        found = calm([process(100 * session + i, crowded=crowded, switched=switched) for i in range(3)])
        assert found.median == pytest.approx(alone.median, rel=0.005), session
        assert found.low < alone.median < found.high


def test_a_process_that_was_never_left_alone_does_not_count() -> None:
    found = calm([process(0), process(1), process(2, crowded=1.0)])
    assert found.processes == 2 and not found.settled and found.median == pytest.approx(1.003e-3, rel=2e-3)
    assert calm([process(0), process(1), process(2, crowded=1.0), process(3)]).settled


def test_of_few_that_count_the_interval_holds_what_the_others_took() -> None:
    """One process alone knows nothing of the spread between them: ±3 % would be a promise that nobody can keep."""
    found = calm([process(0), process(1, crowded=1.0), process(2, crowded=1.0)])
    assert found.processes == 1 and not found.settled and found.median == pytest.approx(1.003e-3, rel=2e-3)
    assert found.high > 1.49e-3 and found.low == pytest.approx((1 - NEAREST) * found.median)


def test_processes_that_disagree_are_said_to() -> None:
    found = calm([process(0), process(1), process(2, base=1.1e-3)])
    assert not found.settled and found.high == pytest.approx(1.103e-3, rel=3e-3) and found.median == pytest.approx(1.003e-3, rel=2e-3)


def test_where_every_inference_is_interrupted_the_processor_is_asked() -> None:
    found = calm([process(seed, switched=1.0) for seed in range(3)])
    assert found.by_cpu and found.median == pytest.approx(1.003e-3, rel=2e-3)


def test_one_inference_is_better_than_none() -> None:
    one = process(0, n=1)
    assert calm([one]).median == one.cpu[0] and not calm([one]).settled


def test_every_inference_is_told_of_but_not_more_than_are_kept() -> None:
    calls = 0

    def once() -> None:
        nonlocal calls
        calls += 1

    few = run(once, 0.0)
    assert len(few["seconds"]) == FEWEST and calls == FEWEST + 1
    many = run(once, 0.05)
    assert 1 < len(many["seconds"]) <= KEPT and {len(values) for values in many.values()} == {len(many["seconds"])}
    assert set(many) == {"seconds", "cpu", "ruler", "switched"} and min(many["seconds"]) >= 0
