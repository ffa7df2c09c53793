from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edgekd.errors import DoesNotFit, InputError
from edgekd.plan.search import Asked, Candidate, Space, explore

PARTS = {f"part{n}": list(range(1, 13)) for n in range(8)}
SPACES = [Space("a", {}, {**PARTS, "shape": [[1, 2], [2, 1]]}), Space("b", {"fixed": 1}, {"part": [5, 500]})]


def counted(family: str, options: Mapping[str, Any], front_end: Mapping[str, Any]) -> Candidate:
    """A budget of 40: what is larger does not fit, and the larger of those that do are better."""
    size = sum(value for name, value in options.items() if name.startswith("part"))
    score = float(size) if size <= 40 else -math.inf
    return Candidate(family, dict(options), dict(options), size, size, size, size, {"t": size / 40}, score)


def seen(*_: object) -> None: ...


def test_what_fits_is_searched_for_and_the_same_again(tmp_path: Path) -> None:
    fits: list[bool] = []

    def noted(family: str, options: Mapping[str, Any], front_end: Mapping[str, Any]) -> Candidate:
        made = counted(family, options, front_end)
        if family == "a":
            fits.append(made.fits("t"))
        return made

    found = explore(SPACES, noted, Asked(tmp_path / "one", 150, 3), seen)
    assert len({c.name for c in found}) == len(found)
    # Draws at random have a mean of 52, and fit in one of six; later generations come from those that do.
    assert sum(fits[:16]) <= 6 and sum(fits[-30:]) > 8, fits
    assert max(c.macs for c in found if c.fits("t")) >= 36
    assert {c.family for c in found} == {"a", "b"} and all(c.options["fixed"] == 1 for c in found if c.family == "b")
    again = explore(SPACES, counted, Asked(tmp_path / "two", 150, 3), seen)
    assert again == found


def test_an_interrupted_search_goes_on(tmp_path: Path) -> None:
    explore(SPACES, counted, Asked(tmp_path, 20, 0), seen)
    calls: list[str] = []

    def counting(family: str, options: Mapping[str, Any], front_end: Mapping[str, Any]) -> Candidate:
        calls.append(family)
        return counted(family, options, front_end)

    explore(SPACES, counting, Asked(tmp_path, 30, 0), seen)
    assert len(calls) == 10
    explore(SPACES, counting, Asked(tmp_path, 30, 0), seen)
    assert len(calls) == 10


def test_nothing_fits(tmp_path: Path) -> None:
    with pytest.raises(DoesNotFit, match=r"(?s)none of \d+ students fits any target.*nearest: a, .*times a budget of t.*wider budget"):
        explore([Space("a", {}, {"part": [50, 60]})], counted, Asked(tmp_path, 5, 0), seen)


def test_a_space_of_no_students(tmp_path: Path) -> None:
    def never(family: str, options: Mapping[str, Any], front_end: Mapping[str, Any]) -> Candidate:
        raise InputError("fused = 4", where="student", expected="0 to 3")

    with pytest.raises(InputError, match=r"(?s)search, student: 50 draws made no student; the last: fused = 4.*0 to 3"):
        explore(SPACES, never, Asked(tmp_path, 100, 0), seen)


def test_interrupted_in_a_trial_it_finds_the_same(tmp_path: Path) -> None:
    calls = 0

    def interrupted(family: str, options: Mapping[str, Any], front_end: Mapping[str, Any]) -> Candidate:
        nonlocal calls
        if (calls := calls + 1) == 25:
            raise KeyboardInterrupt
        return counted(family, options, front_end)

    with pytest.raises(KeyboardInterrupt):
        explore(SPACES, interrupted, Asked(tmp_path / "a", 60, 1), seen)
    again = explore(SPACES, counted, Asked(tmp_path / "a", 60, 1), seen)
    assert {c.name for c in again} == {c.name for c in explore(SPACES, counted, Asked(tmp_path / "b", 60, 1), seen)}


def test_a_study_cut_in_the_middle_of_a_line(tmp_path: Path) -> None:
    explore(SPACES, counted, Asked(tmp_path, 5, 0), seen)
    file = tmp_path / "study.journal"
    file.write_bytes(file.read_bytes()[:-40])
    explore(SPACES, counted, Asked(tmp_path, 9, 0), seen)  # without that line
    lines = file.read_text().splitlines()
    file.write_text("\n".join(line.replace('\\"macs\\": ', '\\"macs\\": \\"x\\" + ') for line in lines) + "\n")
    with pytest.raises(InputError, match=r"(?s)trial \d+ is damaged.*delete the file"):
        explore(SPACES, counted, Asked(tmp_path, 9, 0), seen)


def test_few_trials_and_none_a_student(tmp_path: Path) -> None:
    def never(family: str, options: Mapping[str, Any], front_end: Mapping[str, Any]) -> Candidate:
        raise InputError("fused = 4", where="student", expected="0 to 3")

    for trials in (4, 4):
        with pytest.raises(InputError, match="4 draws made no student"):
            explore(SPACES, never, Asked(tmp_path, trials, 0), seen)


def test_a_damaged_study(tmp_path: Path) -> None:
    (tmp_path / "study.journal").write_text("nonsense\n" * 3)
    with pytest.raises(InputError, match="cannot be read as a search"):
        explore(SPACES, counted, Asked(tmp_path, 5, 0), seen)
