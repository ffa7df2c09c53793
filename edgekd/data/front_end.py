"""A student's own front-end: the same clips as the data's, computed with other numbers (mel filters, hop, frame …).

What a recipe's [data] says is what its teachers see, and were trained on; [student] frontend says what the student is fed instead. A device
computes the student's. The samples and their order are the same, so that the teachers' answers, computed once, are soft targets for any
front-end.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.data.dataset import Dataset, Split
from edgekd.data.load import check_recipe_data, load_data
from edgekd.errors import InputError
from edgekd.recipe.schema import Recipe

#: The option of a source by which features are asked for, and what messages call it.
OPTION = "features"
ASKED = f"data.options.{OPTION}"
STUDENTS = "recipe, student.frontend"
#: Datasets held at a time, and samples of a glimpse.
HELD, GLIMPSE = 4, 32


class FrontEnds:
    """The data of one recipe through any front-end. ``own`` is the data as it stands in [data], where that is loaded already."""

    def __init__(self, recipe: Recipe, folder: Path, own: Dataset | None = None) -> None:
        self._recipe, self._folder, self._given = recipe, folder, own
        self._held, self._glimpses = OrderedDict[str, Dataset](), dict[str, Dataset]()

    @cached_property
    def own(self) -> Dataset:
        """As it stands in [data]. Raises as ``check_recipe_data`` does."""
        if self._given is not None:
            return self._given
        table = self._recipe.data
        return check_recipe_data(table.source, table.options, self._folder, channels=self._recipe.channels)

    def check(self, names: Mapping[str, Any], where: str) -> None:
        """Raises InputError where the data is not computed by numbers of these ``names``."""
        known = [name for name in self.own.front_end if name != "kind"]
        if not known:
            raise InputError(
                f"the data of {self._recipe.data.source} has no front-end: nothing is computed before the student sees it",
                where=where,
                expected="features of sound: spoken_digits, audio_folder, or a source of your own that states its front_end",
                mend=f"delete {where.rpartition('recipe, ')[2]}",
            )
        for name in names:
            if name not in known:
                raise InputError(f"{name!r} is no number of the front-end", where=where, expected=", ".join(known))

    def differing(self, front_end: Mapping[str, Any]) -> dict[str, Any]:
        """What of ``front_end`` is not as it stands in [data]: the same features are always said in the same way."""
        return {name: value for name, value in sorted(front_end.items()) if self.own.front_end.get(name) != value}

    def data(self, front_end: Mapping[str, Any] | None, where: str = STUDENTS) -> Dataset:
        """What the student is fed through ``front_end``, with what the teachers see; the data itself where that is its own.

        Raises InputError where there is no such front-end, or the source gives other samples through it.
        """
        if not front_end:
            return self.own
        self.check(front_end, where)
        if not (changed := self.differing(front_end)):
            return self.own
        name = json.dumps(changed)
        if name not in self._held:
            self._held[name] = self._loaded(changed, where)
        self._held.move_to_end(name)
        while len(self._held) > HELD:
            self._held.popitem(last=False)
        return self._held[name]

    def glimpse(self, front_end: Mapping[str, Any] | None, where: str = STUDENTS) -> Dataset:
        """As ``data``, with a few training samples, spread over the split and the same for all, and a few of the others; kept."""
        name = json.dumps(self.differing(front_end or {}))
        if name not in self._glimpses:
            whole = self.data(front_end, where)
            parts = {which: _few(getattr(whole, which)) for which in ("train", "validation", "test")}
            self._glimpses[name] = replace(whole, teachers_see=None, **parts)
        return self._glimpses[name]

    def _loaded(self, changed: Mapping[str, Any], where: str) -> Dataset:
        table = self._recipe.data
        options = {**table.options, OPTION: {**table.options.get(OPTION, {}), **changed}}
        try:
            found = load_data(table.source, options, self._folder)
        except InputError as error:
            if not error.where.startswith(ASKED):
                raise
            raise InputError(error.what, where=where, expected=error.expected, mend=error.mend) from error
        wrong = {name: found.front_end.get(name) for name, value in changed.items() if found.front_end.get(name) != value}
        if wrong or found.heads != self.own.heads or found.shape[2] != self.own.shape[2]:
            says = f"a front-end of {wrong}" if wrong else "other tasks or channels"
            raise InputError(f"{table.source} returned {says}", where=where, expected=f"{dict(changed)}, and all else as without it")
        return replace(found, teachers_see=self.own)


def _few(split: Split) -> Split:
    return split.take(np.linspace(0, len(split) - 1, min(GLIMPSE, len(split))).astype(int))
