"""An aarch64 machine under QEMU's user-mode emulator: its Python and runtimes are real, its processor is not, so its times mean nothing.

Files lie on this machine, and only ``python3`` is emulated: what else is run there (mkdir, rm) is this machine's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgekd.errors import InputError
from edgekd.transports import Ran, Transport, local
from edgekd.transports.sysroot import CPU, emulator, find

#: How much longer than asked a command may take, and by how many seconds at most: limits are meant for real devices, and long ones have
#: room already, so that what hangs is not waited for three times as long.
SLOWER, MOST_S = 3.0, 120.0
WHERE = f"arm64-emulated: {CPU} under QEMU"


def connect(address: str = "") -> Arm64Transport:
    """Raises InputError for an address, DeviceError where the emulator is missing or its system has not been made."""
    if address:
        raise InputError(f"address {address!r}", where="--device arm64-emulated", expected="none: it is on this machine")
    program, sysroot = emulator(), find()
    inner = local.LocalTransport(local.connect().folder, WHERE)
    python = Path(inner.folder, "python3")
    python.write_text(sysroot.starter(program, python), encoding="utf-8")
    python.chmod(0o755)
    return Arm64Transport(inner, str(python))


class Arm64Transport:
    """See ``edgekd.transports.Transport``."""

    def __init__(self, inner: Transport, python: str) -> None:
        self._inner, self._python = inner, python

    @property
    def where(self) -> str:
        return WHERE

    @property
    def folder(self) -> str:
        return self._inner.folder

    def put(self, local: Path, remote: str) -> None:
        self._inner.put(local, remote)

    def get(self, remote: str, local: Path) -> None:
        self._inner.get(remote, local)

    def run(self, argv: Sequence[str], *, limit_s: float, cwd: str = "") -> Ran:
        if argv[0] != "python3":
            return self._inner.run(argv, limit_s=limit_s, cwd=cwd)
        return self._inner.run([self._python, *argv[1:]], limit_s=min(SLOWER * limit_s, limit_s + MOST_S), cwd=cwd)

    def close(self) -> None:
        self._inner.close()
