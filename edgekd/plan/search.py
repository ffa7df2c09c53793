"""A search among students that are counted and scored, not trained: NSGA-II (Deb et al. 2002) under the budgets of all targets at once."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import NSGAIISampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from edgekd import runs
from edgekd.errors import DoesNotFit, InputError
from edgekd.plan.space import choices, draw

LOG = logging.getLogger(__name__)
#: Of one generation; the first is drawn at random.
POPULATION = 32
#: So many draws that make no student, and none that makes one, are the space's fault, not bad luck.
HOPELESS = 50
_CANDIDATE = "candidate"


@dataclass(frozen=True)
class Space:
    """One family with what is fixed and what may be chosen (see plan/space.py)."""

    family: str
    options: Mapping[str, Any]
    space: Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Candidate:
    """A student that was counted: ``options`` are what its family is asked for, ``spec`` what the family describes it by.

    ``use`` is the largest share of a budget that it uses, by target: it fits where that is at most 1. ``score`` is a training-free one,
    −inf where none was taken, since it fits nowhere. Bytes are those for the first target. ``front_end`` is what of the features that it
    is fed is not as in the recipe's data, and ``front_end_work`` how many multiplications these take.
    """

    family: str
    options: Mapping[str, Any]
    spec: Mapping[str, Any]
    macs: int
    parameters: int
    model_bytes: int
    ram_bytes: int
    use: Mapping[str, float]
    score: float
    front_end: Mapping[str, Any] = field(default_factory=dict)
    front_end_work: int = 0

    @property
    def name(self) -> str:
        """The same student is the same name."""
        fed = {"front_end": dict(self.front_end)} if self.front_end else {}
        return runs.digest({"family": self.family, "spec": dict(self.spec), **fed})[:8]

    @property
    def work(self) -> int:
        """Multiplications for one sample, those of its features included."""
        return self.macs + self.front_end_work

    def fits(self, target: str) -> bool:
        return self.use[target] <= 1


@dataclass(frozen=True)
class Asked:
    """How many ``trials`` in all, in the study that ``folder`` holds, from ``seed`` on; ``front_end`` is chosen from for every family."""

    folder: Path
    trials: int
    seed: int
    front_end: Mapping[str, Sequence[Any]] = field(default_factory=dict)


#: (family, options, what is chosen of the front-end) → the candidate. Raises InputError for what makes no student.
Count = Callable[[str, Mapping[str, Any], Mapping[str, Any]], Candidate]


def explore(spaces: Sequence[Space], count: Count, asked: Asked, progress: Callable[[int, int], None]) -> tuple[Candidate, ...]:
    """Every candidate of a search of ``asked.trials``, each once; trials that the study has already are not repeated.

    Searched are a high score, few MACs (the front-end's multiplications among them), few bytes and little RAM at once, so that one search
    serves targets of all sizes; what fits no target gives way to what fits one. Several processes may search the same at a time. Raises
    InputError where the spaces make no student or the study is damaged, DoesNotFit if nothing fits any target.
    """
    asked.folder.mkdir(parents=True, exist_ok=True)
    study, wrong = _open(asked.folder / "study.journal"), list[InputError]()
    while (done := len(_finished(study))) < asked.trials:
        progress(done, asked.trials)
        trial = _next(study, asked.seed)
        chosen, values, front_end = _suggested(trial, spaces, asked.front_end)
        try:
            counted = count(chosen.family, draw(chosen.options, chosen.space, lambda name, _, found=values: found[name]), front_end)
        except InputError as error:
            study.tell(trial, state=TrialState.FAIL)
            wrong.append(error)
            if len(wrong) >= HOPELESS and not _complete(study):
                break
            continue
        _tell(study, trial, counted)
    if not _complete(study):
        raise _hopeless(wrong, len(_finished(study)))
    progress(done, asked.trials)
    made = {c.name: c for trial in _complete(study) for c in [_candidate(trial, asked.folder)]}
    if not any(min(c.use.values()) <= 1 for c in made.values()):
        raise DoesNotFit(_refusal(list(made.values())))
    return tuple(made.values())


def _candidate(trial: FrozenTrial, folder: Path) -> Candidate:
    """What a trial counted. Raises InputError if that is damaged."""
    try:
        found = Candidate(**json.loads(trial.user_attrs[_CANDIDATE]))
        if not all(isinstance(n, int | float) for n in (found.macs, found.parameters, found.score, *found.use.values())):
            raise TypeError("not a number")
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        found, where = f"trial {trial.number} is damaged ({type(error).__name__})", str(folder / "study.journal")
        raise InputError(found, where=where, expected="what --search wrote", mend="delete the file; trainings are kept") from error
    return found


def _drop_torn_line(file: Path) -> None:
    """A process that was killed while it wrote leaves half a line, which nobody can read."""
    if not file.is_file():
        return
    lock = JournalFileSymlinkLock(str(file))
    lock.acquire()
    try:
        content = file.read_bytes()
        if content and not content.endswith(b"\n"):
            runs.atomic_write(file, content[: content.rfind(b"\n") + 1])
    finally:
        lock.release()


def _hopeless(wrong: Sequence[InputError], failed: int) -> InputError:
    if not wrong:
        return InputError(f"{failed} draws made no student", where="search", expected="a space of students", mend="more --trials")
    last = wrong[-1]
    found = f"{failed} draws made no student; the last: {last.what}"
    return InputError(found, where=f"search, {last.where}", expected=last.expected, mend=last.mend)


def _open(file: Path) -> Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _drop_torn_line(file)
    try:
        study = optuna.create_study(
            study_name="edgekd",
            storage=JournalStorage(JournalFileBackend(str(file))),
            directions=["maximize", "minimize", "minimize", "minimize"],
            load_if_exists=True,
        )
        study.get_trials(deepcopy=False)  # which reads all of it
        return study
    except Exception as error:  # of json or optuna, whatever the damage is
        raise InputError(
            f"cannot be read as a search ({type(error).__name__})",
            where=str(file),
            expected="what --search wrote",
            mend="delete the file; trainings are kept",
        ) from error


def _next(study: Study, seed: int) -> Trial:
    """What is suggested depends on the seed and the trials that are over: interrupted or not, a search finds the same."""
    number = len(_finished(study))
    study.sampler = NSGAIISampler(population_size=POPULATION, seed=(seed + number) % 2**32)
    return study.ask()


def _suggested(
    trial: Trial, spaces: Sequence[Space], front_end: Mapping[str, Sequence[Any]]
) -> tuple[Space, dict[str, Any], dict[str, Any]]:
    """The space, a value of each of its choices, and of each of the front-end's.

    Choices are asked for by index: Optuna's own values are numbers and strings, ours lists as well. And all are asked for, those of other
    families and further stages too: what is not in every trial, NSGA-II does not inherit but draws anew.
    """

    def of(prefix: str, asked: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        return {name: values[trial.suggest_categorical(prefix + name, list(range(len(values))))] for name, values in asked.items()}

    place = trial.suggest_categorical("family", list(range(len(spaces)))) if len(spaces) > 1 else 0
    every = [of(f"{n}.", choices(one.options, one.space)) for n, one in enumerate(spaces)]
    return spaces[place], every[place], of("front-end.", front_end)


def _tell(study: Study, trial: Trial, found: Candidate) -> None:
    trial.set_user_attr(_CANDIDATE, json.dumps(asdict(found)))
    trial.set_constraint("budgets", min(found.use.values()) - 1)
    score = found.score if found.score > -1e9 else -1e9  # a database has no −inf
    study.tell(trial, [score, found.work, found.model_bytes, found.ram_bytes])


def _complete(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _finished(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))


def _refusal(made: Sequence[Candidate]) -> str:
    nearest = min(made, key=lambda c: min(c.use.values()))
    target = min(nearest.use, key=lambda name: nearest.use[name])
    spec = ", ".join(f"{key} {value}" for key, value in nearest.spec.items())
    return (
        f"none of {len(made)} students fits any target\n"
        f"  nearest: {nearest.family}, {spec}: {nearest.use[target]:.2f} times a budget of {target}\n"
        "  to mend:  smaller values in the recipe's search, or a wider budget"
    )
