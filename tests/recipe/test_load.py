"""Recipes: found by path, folder and name; presets and checkpoints."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from edgekd.errors import InputError
from edgekd.recipe.load import LoadedRecipe, check, checkpoint, find, json_schema, load, preset


@pytest.fixture
def folder(repository: Path) -> Path:
    return repository / "models" / "fashion_mnist"


def test_by_path_folder_and_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for where in (folder, folder / "recipe.toml", str(folder), "fashion_mnist"):
        loaded = load(where)
        assert loaded.recipe.name == "fashion_mnist"
        assert loaded.folder == folder


def test_a_users_own_recipe_goes_first(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "models" / "fashion_mnist"
    own.mkdir(parents=True)
    (own / "recipe.toml").write_text((folder / "recipe.toml").read_text().replace("validation = 5000", "validation = 100"))
    monkeypatch.chdir(tmp_path)
    assert find("fashion_mnist") == Path("models/fashion_mnist/recipe.toml")
    assert load("fashion_mnist").recipe.data.options == {"validation": 100}


def test_the_packaged_recipe(folder: Path) -> None:
    recipe = load(folder).recipe
    assert sum(loss.weight for loss in recipe.losses) == pytest.approx(1.0)
    assert {"demo", "best"} <= recipe.presets.keys()
    assert recipe.targets["nucleo-l4r5zi"].model_bytes == 65536
    assert recipe.targets["pixel-8"].model_bytes == 524288
    assert recipe.targets["orin-nano"].model_bytes == recipe.targets["intel-n100"].model_bytes == 2097152
    jsonschema.validate(recipe.model_dump(exclude_none=True), json_schema())


def test_preset(folder: Path) -> None:
    recipe = load(folder).recipe
    assert preset(recipe, "best").float_epochs >= preset(recipe, "demo").float_epochs
    with pytest.raises(InputError) as caught:
        preset(recipe, "bset")
    assert str(caught.value).startswith("recipe fashion_mnist: no preset is called 'bset'\n")
    assert "expected: demo, best" in str(caught.value)
    assert "--preset best" in str(caught.value)


def test_checkpoint(folder: Path, tmp_path: Path) -> None:
    loaded = LoadedRecipe(load(folder).recipe, tmp_path)
    with pytest.raises(InputError, match=r"teacher\.checkpoint: .*teacher\.safetensors does not exist\n.*\n.*edgekd teach"):
        checkpoint(loaded, loaded.recipe.all_teachers[0])
    (tmp_path / "teacher.safetensors").write_bytes(b"")
    assert checkpoint(loaded, loaded.recipe.all_teachers[0]) == tmp_path / "teacher.safetensors"


def test_a_search_is_checked_like_a_student(folder: Path, tmp_path: Path) -> None:
    text = (folder / "recipe.toml").read_text()
    own = tmp_path / "recipe.toml"
    own.write_text(text + '\n[search.vit]\noptions = { width = 8 }\nspace = { "width[]" = [8], depth = [], heads = [2, 2] }\n')
    found = {problem.key for problem in check(own)[1]}
    assert found == {"search.vit.space.width[]", "search.vit.space.depth", "search.vit.space.heads"}
