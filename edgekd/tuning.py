"""The search behind `edgekd advise --tune`: what may be changed in a recipe, and the short training that judges a change."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from math import ceil, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd import host, lazy, runs
from edgekd.advice import Progress, load, soft_temperatures
from edgekd.advise.finding import loss_lines, rounded
from edgekd.errors import InputError
from edgekd.jobs import Job, Request, plan_job
from edgekd.recipe.schema import Recipe

if TYPE_CHECKING:
    from edgekd.advise.tune import Range, Tuned

#: Temperatures of Hinton et al. (2015), and weights from a thirtieth to thirty times the recipe's: further out one loss is alone.
TEMPERATURES, TIMES = (1.0, 20.0), 30.0


@dataclass(frozen=True)
class Search:
    """What a search ``found`` in ``space``, what is to be ``said`` of it, and the ``lines`` of the recipe's losses."""

    recipe: str
    target: str
    epochs: float
    space: dict[str, Range]
    found: Tuned
    said: tuple[str, ...]
    lines: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"found": asdict(self.found) | {"storage": str(self.found.storage)}}


def tune_recipe(request: Request, progress: Progress, *, trials: int, epochs: float) -> Search:
    """Search temperatures and weights of the recipe's losses on the validation split, by float trainings of the first target's student.

    Each training takes ``epochs`` passes and the same seed. The search lies in the cache under what decides it: recipe, student, teacher,
    data, schedule, seed; more ``trials`` go on with it. Raises InputError for what cannot be loaded or searched, DoesNotFit if no student
    fits, MissingDependency without Optuna.
    """
    tune, make = lazy.load("edgekd.advise.tune:tune"), lazy.load("edgekd.advise.tune:Search")
    jobs = load(request)[2]
    job, data, recipe = jobs[0], jobs[0].data, jobs[0].loaded.recipe
    space = search_space(recipe)
    if not space:
        raise InputError("no loss has a temperature, and there is no second weight", where="recipe, losses", expected="something to search")
    if not isfinite(epochs):
        raise InputError(f"--epochs {epochs}", where="command line", expected="a number of passes", mend="--epochs 3")
    lazy.load("torch:set_num_threads")(host.threads(request.threads))
    spec = job.family.restore(plan_job(job).spec)
    short = job.preset.model_copy(update={"float_epochs": epochs, "peers": 1, "patience": 0})

    def rehearse(made_up: Any) -> None:
        training = lazy.load("edgekd.train.student:Training")(made_up, short, job.family.resolution(spec), request.seed)
        lazy.load("edgekd.train.student:try_out")(job.family.build(spec), training)

    lesson = lazy.load("edgekd.train.lesson:open_lesson")(job.loaded, data, runs.cache_folder(), progress, short, rehearse)
    same = _same(job, short.model_dump(), job.family.describe(spec), lesson.teacher_sha256, space)
    folder = runs.cache_folder() / "search" / runs.digest(same)[:32]

    def train(values: Mapping[str, float], number: int, tell: Callable[[int, float], None]) -> float:
        return _train(job, short, spec, applied(recipe, values), folder / f"trial-{number}", progress, tell)

    asked = make(folder, trials, len(data.validation) * len(data.heads), request.seed)
    found = tune(space, train, asked, lambda done, total: progress("search", done, total))
    lines = [
        line for loss in applied(recipe, {n: rounded(p.best) for n, p in found.parameters.items()}).losses for line in loss_lines(loss)
    ]
    return Search(recipe.name, job.profile.name, epochs, space, found, _said(found, recipe, short.float_epochs), tuple(lines))


def search_space(recipe: Recipe) -> dict[str, Range]:
    """What is searched: the temperature of each loss that has one, and the weight of each but the first, whose weight is the measure.

    Only the ratio of the weights matters to AdamW. Losses of weight 0, or of the quantized training alone, are left as they are.
    """
    make = lazy.load("edgekd.advise.tune:Range")
    space: dict[str, Range] = {}
    places = [at for at, loss in enumerate(recipe.losses) if loss.weight and loss.phase != "qat"]
    temperatures = soft_temperatures(recipe)
    for at in places:
        if at in temperatures:
            now = temperatures[at]
            space[f"{_called(recipe, at)}.temperature"] = make(min(TEMPERATURES[0], now), max(TEMPERATURES[1], now), now)
        if at != places[0]:
            now = recipe.losses[at].weight
            space[f"{_called(recipe, at)}.weight"] = make(now / TIMES, now * TIMES, now)
    return space


def applied(recipe: Recipe, values: Mapping[str, float]) -> Recipe:
    """The recipe with ``values``, by the keys of its search space, in its losses."""
    losses = []
    for at, loss in enumerate(recipe.losses):
        name = _called(recipe, at)
        if (temperature := values.get(f"{name}.temperature")) is not None:
            loss = loss.model_copy(update={"options": {**loss.options, "temperature": temperature}})
        losses.append(loss.model_copy(update={"weight": values.get(f"{name}.weight", loss.weight)}))
    return recipe.model_copy(update={"losses": losses})


def _called(recipe: Recipe, at: int) -> str:
    name = recipe.losses[at].name
    return name if sum(loss.name == name for loss in recipe.losses) == 1 else f"{name}[{at}]"


def _same(job: Job, schedule: dict[str, Any], spec: dict[str, Any], teacher: str, space: Mapping[str, Range]) -> dict[str, Any]:
    """What decides the result of a search."""
    recipe = job.loaded.recipe
    names = [recipe.student.family, *(loss.name for loss in recipe.losses)]
    return {
        "recipe": {**recipe.model_copy(update={"about": None}).model_dump(), "presets": {}, "targets": {}},
        "schedule": {key: value for key, value in schedule.items() if not key.startswith("qat_")},
        "data": job.data.sha256,
        "teacher": teacher,
        "spec": spec,
        "seed": job.request.seed,
        "version": lazy.load("edgekd.train.student:TRAINING_VERSION"),
        "own": {name: lazy.source_sha256(name) for name in names},
        "space": {name: asdict(r) for name, r in space.items()},
    }


def _train(job: Job, short: Any, spec: Any, recipe: Recipe, folder: Path, progress: Progress, tell: Callable[[int, float], None]) -> float:
    """One short float training, which goes on where it was interrupted; its state is removed when it is over. Accuracy on validation."""
    from edgekd.advise.tune import Pruned

    loaded = replace(job.loaded, recipe=recipe)
    lesson = lazy.load("edgekd.train.lesson:open_lesson")(loaded, job.data, runs.cache_folder(), progress, short)
    training = lazy.load("edgekd.train.student:Training")(lesson, short, job.family.resolution(spec), job.request.seed)
    fit, make, desk = (lazy.load(f"edgekd.train.loop:{name}") for name in ("fit", "Phase", "Desk"))
    lazy.load("torch:manual_seed")(job.request.seed)
    model, steps = job.family.build(spec), training.feed.steps
    phase = make("float", short.float_epochs, short.learning_rate, short.weight_decay, seed=job.request.seed, **training.keeps)

    def board(_: str, step: int, entry: Mapping[str, Any]) -> None:
        if "validation" in entry:  # between passes, and not within one
            tell(ceil(step / steps), entry["validation"])

    folder.mkdir(parents=True, exist_ok=True)
    try:
        history = fit(model, training.course, phase, desk(folder / "float.state", progress, board))
    except Pruned:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)
    return history[-1]["validation"]


def _said(found: Tuned, recipe: Recipe, epochs: float) -> tuple[str, ...]:
    """What the figures mean, and what they do not."""
    low, high = found.best.interval
    best, of = f"{found.best.value:.2%} ({low:.2%}–{high:.2%}, n={found.best.n})", f"the best of {found.finished}"
    said = [
        f"{found.finished} trainings of {epochs:g} passes finished, {found.pruned} were pruned, {found.failed} failed",
        f"best on validation: {best}, {of}: by itself too high",
    ]
    if found.own is None:
        said.append("the recipe's own values: did not finish")
    else:
        gain, verdict = 100 * (found.best.value - found.own.value), "more than" if found.beyond_noise else "within"
        error = f"standard error of a difference {100 * found.noise:.2f} points"
        said.append(f"the recipe's own values: {found.own.value:.2%}; {gain:+.2f} points are {verdict} what chance gives {of} ({error})")
    if recipe.intermediates is not None:
        said.append("the short trainings had no assistants and no generations")
    said.append(f"one seed, float, short: compare builds of both over several seeds before you keep it. Kept in {found.storage}")
    return tuple(said)
