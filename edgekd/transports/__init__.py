"""Ways to a device: each connects to an address, and then puts files there, gets them, and runs commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

#: Transport → ``connect(address)``. ``local`` is this machine; its address is a folder that stands for the device, "" the system's own.
TRANSPORTS = {
    "local": "edgekd.transports.local:connect",
    "ssh": "edgekd.transports.ssh:connect",
    "adb": "edgekd.transports.adb:connect",
    "arm64-emulated": "edgekd.transports.arm64:connect",
}


@dataclass(frozen=True)
class Ran:
    """What a command on the device left: its exit code (negative: the signal that ended it, where the transport can tell), and its text."""

    code: int
    out: str
    err: str


class Transport(Protocol):
    """An open connection. Every method raises DeviceError, and of these Lost where the connection was cut.

    Paths on the device that are not absolute start at the work folder.
    """

    @property
    def where(self) -> str:
        """The device, for messages and figures: "ssh user@host"."""
        ...

    @property
    def folder(self) -> str:
        """A work folder on the device that nobody else has; ``close`` removes it. What all harnesses share lies beside it."""
        ...

    def put(self, local: Path, remote: str) -> None:
        """The file ``local`` to the path ``remote``, whole or not at all; folders on the way are made."""
        ...

    def get(self, remote: str, local: Path) -> None:
        """The file ``remote`` to the path ``local``, whole or not at all."""
        ...

    def run(self, argv: Sequence[str], *, limit_s: float, cwd: str = "") -> Ran:
        """Run a command (an argument list: no shell reads it) in ``cwd`` ("": the work folder). What takes longer than ``limit_s`` is
        killed there, with its children, and a DeviceError says so. A command that fails raises nothing: its code says it.
        """
        ...

    def close(self) -> None:
        """Remove the work folder and disconnect; raises nothing. A second call does nothing."""
        ...


class Connect(Protocol):
    """Raises DeviceError for an address where nothing answers, InputError for one that cannot be read."""

    def __call__(self, address: str) -> Transport: ...
