"""A search of temperatures and weights of losses: TPE (Bergstra et al. 2011) with median pruning, over short trainings of one student."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import optuna
from optuna.importance import get_param_importances
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from edgekd import runs
from edgekd.errors import EdgekdError, InputError
from edgekd.quant.compare import Share

LOG = logging.getLogger(__name__)
#: Trials that are drawn at random before TPE chooses, and that finish before any is pruned.
RANDOM, UNPRUNED = 8, 5
#: With fewer finished trials no importance of a parameter is stated.
ENOUGH = 10
#: The best trials whose spread is shown: so many, or a quarter where that is more.
TOP = 5

#: (values by name, the trial's place, tell) → share that is right on validation. ``tell(pass, share)`` is called after every pass, and
#: ends the training by an exception of this module where it does not get anywhere. Same values and place, same result.
Train = Callable[[Mapping[str, float], int, Callable[[int, float], None]], float]


@dataclass(frozen=True)
class Range:
    """What is searched, on a logarithmic scale: from ``low`` to ``high``, both above 0; ``now`` is the recipe's value, tried first."""

    low: float
    high: float
    now: float


@dataclass(frozen=True)
class Found:
    """One parameter: its ``best`` value, its extremes over the best trials, and its share of what decides (None: too few trials)."""

    best: float
    low: float
    high: float
    importance: float | None


@dataclass(frozen=True)
class Tuned:
    """What a search gave. ``best`` and ``own`` (the recipe's values; None where that trial failed) are validation accuracies.

    ``best`` is the highest of many, so by itself too high; ``noise`` is the standard error of a difference of two such accuracies.
    """

    parameters: dict[str, Found]
    best: Share
    own: Share | None
    noise: float
    top: int
    finished: int
    pruned: int
    failed: int
    storage: Path

    @property
    def beyond_noise(self) -> bool:
        """Whether the best trial is better than the recipe by more than chance explains, with 95 %, for so many trials (Bonferroni)."""
        if self.own is None:
            return False
        return self.best.value - self.own.value > self.noise * NormalDist().inv_cdf(1 - 0.025 / max(1, self.finished - 1))


class Pruned(Exception):
    """Ends a trial that is below the median of the others at the same pass."""


@dataclass(frozen=True)
class Search:
    """What is asked for: how many ``trials`` in all, in the study that ``folder`` holds; ``n`` is how many validation samples there are."""

    folder: Path
    trials: int
    n: int
    seed: int


def tune(space: Mapping[str, Range], train: Train, search: Search, progress: Callable[[int, int], None]) -> Tuned:
    """Search ``space``; trials that the study has already are not repeated.

    An interrupted trial goes on under its number, and what is suggested depends on ``seed``, the number and the trials before only: a
    resumed search finds what an undisturbed one does. Raises InputError if there is nothing to search or the study is damaged, EdgekdError
    if no trial finished, and what ``train`` raises, but for EdgekdErrors of one training (a loss that is not finite).
    """
    if not space:
        raise InputError("no loss has a temperature, and there is no second weight", where="recipe, losses", expected="something to search")
    search.folder.mkdir(parents=True, exist_ok=True)
    file = search.folder / "study.sqlite3"
    with runs.lock(search.folder, wait=lambda who: LOG.warning("%s searches the same: waiting", who)):
        study = _open(file)
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial({name: r.now for name, r in space.items()})
        while (done := len(_of(study, *_OVER))) < search.trials:
            progress(done, search.trials)
            _trial(study, space, train, search.seed)
        progress(done, done)
        return _result(study, space, search.n, file)


_OVER = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def _open(file: Path) -> Study:
    """The study in ``file``, made if there is none."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = MedianPruner(n_startup_trials=UNPRUNED, n_warmup_steps=0)
    try:
        storage = RDBStorage(f"sqlite:///{file.resolve()}")
        return optuna.create_study(study_name="edgekd", storage=storage, direction="maximize", pruner=pruner, load_if_exists=True)
    except Exception as error:  # of sqlalchemy, alembic or optuna, whatever the damage is
        raise InputError(
            f"cannot be read as a search ({type(error).__name__})", where=str(file), expected="what --tune wrote", mend="delete the file"
        ) from error


def _trial(study: Study, space: Mapping[str, Range], train: Train, seed: int) -> None:
    """One trial: the one that was interrupted, or the next."""
    begun = _of(study, TrialState.RUNNING)
    number = begun[0].number if begun else len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING, *_OVER)))
    study.sampler = TPESampler(seed=(seed + number) % 2**32, n_startup_trials=RANDOM)
    trial = Trial(study, begun[0]._trial_id) if begun else study.ask()
    values = {name: trial.suggest_float(name, r.low, r.high, log=True) for name, r in space.items()}
    known = study.get_trials(deepcopy=False)[trial.number].intermediate_values

    def tell(at: int, share: float) -> None:
        if at not in known:
            trial.report(share, at)
            if trial.should_prune():
                raise Pruned

    try:
        share = train(values, trial.number, tell)
    except Pruned:
        study.tell(trial, state=TrialState.PRUNED)
    except InputError:
        raise  # wrong for every trial; once mended, this one goes on
    except EdgekdError as error:
        LOG.warning("trial %d: %s", trial.number, str(error).splitlines()[0])
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, share)


def _result(study: Study, space: Mapping[str, Range], n: int, storage: Path) -> Tuned:
    complete = sorted(_of(study, TrialState.COMPLETE), key=lambda t: (-_value(t), t.number))
    if not complete:
        failed = len(_of(study, TrialState.FAIL))
        mend = f"a lower learning_rate in the recipe's preset, or other losses; or more --trials; the search is in {storage}"
        raise EdgekdError(f"no trial finished: {failed} failed\n  to mend:  {mend}")
    best, top = complete[0], complete[: max(TOP, len(complete) // 4)]
    own = next((t for t in complete if t.number == 0), None)
    weigh = _importances(study, complete) if len(complete) >= ENOUGH else {}
    parameters = {}
    for name in space:
        values = [t.params[name] for t in top]
        parameters[name] = Found(best.params[name], min(values), max(values), weigh.get(name))
    shares = [Share(round(_value(t) * n), n) if t else None for t in (best, own)]
    assert shares[0] is not None
    p = shares[0].value
    noise = math.sqrt(2 * max(p * (1 - p), 1 / n) / n)
    pruned, failed = (len(_of(study, state)) for state in (TrialState.PRUNED, TrialState.FAIL))
    return Tuned(parameters, shares[0], shares[1], noise, len(top), len(complete), pruned, failed, storage)


def _importances(study: Study, complete: list[FrozenTrial]) -> dict[str, float]:
    """Shares of the variance by parameter (PED-ANOVA: Watanabe, Bansal, Hutter 2023); none where all trials are alike."""
    if len({_value(t) for t in complete}) < 2:
        return {}
    return get_param_importances(study)


def _value(trial: FrozenTrial) -> float:
    return float(trial.value if trial.value is not None else -math.inf)


def _of(study: Study, *states: TrialState) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=states)
