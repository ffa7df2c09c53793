"""The table [compress]: read, dumped only where it stands, and every contradiction is one problem with its cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.recipe.load import check, load
from edgekd.recipe.schema import Recipe
from tests.small_builds import recipe as written


def table(text: str) -> dict[str, str]:
    return {"[views]": f"[compress]\n{text}\n\n[views]"}


@pytest.mark.parametrize(
    "text",
    [
        'method = "channels"\nmacs = 0.5\nimportance = "bn_scale"\nspread = "importance"\nsteps = 3',
        'method = "channels"\nmacs = "fit"\nsamples = 100\nepochs = 2.5\ncheckpoint = "student.safetensors"',
        'method = "low_rank"\nenergy = 0.9',
        'method = "sparsity"\npattern = "2:4"',
    ],
)
def test_read_dumped_and_read_again(tmp_path: Path, text: str) -> None:
    recipe = load(written(tmp_path, table(text))).recipe
    assert recipe.compress is not None and Recipe.model_validate(recipe.model_dump()) == recipe
    assert "compress" in recipe.model_dump()
    assert "compress" not in load(written(tmp_path)).recipe.model_dump()


@pytest.mark.parametrize(
    ("text", "key", "found"),
    [
        ('method = "channels"', "compress", "method = 'channels' without macs"),
        ('method = "channels"\nmacs = 1.5', "compress.macs", "found 1.5 (a number)"),
        ('method = "channels"\nmacs = "half"', "compress.macs", "found 'half' (text)"),
        ('method = "channels"\nmacs = 0.5\nenergy = 0.9', "compress.energy", "has no meaning for method = 'channels'"),
        ('method = "channels"\nmacs = 0.5\nimportance = "l2"\nsamples = 9', "compress.samples", "has no meaning for importance = 'l2'"),
        ('method = "low_rank"', "compress", "method = 'low_rank' with neither energy nor rank"),
        ('method = "low_rank"\nenergy = 0.9\nrank = 0.5', "compress", "method = 'low_rank' with energy and rank"),
        ('method = "low_rank"\nrank = 0.5\nsteps = 2', "compress.steps", "2, but a layer is factored once"),
        ('method = "sparsity"\npattern = "4:2"', "compress.pattern", "'4:2' leaves all weights"),
        ('method = "sparsity"\nshare = 0.5\npattern = "2:4"', "compress", "method = 'sparsity' with share and pattern"),
        ('method = "sparsity"\nshare = 0.5\ncheckpoint = "../s.safetensors"', "compress.checkpoint", "leaves the recipe's folder"),
        ('method = "sparsity"\nshare = 0.5\ncheckpoint = "s.pt"', "compress.checkpoint", "'s.pt'"),
        ('method = "sparsity"\nshare = 0.5\n[intermediates]\ngenerations = 1', "compress", "beside [intermediates]"),
        ('method = "clip"', "compress.method", "found 'clip' (text)"),
    ],
)
def test_contradictions_are_one_clear_problem(tmp_path: Path, text: str, key: str, found: str) -> None:
    recipe, problems = check(written(tmp_path, table(text)) / "recipe.toml")
    assert recipe is None and [(p.key, found in p.found) for p in problems] == [(key, True)], problems
    assert all(p.expected and p.mend for p in problems)
