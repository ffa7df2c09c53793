"""Sources of data by name and by package.module:function, their options checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.data import SOURCES
from edgekd.data.load import check_recipe_data, load_data
from edgekd.errors import InputError
from edgekd.lazy import load

OWN = """\
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekd.data.dataset import Dataset, Split

if TYPE_CHECKING:
    from nowhere import Thing


def good(*, where: Path, n: int = 4, scale: float = 1.0) -> Dataset:
    assert where.read_text() == "here"
    x, y = np.zeros((n, 2, 2, 3), np.uint8), np.arange(n) % 2
    return Dataset("own", Split(x, y), Split(x, y), Split(x, y), ("a", "b"))


def unannotated(where, thing: Thing = None):
    return good(where=Path(where))


def anything(**options):
    return [options]


def broken() -> Dataset:
    return 1 / 0


NUMBER = 3
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_source.py").write_text(OWN)
    (tmp_path / "file.txt").write_text("here")
    monkeypatch.syspath_prepend(tmp_path)


def test_every_source_resolves() -> None:
    for path in SOURCES.values():
        assert callable(load(path))


def test_paths_are_relative_to_the_recipe(tmp_path: Path) -> None:
    data = load_data("own_source:good", {"where": "file.txt", "n": 6, "scale": 2}, tmp_path)
    assert len(data.train) == 6 and data.labels == ("a", "b")
    assert load_data("own_source:good", {"where": str(tmp_path / "file.txt")}, Path("elsewhere")).shape == (2, 2, 3)


def test_annotations_that_do_not_resolve_check_nothing(tmp_path: Path) -> None:
    assert load_data("own_source:unannotated", {"where": str(tmp_path / "file.txt")}, tmp_path).name == "own"


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("own_source:good", {}, "data.options.where: is missing\n  expected: the source takes where, n, scale"),
        ("own_source:good", {"where": "file.txt", "m": 1}, "data.options.m: unknown option 'm'\n  expected: where, n, scale"),
        ("own_source:good", {"where": "file.txt", "n": "4"}, "data.options.n: found '4'\n  expected: a valid integer"),
        ("own_source:good", {"where": "file.txt", "n": True}, "data.options.n: found True\n  expected: a valid integer"),
        ("own_source:good", {"where": 3}, "data.options.where: found 3\n  expected: a path, as text"),
        ("own_source:anything", {"x": 1}, "data.source: own_source:anything returned list\n  expected: edgekd.data.dataset.Dataset"),
        ("own_source:NUMBER", {}, "data.source: own_source:NUMBER is int, not a function"),
        ("own_source:god", {}, "own_source:god: module own_source has no 'god'\n  expected: perhaps 'good'"),
        ("nowhere_at_all:x", {}, "nowhere_at_all:x: module 'nowhere_at_all' is not to be found"),
        ("own_source:broken", {}, "data.source: own_source:broken raised ZeroDivisionError: division by zero"),
        ("nunpy", {}, f"data.source: 'nunpy' is not known\n  expected: {', '.join(SOURCES)} or package.module:function"),
        ("fashion_mnist", {"validation": -1.5}, "data.options.validation: found -1.5"),
    ],
)
def test_refused(source: str, options: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_data(source, options, tmp_path)
    assert str(caught.value).startswith(message)


def test_a_users_exception_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"own_source\.py, line 29"):
        load_data("own_source:broken", {}, tmp_path)


def test_the_teachers_channels(tmp_path: Path) -> None:
    x = np.zeros((20, 4, 4, 3), np.uint8)
    np.savez(tmp_path / "d.npz", x_train=x, y_train=np.arange(20) % 2, x_test=x, y_test=np.arange(20) % 2)
    for channels in (1, 3):
        assert check_recipe_data("numpy", {"file": "d.npz"}, tmp_path, channels=channels).shape == (4, 4, 3)
    with pytest.raises(InputError, match=r"teacher\.mean: 2 values for images of 3 channels\n  expected: 1 or 3 values"):
        check_recipe_data("numpy", {"file": "d.npz"}, tmp_path, channels=2)
