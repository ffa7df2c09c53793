"""Serial ports: addresses, and what is said where one cannot be opened or goes away."""

from __future__ import annotations

import os
import tty
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from edgekd.errors import DeviceError, InputError, Lost
from edgekd.transports.serial import connect, parse


@pytest.fixture
def ends() -> Iterator[tuple[int, str]]:
    mine, theirs = os.openpty()
    tty.setraw(theirs)
    yield mine, os.ttyname(theirs)
    for end in (mine, theirs):
        with suppress(OSError):
            os.close(end)


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("/dev/ttyACM0", ("/dev/ttyACM0", 115200)),
        ("/dev/ttyUSB1@9600", ("/dev/ttyUSB1", 9600)),
        ("/dev/serial/by-id/usb-a@b-if00@921600", ("/dev/serial/by-id/usb-a@b-if00", 921600)),
    ],
)
def test_addresses(address: str, meant: tuple[str, int]) -> None:
    assert parse(address) == meant


@pytest.mark.parametrize("address", ["", "@9600", "/dev/ttyACM0@fast", "/dev/ttyACM0@0", "/dev/ttyACM0@"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(InputError, match=r"is no serial port(?s:.*)expected: PATH\[@BAUD\]"):
        parse(address)


def test_bytes_go_both_ways(ends: tuple[int, str]) -> None:
    mine, path = ends
    with closing(connect(path)) as port:
        assert port.read(0.01) == b""
        os.write(mine, b"\0\x11\x13\xff\r\n")
        found = port.read(1.0)
        while len(found) < 6:
            found += port.read(1.0)
        assert found == b"\0\x11\x13\xff\r\n"
        port.write(b"\0\x11\x13\xff\r\n")
        assert os.read(mine, 100) == b"\0\x11\x13\xff\r\n"


def test_one_harness_at_a_time(ends: tuple[int, str]) -> None:
    with closing(connect(ends[1])), pytest.raises(DeviceError, match=f"(?s)another program has it open.*fuser {ends[1]}"):
        connect(ends[1])


def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="(?s)there is no such port.*expected: one of those that are there: .*plug the board in"):
        connect(str(tmp_path / "ttyACM9"))


def test_what_is_no_port(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="it cannot be opened: |does not take 115200 baud"):
        connect(str(tmp_path / "file"))


def test_a_port_that_goes_away(ends: tuple[int, str]) -> None:
    mine, path = ends
    with closing(connect(path)) as port:
        os.close(mine)
        with pytest.raises(Lost, match="(?s)the port went away.*check cable and supply"):
            for _ in range(3):
                port.write(b"x" * 100)
                port.read(0.1)
