from __future__ import annotations

from collections.abc import Mapping

import pytest

from edgekd.errors import EdgekdError, InputError
from edgekd.plan.halving import Rungs, first_rung, halve, ranked, winner
from edgekd.plan.search import Candidate


def student(at: int, use: Mapping[str, float], *, macs: int = 1000, score: float = 0.0) -> Candidate:
    return Candidate("f", {}, {"at": at}, macs, macs, macs, macs, use, score)


MANY = [student(n, {"small": n / 10, "large": n / 40}, macs=1000 * (n + 1), score=n % 7) for n in range(40)]
OWN = {"small": MANY[3], "large": MANY[5]}


def right(candidate: Candidate, passes: float, wait: bool = False) -> float:
    """Larger ones are better, longer trainings too."""
    return 1 - 1 / (candidate.macs * passes)


def test_ranks_are_of_those_that_fit() -> None:
    assert {c.spec["at"] for c in ranked(MANY, "small")} == set(range(11))
    best = ranked([student(0, {"t": 1}, macs=9, score=1), student(1, {"t": 1}, macs=99, score=2), student(2, {"t": 1.01}, macs=999)], "t")
    assert [c.spec["at"] for c in best] == [1, 0]


def test_six_targets_train_two_and_a_half_times_as_many_as_one() -> None:
    one = first_rung(MANY, {"large": OWN["large"]}, Rungs(12, (1.0,)))
    assert len(one) == 12 and OWN["large"] in one
    six = {f"t{n}": student(100 + n, {f"t{m}": 1.0 for m in range(6)}) for n in range(6)}
    many = [student(n, {f"t{m}": 1.0 for m in range(6)}) for n in range(40)]
    assert len(first_rung(many, six, Rungs(12, (1.0,)))) == 30


def test_every_target_gets_its_best_that_fits() -> None:
    pool = first_rung(MANY, OWN, Rungs(20, (1.0,)))
    trained = halve(pool, OWN, right, Rungs(20, (0.5, 1.5)), lambda *_: None)
    for target in OWN:
        best = winner(trained, target)
        assert best.candidate.fits(target) and best.last[0] == 1.5
        assert best.candidate.macs == max(c.macs for c in pool if c.fits(target))
        assert any(t.candidate is OWN[target] and t.last[0] == 1.5 for t in trained)


def test_a_third_goes_on() -> None:
    seen: list[float] = []

    def count(candidate: Candidate, passes: float, wait: bool) -> float:
        seen.append(passes)
        return right(candidate, passes)

    pool = [student(n, {"t": 1.0}, macs=n + 2) for n in range(9)]
    halve(pool, {"t": pool[-1]}, count, Rungs(9, (1.0, 3.0, 9.0)), lambda *_: None)
    assert [seen.count(p) for p in (1.0, 3.0, 9.0)] == [9, 3, 1]


def test_what_another_process_trains_is_looked_for_in_the_end() -> None:
    asked: list[tuple[int, bool]] = []

    def other(candidate: Candidate, passes: float, wait: bool) -> float | None:
        asked.append((candidate.spec["at"], wait))
        return None if candidate.spec["at"] == 0 and not wait else 0.5

    pool = [student(n, {"t": 1.0}) for n in range(3)]
    assert len(halve(pool, {"t": pool[0]}, other, Rungs(3, (1.0,)), lambda *_: None)) == 3
    assert asked == [(0, False), (1, False), (2, False), (0, True)]


def test_one_that_cannot_be_trained_is_left_out_and_a_wrong_recipe_ends_it() -> None:
    pool = [student(n, {"t": 1.0}) for n in range(3)]

    def fails(candidate: Candidate, passes: float, wait: bool) -> float:
        if candidate.spec["at"] == 1:
            raise EdgekdError("the loss is not finite")
        return 0.5

    assert [t.candidate.spec["at"] for t in halve(pool, {"t": pool[0]}, fails, Rungs(3, (1.0,)), lambda *_: None)] == [0, 2]

    def wrong(candidate: Candidate, passes: float, wait: bool) -> float:
        raise InputError("no such module")

    with pytest.raises(InputError):
        halve(pool, {"t": pool[0]}, wrong, Rungs(3, (1.0,)), lambda *_: None)

    def never(candidate: Candidate, passes: float, wait: bool) -> float:
        raise EdgekdError("the loss is not finite")

    with pytest.raises(EdgekdError, match="none of 3 students could be trained"):
        halve(pool, {"t": pool[0]}, never, Rungs(3, (1.0,)), lambda *_: None)
