"""The aarch64 system, for tests that run something in it: made when it can be, else the test is skipped and says why."""

from __future__ import annotations

import sys

import pytest

from edgekd.errors import DeviceError
from edgekd.transports import sysroot


def sysroot_or_skip() -> None:
    """Skips the test where QEMU is missing or Debian's packages cannot be fetched."""
    try:
        sysroot.emulator()
        sysroot.make(lambda text: print(text, file=sys.stderr))
    except DeviceError as error:
        pytest.skip(f"no aarch64 system: {error.what}")
