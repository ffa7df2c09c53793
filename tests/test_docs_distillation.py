"""docs/distillation.md: its example of a new loss works as it stands there, and its table is the shelf."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from edgekd.data.dataset import Task
from edgekd.losses import LOSSES
from edgekd.recipe.load import load as load_recipe
from edgekd.train.terms import terms
from tests.small_builds import edgekd, exported, recipe

HEADS = (Task("", ("a", "b", "c", "d")),)


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "distillation.md").read_text()


@pytest.fixture
def example(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """The page's loss as a module of the user's own and as edgekd's; the line of LOSSES as (name, object)."""
    code, _ = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (line,) = re.findall(r'^    "(\w+)": "([\w.]+:\w+)",$', page, re.MULTILINE)
    (tmp_path / "my_own_losses.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    theirs = line[1].partition(":")[0]
    spec = importlib.util.spec_from_file_location(theirs, tmp_path / "my_own_losses.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, theirs, module)
    yield line
    sys.modules.pop("my_own_losses", None)


def test_the_example_is_not_on_the_shelf_already(example: tuple[str, str], repository: Path):
    name, path = example
    assert name not in LOSSES
    assert not (repository / path.partition(":")[0].replace(".", "/")).with_suffix(".py").exists()


def test_the_examples_own_test_passes(page: str, example: tuple[str, str]):
    _, test = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    found: dict[str, Callable[[], None]] = {}
    exec(compile(test, "docs/distillation.md", "exec"), found)
    names = [name for name in found if name.startswith("test_")]
    assert len(names) == 2
    for name in names:
        found[name]()


def changed(name: str) -> dict[str, str]:
    """The small recipe with the page's loss under ``name`` instead of soft targets."""
    return {'name = "soft_targets"\nweight = 0.1': f'name = "{name}"\nweight = 0.1\noptions = {{ temperature = 2.0 }}'}


def test_the_example_is_found_both_ways(example: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name, path = example
    monkeypatch.setitem(LOSSES, name, path)
    student, teacher, labels = torch.tensor([[0.0, 1.0, 2.0, 0.5]]), torch.tensor([[2.0, 1.0, 0.0, 0.0]]), torch.tensor([1])
    values = []
    for n, said in enumerate((name, path, "my_own_losses:reverse_kl")):
        term = terms(load_recipe(recipe(tmp_path / str(n), changed(said))).recipe, HEADS, {0})[0]
        assert (term.name, term.weight) == (said, 0.1)
        values.append(float(term.function(student, teacher, labels, **term.options)))
    assert values[0] == values[1] == values[2] > 0


@pytest.mark.slow
def test_the_example_trains_a_student(example: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name, path = example
    monkeypatch.setitem(LOSSES, name, path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    files = []
    for said in (name, "my_own_losses:reverse_kl"):
        folder = recipe(tmp_path / said.partition(":")[0], {**changed(said), "float_epochs = 3.5": "float_epochs = 1.5"})
        runs = tmp_path / f"runs-{said.partition(':')[0]}"
        code, _, err = edgekd("build", folder, "--target", "nucleo-l4r5zi", "--runs", runs, "--threads", "1")
        assert code == 0, err
        (run,) = (path for path in runs.iterdir() if path.is_dir())
        files.append({name: content for name, content in exported(run).items() if name.endswith("weights.safetensors")})
    assert files[0] == files[1]


def test_the_table_is_the_shelf(page: str, repository: Path):
    table = page[page.index("## The shelf") : page.index("What is no loss:")]
    rows = re.findall(r"^\| (`.*?) \|.*\| `(\w+\.py)` \|$", table, re.MULTILINE)
    listed = {name: file for names, file in rows for name in re.findall(r"`(\w+)`", names)}
    assert listed == {name: f"{path.partition(':')[0].rpartition('.')[2]}.py" for name, path in LOSSES.items()}
    rest = page[page.index("What is no loss:") : page.index("## Adding a loss")]
    files = re.findall(r"`((?:train|teachers)/\w+\.py)`", rest)
    assert len(files) >= 8 and [file for file in files if not (repository / "edgekd" / file).is_file()] == []


def test_recipes_on_the_page_are_what_recipes_may_say(page: str, tmp_path: Path):
    """Each indented TOML example, laid over a recipe that it fits."""
    import tomllib

    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", page[: page.index("## The shelf")], re.MULTILINE)
    text = [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in blocks]
    keys = set()
    base = recipe(tmp_path / "base")
    for n, found in enumerate(tomllib.loads(block) for block in text):
        keys |= set(found)
        folder, content = tmp_path / str(n), (base / "recipe.toml").read_text()
        folder.mkdir()
        for key in found:
            start = {"losses": "[[losses]]", "teachers": "[teacher]"}.get(key)
            if start is not None:  # instead of the recipe's own
                end = {"losses": "[views]", "teachers": "[student]"}[key]
                content = content[: content.index(start)] + content[content.index(end) :]
        block = text[n]
        if "presets" in found:
            block = block.replace("[presets.demo]", "[presets.other]\nfloat_epochs = 1.0\nqat_epochs = 1.0")
        if set(found) == {"losses"} and all("teacher" in loss for loss in found["losses"]):
            block += '\n[[losses]]\nname = "cross_entropy"\nweight = 1.0\n'
        if "ensemble" in found:
            block = block.replace('task = "speaker"', 'task = "digit"')  # else no task has two
        (folder / "recipe.toml").write_text(f"{content}\n{block}")
        load_recipe(folder)
    assert keys == {"losses", "teachers", "ensemble", "intermediates", "presets", "curate", "data_free"}
