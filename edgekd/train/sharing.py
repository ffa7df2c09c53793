"""The teachers' outputs by several processes: each computes every so manieth shard, which the one that trains takes in."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from pathlib import Path

from edgekd.data.dataset import Dataset
from edgekd.data.views import Views
from edgekd.errors import InputError
from edgekd.recipe.load import LoadedRecipe
from edgekd.recipe.schema import Preset
from edgekd.teachers.reading import Reader
from edgekd.teachers.soft_targets import Shown, forget_shared, key, missing_targets, shared_targets
from edgekd.teachers.teacher import Teacher
from edgekd.train.ask import Asked, Progress, asked_for, ready, run_of

#: A teacher, what it is shown, the file of its outputs, and what progress calls them.
Work = tuple[Teacher | Reader, Shown, Path, str]


def missing(loaded: LoadedRecipe, data: Dataset, cache: Path, preset: Preset) -> int:
    """Shards of the outputs of all teachers that are not in ``cache``; 0 where they are not known before something else is made."""
    if loaded.recipe.data_free is not None:
        return 0
    work = _work(loaded, _asked(loaded, data, preset), cache)
    return sum(missing_targets(teacher, shown, file) for teacher, shown, file, _ in work)


def compute(loaded: LoadedRecipe, data: Dataset, cache: Path, preset: Preset, share: tuple[int, int], progress: Progress) -> None:
    """Compute the shards whose number leaves ``share[0]`` when divided by ``share[1]``.

    Raises InputError if the data was changed meanwhile: then nothing is left of what was computed, for it stands for data of another hash.
    """
    asked = _asked(loaded, data, preset)
    for teacher, shown, file, what in _work(loaded, asked, cache):
        told = partial(progress, f"{what}, part {share[0] + 1} of {share[1]}")
        shared_targets(teacher, shown, file, share, told, run=run_of(teacher))
    try:
        asked.data.check_unchanged()
    except InputError:
        for teacher, shown, file, _ in _work(loaded, asked, cache):
            forget_shared(teacher, shown, file)
        raise


def _work(loaded: LoadedRecipe, asked: Asked, cache: Path) -> Generator[Work]:
    for table in loaded.recipe.all_teachers:
        one = ready(loaded, table, asked)
        if (teacher := one.teacher) is None:
            continue
        for what, (shown, hashes) in asked_for(one, asked).items():
            yield teacher, shown, cache / "soft_targets" / f"{key(*hashes)}.npy", what + one.of


def _asked(loaded: LoadedRecipe, data: Dataset, preset: Preset) -> Asked:
    """As ``open_lesson`` asks."""
    recipe = loaded.recipe
    views = Views(**(preset.views or recipe.views).model_dump())
    return Asked(data.for_teachers, views, validation=recipe.ensemble is not None and recipe.ensemble.how == "per_class")
