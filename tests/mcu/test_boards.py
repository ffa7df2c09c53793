"""Ports are read off their files; cores off profiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.errors import InputError
from edgekd.mcu.boards import CORES, PORTS, boards, boards_of, core_of, plain_core, read_port
from edgekd.profile.load import all_profiles

GOOD = """\
/* edgekd port
 * machine: -
 * cores: cortex-m4
 * flash: 0x08000000 256K
 * ram: 0x20000000 1M
 * timer: 1000000
 */
"""


def test_every_core_runs_on_a_board_and_every_port_states_what_it_is() -> None:
    assert set(boards()) == {path.stem for path in PORTS.glob("*.c")}
    for core in CORES:
        sizes = [board.ram.nbytes for board in boards_of(core)]
        assert sizes == sorted(sizes) and sizes


def test_m0_and_m4f_have_a_larger_board_behind_the_small_one() -> None:
    assert [board.name for board in boards_of("cortex-m0")] == ["microbit", "mps2-an385"]
    assert [board.name for board in boards_of("cortex-m4f")] == ["netduinoplus2", "mps2-an386"]


def test_every_microcontroller_of_the_profiles_is_emulated() -> None:
    cores = {core_of(profile.device.core) for profile in all_profiles("mcu")}
    assert {"cortex-m0plus", "cortex-m4f", "cortex-m7", "cortex-m33", "cortex-m55"} <= cores


@pytest.mark.parametrize(
    ("text", "core"),
    [("Cortex-M0+", "cortex-m0plus"), ("Arm Cortex-M4F", "cortex-m4f"), ("cortex-m33f", "cortex-m33"), ("Cortex M7", "cortex-m7")],
)
def test_core_of_a_profile(text: str, core: str) -> None:
    assert core_of(text) == core


@pytest.mark.parametrize("text", ["Cortex-A72", "Cortex-M85", "Xtensa LX7", ""])
def test_other_cores_are_refused_by_name(text: str) -> None:
    with pytest.raises(InputError, match=f"device.core: core {text!r} is not emulated"):
        core_of(text)


def test_exporters_know_plain_cores() -> None:
    assert (plain_core("cortex-m4f"), plain_core("cortex-m0plus"), plain_core("cortex-m7")) == ("cortex-m4", "cortex-m0", "cortex-m7")


def test_a_port_of_hardware_only(tmp_path: Path) -> None:
    port = tmp_path / "mine.c"
    port.write_text(GOOD)
    board = read_port(port)
    assert (board.name, board.machine, board.cores, board.timer_hz) == ("mine", "", ("cortex-m4",), 1_000_000)
    assert (board.flash.origin, board.flash.nbytes, board.ram.nbytes) == (0x08000000, 256 << 10, 1 << 20)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("edgekd port", "a port", "its head lacks 'edgekd port'"),
        (" * ram: 0x20000000 1M\n", "", "its head lacks 'ram'"),
        ("cortex-m4", "cortex-a9", "cores: 'cortex-a9'"),
        ("256K", "a lot", "flash: '0x08000000 a lot'"),
        ("256K", "0K", "flash: '0x08000000 0K'"),
        ("1000000", "often", "timer: 'often'"),
    ],
)
def test_a_wrong_head_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    port = tmp_path / "mine.c"
    port.write_text(GOOD.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_port(port)


def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_port(tmp_path / "none.c")
