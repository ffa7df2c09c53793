"""Targets by pattern."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.errors import InputError
from edgekd.profile.pattern import expand


@pytest.mark.parametrize("pattern", ["mcu/n*", "targets/mcu/n*", "targets/**/n*[!o]", "./targets/mcu/n*.toml", "n[ru]*"])
@pytest.mark.usefixtures("elsewhere")
def test_names_kinds_and_paths(pattern: str) -> None:
    found, optional = expand([pattern])
    assert found == ("nrf52840dk", "nucleo-h7a3zi", "nucleo-l4r5zi", "nucleo-u575zi") and optional == set(found)


@pytest.mark.usefixtures("elsewhere")
def test_everything_is_every_target_once(repository: Path) -> None:
    names = {path.stem for path in (repository / "targets").rglob("*.toml")}
    for pattern in ("targets/**", "**", "*", "*/*"):
        found, _ = expand([pattern])
        assert set(found) == names and len(found) == len(names), pattern


@pytest.mark.usefixtures("elsewhere")
def test_named_and_found_is_named_and_there_once() -> None:
    found, optional = expand(["mcu/nucleo-*", "nano", "nucleo-u575zi", "nano", "jetson/*"])
    assert found == ("nucleo-h7a3zi", "nucleo-l4r5zi", "nucleo-u575zi", "nano", "orin-nano")
    assert optional == {"nucleo-h7a3zi", "nucleo-l4r5zi", "orin-nano"}


def test_files_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    """In a folder of any name; one in ./targets goes by its name, and its path is no second target."""
    monkeypatch.chdir(tmp_path)
    text = (repository / "targets/edge/raspberry-pi-5.toml").read_text()
    for folder, name in (("lab", "desk"), ("targets/edge", "shelf")):
        Path(folder).mkdir(parents=True)
        Path(folder, f"{name}.toml").write_text(text.replace("raspberry-pi-5", name))
    assert expand(["lab/*"])[0] == ("lab/desk.toml",)
    assert expand(["shelf", "targets/edge/sh*.toml", str(tmp_path / "targets/edge/*")]) == (("shelf",), frozenset())


@pytest.mark.usefixtures("elsewhere")
def test_nothing_found_is_said() -> None:
    with pytest.raises(InputError, match=r"no target matches 'mcu/x\*'") as caught:
        expand(["mcu/x*"])
    assert "nucleo-u575zi" in str(caught.value) and "--target 'mcu/*'" in str(caught.value)
    with pytest.raises(InputError, match="no target is called 'nanoo'"):
        expand(["nanoo"])
