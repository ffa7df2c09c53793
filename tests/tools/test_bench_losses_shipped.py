"""The shipped files of tools/bench_losses: every method fits its recipe, and taps what is there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgekd import console
from edgekd.errors import EdgekdError
from tests.small_builds import pictures


@pytest.fixture(scope="module")
def bench(repository: Path) -> ModuleType:
    sys.path.insert(0, str(repository / "tools"))
    import bench_losses

    return bench_losses


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


#: Shipped file → recipe, and pictures of the shape that its data has.
SHIPPED = {"fashion_mnist": ("fashion_mnist", 28), "spoken_digits": ("spoken_digits", 40)}


@pytest.fixture(params=SHIPPED)
def shipped(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A shipped file of methods, and its recipe over a few random pictures and a narrow teacher without a checkpoint."""
    name, side = SHIPPED[request.param]
    text = (repository / "models" / name / "recipe.toml").read_text()
    head, tail = text[: text.index("[data]")], text[text.index("[teacher]") :]
    lines = [line for line in tail.splitlines() if not line.startswith("checkpoint")]
    own = 'source = "numpy"\noptions = { file = "data.npz", labels = [' + ", ".join(f'"{n}"' for n in range(10)) + "] }"
    tail = "\n".join("options = { width = 4 }" if line.startswith("options = { width") else line for line in lines)
    (tmp_path / "recipe.toml").write_text(f"{head}[data]\n{own}\n\n{tail}\n")
    x, _ = pictures(40, 0, side=side)
    y = np.arange(40) % 10
    np.savez(
        tmp_path / "data.npz", **{f"{kind}_{part}": {"x": x, "y": y}[kind] for kind in "xy" for part in ("train", "validation", "test")}
    )  # type: ignore[arg-type]
    yield repository / "tools" / "bench_losses" / f"{request.param}.toml", tmp_path


@pytest.mark.slow
def test_shipped_methods_tap_what_is_there(bench: ModuleType, shipped: tuple[Path, Path], tmp_path: Path):
    from bench_losses_runs import try_out

    file, folder = shipped
    target = {"fashion_mnist": "nucleo-l4r5zi", "spoken_digits": "nrf52840dk"}[file.stem]
    shelf, contest = bench.opened(bench.parser().parse_args([str(folder), str(file), "--target", target]))
    with console.bars() as progress:
        for method in shelf.methods:
            try:
                try_out(contest, method.name, progress)
            except EdgekdError as error:
                pytest.fail(f"{method.name}: {error}")


def test_shipped_methods_are_methods_of_their_recipes(bench: ModuleType, repository: Path):
    from bench_losses_methods import read_shelf

    for file in sorted((repository / "tools" / "bench_losses").glob("*.toml")):
        folder = repository / "models" / file.stem.removesuffix("_tenth")
        shelf = read_shelf(str(folder), file, "demo", {})
        assert len(shelf.methods) > 20 and all(method.note for method in shelf.methods)
