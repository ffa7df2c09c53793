"""What a file of methods may say, and each method laid over one recipe.

    methods = "other.toml"      the methods of another file beside this one, before its own; optional
    [base]                      laid over the recipe for all methods; optional, any key of a recipe
    [NAME]                      one method: the keys of METHOD, laid over that

Tables are merged, everything else is replaced; ``teachers`` replaces ``teacher`` and the other way round. A method cannot touch the
student, nor how long or how fast it is trained: these are the same for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekd import lazy
from edgekd.errors import InputError
from edgekd.losses import LOSSES
from edgekd.profile.strict import Problem, Strict, read_toml, refusal, validate
from edgekd.recipe.load import LoadedRecipe, find
from edgekd.recipe.load import load as load_recipe
from edgekd.recipe.load import preset as preset_of
from edgekd.recipe.rules import contradictions
from edgekd.recipe.schema import Recipe

PLAIN = "plain"
#: What is the same for all methods, and so belongs under [base].
SHARED = ("schema_version", "name", "student", "presets", "targets")


class PresetChanges(Strict):
    """What a method may change in the schedule; epochs, batches and learning rates stay."""

    ema: Any = None
    peers: Any = None
    views: Any = None


class MethodTable(Strict):
    """One method. ``baseline = true`` is another way of plain training: never chosen as the best method, which has to beat it too."""

    paper: str = ""
    note: str = ""
    baseline: bool = False
    preset: PresetChanges = PresetChanges()
    data: Any = None
    teacher: Any = None
    teachers: Any = None
    ensemble: Any = None
    losses: Any = None
    views: Any = None
    curate: Any = None
    intermediates: Any = None
    data_free: Any = None


#: Keys of a method that are no keys of a recipe.
OWN = ("paper", "note", "baseline", "preset")


@dataclass(frozen=True)
class Method:
    """One way to train the recipe's student: ``loaded`` is the recipe as it stands then."""

    name: str
    paper: str
    note: str
    baseline: bool
    loaded: LoadedRecipe


@dataclass(frozen=True)
class Shelf:
    """The methods of one ``file``, ``plain`` first; ``base`` is what they are laid over."""

    file: Path
    base: LoadedRecipe
    methods: tuple[Method, ...]

    def only(self, names: Sequence[str]) -> Shelf:
        """``plain`` and the methods that ``names`` name. Raises InputError for one that there is not."""
        known = [method.name for method in self.methods]
        for name in names:
            if name not in known:
                raise InputError(f"no method is called {name!r}", where=f"--only, {self.file}", expected=", ".join(known))
        return replace(self, methods=tuple(m for m in self.methods if m.name in names or m.name == PLAIN))


def read_shelf(recipe: str, file: Path, preset: str, epochs: Mapping[str, float]) -> Shelf:
    """The methods of ``file`` over ``recipe``, whose ``preset`` gets these ``epochs``.

    Raises InputError for a recipe, a file or a method that is wrong, naming method and key.
    """
    raw, folder = _raw(recipe), load_recipe(recipe).folder
    tables, bases = _tables(file)
    for base in bases:
        raw = laid_over(raw, base)
    checked = _recipe(raw, file, "base", preset)
    preset_of(checked, preset)
    raw = laid_over(raw, {"presets": {preset: dict(epochs)}})
    base = LoadedRecipe(_recipe(raw, file, "base", preset), folder)
    if PLAIN not in tables:
        mend = f'[{PLAIN}] with losses = [{{ name = "cross_entropy", weight = 1.0 }}]'
        raise InputError(f"has no table [{PLAIN}]", where=str(file), expected="plain training, to compare with", mend=mend)
    names = sorted(tables, key=lambda name: name != PLAIN)
    return Shelf(file, base, tuple(_method(name, tables[name], file, preset, (raw, folder)) for name in names))


def laid_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` on top of ``under``: tables merged, all else replaced."""
    out = dict(under)
    for one, other in (("teacher", "teachers"), ("teachers", "teacher")):
        if one in over:
            out.pop(other, None)
    for key, value in over.items():
        below = out.get(key)
        out[key] = laid_over(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return out


def _raw(recipe: str) -> dict[str, Any]:
    load_recipe(recipe)  # with the messages that `edgekd build` gives
    raw = read_toml(find(recipe))
    assert isinstance(raw, dict)
    return raw


def _tables(file: Path, *, nested: bool = False) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The methods' tables by name, and what is laid under all of them, in this order."""
    raw = read_toml(file)
    if isinstance(raw, Problem):
        raise refusal(file, [raw])
    tables: dict[str, Any] = {}
    bases: list[dict[str, Any]] = []
    if (other := raw.pop("methods", None)) is not None:
        if not isinstance(other, str) or nested:
            found = f"methods = {other!r}" + (" in a file that another one names" if nested else "")
            raise InputError(found, where=str(file), expected="a file beside this one, which names no further one")
        tables, bases = _tables(file.parent / other, nested=True)
    base = raw.pop("base", {})
    for name, table in {"base": base, **raw}.items():
        if not isinstance(table, dict):
            raise InputError(f"{name} = {table!r:.60}", where=str(file), expected="a table, one a method", mend=f"[{name}]")
        if not re.fullmatch("[a-z0-9][a-z0-9_]*", name):
            raise InputError(f"a method called {name!r}", where=str(file), expected="lower-case letters, digits and _")
    return tables | raw, [*bases, base]


def _method(name: str, raw: dict[str, Any], file: Path, preset: str, under: tuple[dict[str, Any], Path]) -> Method:
    expected = ", ".join(MethodTable.model_fields)
    problems = [Problem(key, "is the same for all methods", expected, f"[base.{key}]") for key in SHARED if key in raw]
    table, more = validate(MethodTable, {k: v for k, v in raw.items() if k not in SHARED}, lambda sections: ())
    if table is None or problems:
        raise refusal(file, [replace(p, key=f"{name}.{p.key}") for p in (*problems, *more)])
    changes = {key: value for key, value in raw.items() if key not in OWN}
    schedule = dict(raw.get("preset", {}))
    beneath, folder = under
    if "views" in changes and "views" in beneath["presets"][preset]:
        schedule = {"views": changes.pop("views"), **schedule}  # the preset's own views count, not the recipe's
    if schedule:
        changes["presets"] = {preset: schedule}
    recipe = _recipe(laid_over(beneath, changes), file, name, preset)
    for n, loss in enumerate(recipe.losses):
        lazy.resolve(loss.name, LOSSES, where=f"{file}: {name}.losses[{n}].name")
    return Method(name, table.paper, table.note, table.baseline, LoadedRecipe(recipe, folder))


def _recipe(raw: dict[str, Any], file: Path, name: str, preset: str) -> Recipe:
    recipe, problems = validate(Recipe, raw, contradictions)
    if recipe is None or problems:
        raise refusal(file, list(_named(problems, name, preset)))
    return recipe


def _named(problems: Sequence[Problem], name: str, preset: str) -> Iterator[Problem]:
    """With the keys that stand in the file of methods."""
    for problem in problems:
        key = problem.key
        if name != "base":
            key = key.replace(f"presets.{preset}.", "preset.", 1)
        yield replace(problem, key=f"{name}.{key}")
