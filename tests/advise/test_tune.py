"""The search on functions instead of trainings: what it finds, and that an interruption changes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import optuna
import pytest

from edgekd.advise.tune import Pruned, Range, Search, Tuned, tune
from edgekd.errors import EdgekdError, InputError
from edgekd.quant.compare import Share

SPACE = {"soft.temperature": Range(1, 20, 2.0), "hard.weight": Range(0.01, 10, 1.0)}
Tell = Callable[[int, float], None]


class Trainings:
    """Best at temperature 6 and weight 0.1; three passes. ``stops`` are trials that are interrupted, each once, after its first pass."""

    def __init__(self, stops: tuple[int, ...] = (), fails: tuple[int, ...] = ()) -> None:
        self.stops, self.fails, self.seen = list(stops), fails, list[tuple[int, dict[str, float]]]()

    def __call__(self, values: Mapping[str, float], number: int, tell: Tell) -> float:
        self.seen.append((number, dict(values)))
        far = math.log(values["soft.temperature"] / 6) ** 2 + 0.1 * math.log(values["hard.weight"] / 0.1) ** 2
        share = 0.9 * math.exp(-0.2 * far)
        if number in self.fails:
            raise EdgekdError("phase float: the loss is not finite at step 20 of 24")
        for at in (1, 2, 3):
            tell(at, share * at / 3)
            if number in self.stops:
                self.stops.remove(number)
                raise KeyboardInterrupt
        return share


def searched(folder: Path, train: Trainings, trials: int = 9, seed: int = 0):
    return tune(SPACE, train, Search(folder, trials, 1000, seed), lambda done, total: None)


@pytest.mark.slow
def test_what_is_found(tmp_path: Path):
    train = Trainings()
    found = searched(tmp_path, train, 30)
    assert train.seen[0] == (0, {"soft.temperature": 2.0, "hard.weight": 1.0}), "the recipe's own values come first"
    assert [number for number, _ in train.seen] == list(range(30))
    assert found.own is not None and found.best.value > found.own.value and found.best.n == 1000 and found.beyond_noise
    assert found.finished + found.pruned == 30 and found.pruned > 0 and found.failed == 0
    temperature = found.parameters["soft.temperature"]
    assert 3 < temperature.best < 12 and temperature.low <= temperature.best <= temperature.high and found.top == 5
    shares = [p.importance for p in found.parameters.values()]
    assert all(s is not None for s in shares) and sum(s or 0 for s in shares) == pytest.approx(1), found.parameters


def test_few_trials_state_no_importance(tmp_path: Path):
    found = searched(tmp_path, Trainings(), 4)
    assert all(p.importance is None for p in found.parameters.values()) and found.finished == 4 and found.top == 4


@pytest.mark.parametrize(("trials", "better", "beyond"), [(2, 41, True), (2, 37, False), (21, 41, False), (21, 62, True)])
def test_the_best_of_many_has_to_be_better_by_more(tmp_path: Path, trials: int, better: int, beyond: bool):
    """1.96 standard errors for one trial beside the recipe's own; 3.02, two-sided 5 % over 20, for twenty."""
    own, best = Share(500, 1000), Share(500 + better, 1000)
    assert Tuned({}, best, own, 0.02, 1, trials, 0, 0, tmp_path).beyond_noise is beyond
    assert not Tuned({}, best, None, 0.02, 1, trials, 0, 0, tmp_path).beyond_noise, "the recipe's own trial failed"


def test_a_finished_search_is_not_repeated(tmp_path: Path):
    first = searched(tmp_path, Trainings())
    again = Trainings()
    assert searched(tmp_path, again) == first and again.seen == []
    more = Trainings()
    searched(tmp_path, more, 11)
    assert [number for number, _ in more.seen] == [9, 10]


@pytest.mark.parametrize("stops", [(0,), pytest.param((2, 4), marks=pytest.mark.slow)])
def test_interrupted(tmp_path: Path, stops: tuple[int, ...]):
    """A trial that was interrupted goes on with its values; then everything is as if nothing had happened."""
    whole = Trainings()
    undisturbed = searched(tmp_path / "whole", whole)
    train = Trainings(stops)
    for _ in stops:
        with pytest.raises(KeyboardInterrupt):
            searched(tmp_path / "parts", train)
    found = searched(tmp_path / "parts", train)
    assert found.parameters == undisturbed.parameters and found.best == undisturbed.best
    assert (found.finished, found.pruned, found.failed) == (undisturbed.finished, undisturbed.pruned, 0)
    assert dict(train.seen) == dict(whole.seen) and len(train.seen) == len(whole.seen) + len(stops)


def test_other_seeds_look_elsewhere(tmp_path: Path):
    one, other = Trainings(), Trainings()
    searched(tmp_path / "0", one, 3)
    searched(tmp_path / "1", other, 3, seed=1000)
    assert one.seen[0] == other.seen[0] and one.seen[1:] != other.seen[1:]


def test_failed_trials(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    found = searched(tmp_path, Trainings(fails=(0, 2)), 8)
    assert found.failed == 2 and found.own is None and not found.beyond_noise and found.finished + found.pruned == 6
    assert "trial 2: phase float: the loss is not finite" in caplog.text
    with pytest.raises(EdgekdError, match="no trial finished: 3 failed"):
        searched(tmp_path / "all", Trainings(fails=tuple(range(9))), 3)


def test_what_is_wrong_for_every_trial_ends_the_search(tmp_path: Path):
    def wrong(values: Mapping[str, float], number: int, tell: Tell) -> float:
        raise InputError("there is no teacher", where="recipe")

    search = Search(tmp_path, 3, 1000, 0)
    with pytest.raises(InputError, match="there is no teacher"):
        tune(SPACE, wrong, search, lambda done, total: None)
    # Mended, it goes on with the very first trial.
    train = Trainings()
    assert tune(SPACE, train, search, lambda done, total: None).failed == 0 and [n for n, _ in train.seen] == [0, 1, 2]


def test_pruned_by_the_median(tmp_path: Path):
    """After five whole trials one that is below their median after a pass is ended there."""
    passes: dict[int, int] = {}

    def train(values: Mapping[str, float], number: int, tell: Tell) -> float:
        share = 0.5 if number < 5 else 0.1
        for at in (1, 2):
            passes[number] = at
            tell(at, share)
        return share

    found = tune(SPACE, train, Search(tmp_path, 7, 100, 0), lambda done, total: None)
    assert (found.finished, found.pruned) == (5, 2) and passes == {0: 2, 1: 2, 2: 2, 3: 2, 4: 2, 5: 1, 6: 1}
    assert issubclass(Pruned, Exception)


def test_nothing_to_search(tmp_path: Path):
    with pytest.raises(InputError, match="no loss has a temperature"):
        tune({}, Trainings(), Search(tmp_path, 1, 10, 0), lambda done, total: None)


def test_a_damaged_study(tmp_path: Path):
    (tmp_path / "study.sqlite3").write_bytes(b"no database, but long enough to be looked at" * 50)
    with pytest.raises(InputError, match="delete the file"):
        searched(tmp_path, Trainings())


def test_the_study_is_optunas_own(tmp_path: Path):
    """Anyone's tools open it: the accuracies after each pass are in it."""
    searched(tmp_path, Trainings(), 3)
    study = optuna.load_study(study_name="edgekd", storage=f"sqlite:///{tmp_path / 'study.sqlite3'}")
    assert [sorted(t.intermediate_values) for t in study.trials] == [[1, 2, 3]] * 3
