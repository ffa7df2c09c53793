"""Recipes by path, folder or name, validated."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from edgekd import lazy
from edgekd.errors import InputError
from edgekd.profile.packaged import named, recipe_files
from edgekd.profile.strict import Problem, check_file, refusal
from edgekd.recipe import weights
from edgekd.recipe.rules import contradictions
from edgekd.recipe.schema import Preset, Recipe, StudentFile, Teacher


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe and the ``folder`` that it stands in: relative paths in it (data, checkpoint) are relative to that.

    ``beside`` is the folder that its student stands in, where that is another.
    """

    recipe: Recipe
    folder: Path
    beside: Path | None = None

    @property
    def initial(self) -> Path | None:
        """The weights that the student's training begins from. Raises InputError if they are not there."""
        if (name := self.recipe.student.initial) is None:
            return None
        return weights.beside(self.beside or self.folder, name, "student.initial", "delete initial")


def find(where: str | Path) -> Path:
    """The file of a recipe: a file or folder as given, or a name looked up in ``./models/*`` and then among the packaged ones.

    Raises InputError with the nearest names if there is none.
    """
    text, path = str(where), Path(where)
    if path.is_dir():
        return path / "recipe.toml"
    if isinstance(where, Path) or path.exists() or text.endswith(".toml") or "/" in text or "\\" in text:
        return path
    return named(text, recipe_files(), what="recipe", mend="give the folder that holds a recipe.toml")


def load(where: str | Path) -> LoadedRecipe:
    """The validated recipe. Raises InputError that lists every problem of the file, each with its cure."""
    path = find(where)
    recipe, problems = check(path)
    if recipe is None:
        raise refusal(path, problems)
    return LoadedRecipe(recipe, path.parent)


def check(path: Path) -> tuple[Recipe | None, list[Problem]]:
    """The recipe in ``path``, or None and all its problems."""
    recipe, problems = check_file(path, Recipe, contradictions)
    for at, teacher in enumerate(recipe.all_teachers if recipe else ()):
        # What the text alone does not show: a link in the folder that leads out of it.
        if teacher.checkpoint is not None and not (path.parent / teacher.checkpoint).resolve().is_relative_to(path.parent.resolve()):
            key = "teacher" if recipe and recipe.teacher else f"teachers[{at}]"
            found = f"{teacher.checkpoint!r} is a link out of the recipe's folder"
            problems.append(Problem(f"{key}.checkpoint", found, "a file beside the recipe", "copy the file there"))
    return (None, problems) if problems else (recipe, [])


def preset(recipe: Recipe, name: str) -> Preset:
    """The schedule called ``name``. Raises InputError that lists the recipe's presets."""
    if name in recipe.presets:
        return recipe.presets[name]
    near = get_close_matches(name, recipe.presets, 1)
    raise InputError(
        f"no preset is called {name!r}",
        where=f"recipe {recipe.name}",
        expected=", ".join(recipe.presets),
        mend=f"--preset {near[0] if near else next(iter(recipe.presets))}",
    )


def with_student(loaded: LoadedRecipe, where: Path, target: str) -> LoadedRecipe:
    """The recipe with another student: the [student] of the file ``where``, or of ``TARGET.toml`` in it where it is a folder.

    Raises InputError that lists every problem of the file.
    """
    file = where / f"{target}.toml" if where.is_dir() else where
    found, problems = check_file(file, StudentFile, lambda _: ())
    if found is None:
        raise refusal(file, problems)
    return LoadedRecipe(loaded.recipe.model_copy(update={"student": found.student}), loaded.folder, file.parent)


def own_code(recipe: Recipe) -> dict[str, str]:
    """Hashes of the user's own student, losses, critics …: their names in the recipe do not say that their code has changed."""
    more = [*(recipe.curate.critics if recipe.curate else ()), *recipe.losses]
    names = (recipe.student.family, *(one.name for one in more), *([recipe.data_free.method] if recipe.data_free else ()))
    return {name: sha256 for name in names if (sha256 := lazy.source_sha256(name))}


def checkpoint(loaded: LoadedRecipe, teacher: Teacher) -> Path | None:
    """The checkpoint file of one of the recipe's teachers; None where it names none. Raises InputError if it is not there."""
    name = teacher.checkpoint
    if name is None:
        return None
    path = loaded.folder / name
    if not path.is_file():
        raise InputError(
            f"teacher.checkpoint: {path} does not exist",
            where=f"recipe {loaded.recipe.name}",
            expected="a trained teacher",
            mend=f"edgekd teach {loaded.folder}",
        )
    return path


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a recipe, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}
