"""What stands between this machine and a board at a serial port."""

from __future__ import annotations

import os
import stat
from glob import glob
from importlib.util import find_spec
from pathlib import Path

from edgekd.doctor.facts import Check


def checks(address: str) -> tuple[Check, ...]:
    """Of ``PATH[@BAUD]``. The port is not opened: that restarts many boards."""
    path = Path(address.partition("@")[0] or "/dev/ttyACM0")
    library = (
        Check("pyserial", "lacks", "not installed", "pip install 'edgekd[devices]'")
        if find_spec("serial") is None
        else Check("pyserial", "good", "installed")
    )
    return library, _port(path)


def _port(path: Path) -> Check:
    try:
        kind = path.stat().st_mode
    except OSError:
        others = sorted(glob("/dev/ttyACM*") + glob("/dev/ttyUSB*") + glob("/dev/serial/by-id/*"))
        there = f"there are {', '.join(others)}" if others else "no board is plugged in, or its cable only charges"
        return Check("port", "lacks", f"there is no {path}", there)
    if not stat.S_ISCHR(kind):
        return Check("port", "lacks", f"{path} is no serial port", "/dev/ttyACM0, /dev/ttyUSB0")
    if not os.access(path, os.R_OK | os.W_OK):
        return Check("port", "lacks", f"{path} is not for this user", "sudo usermod -aG dialout $USER, then log in again")
    return Check("port", "good", str(path))
