"""The teachers' outputs by several processes: each computes every so manieth shard, which the one that trains takes in."""

from __future__ import annotations

from pathlib import Path

from edgekd.data.dataset import Dataset
from edgekd.data.views import Views
from edgekd.recipe.load import LoadedRecipe
from edgekd.recipe.schema import Preset
from edgekd.train.ask import Asked, Progress, missing_shards, ready, some_shards


def missing(loaded: LoadedRecipe, data: Dataset, cache: Path, preset: Preset) -> int:
    """Shards of the outputs of all teachers that are not in ``cache``; 0 where they are not known before something else is made."""
    if loaded.recipe.data_free is not None:
        return 0
    asked = _asked(loaded, data, preset)
    return sum(missing_shards(ready(loaded, table, asked), asked, cache) for table in loaded.recipe.all_teachers)


def compute(loaded: LoadedRecipe, data: Dataset, cache: Path, preset: Preset, share: tuple[int, int], progress: Progress) -> None:
    """Compute the shards whose number leaves ``share[0]`` when divided by ``share[1]``."""
    asked = _asked(loaded, data, preset)
    for table in loaded.recipe.all_teachers:
        some_shards(ready(loaded, table, asked), asked, cache, share, progress)
    asked.data.check_unchanged()


def _asked(loaded: LoadedRecipe, data: Dataset, preset: Preset) -> Asked:
    """As ``open_lesson`` asks."""
    recipe = loaded.recipe
    views = Views(**(preset.views or recipe.views).model_dump())
    return Asked(data.for_teachers, views, validation=recipe.ensemble is not None and recipe.ensemble.how == "per_class")
