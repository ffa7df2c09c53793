"""A serial port: PATH[@BAUD], a line of bytes. What is said over it stands in edgekd/mcu (frames.py, mlperf.py)."""

from __future__ import annotations

import contextlib
import errno
import os
import termios
import time

import serial
from serial.tools import list_ports

from edgekd.errors import DeviceError, InputError, Lost

BAUD = 115200
#: A USB port goes away while its board starts anew.
_BACK_S = 20.0


def parse(address: str) -> tuple[str, int]:
    """Path and baud of PATH[@BAUD]. Raises InputError."""
    path, at, baud = address.rpartition("@") if "@" in address else (address, "", "")
    if not path or (at and not (baud.isdecimal() and 0 < int(baud) <= 20_000_000)):
        raise InputError(
            f"{address!r} is no serial port", where="--device serial:", expected="PATH[@BAUD]", mend=f"--device serial:/dev/ttyACM0@{BAUD}"
        )
    return path, int(baud) if baud else BAUD


def connect(address: str) -> SerialPort:
    """Open PATH[@BAUD] for this process alone. Raises InputError for an address that is none, DeviceError where it cannot be opened."""
    path, baud = parse(address)
    return SerialPort(path, baud, _open(path, baud))


def is_pseudo_terminal(path: str) -> bool:
    """Whether a program of this machine is behind it, and no wire: an emulator, or what leads to a port elsewhere."""
    return os.path.realpath(path).startswith("/dev/pts/")


class SerialPort:
    """Bytes to and from a board, 8N1. ``read`` and ``write`` raise Lost where the port is gone, or cannot be written to."""

    def __init__(self, path: str, baud: int, line: serial.Serial) -> None:
        self.where, self.baud, self.path, self._line = f"serial {path}", baud, path, line

    def write(self, content: bytes) -> None:
        try:
            self._line.write(content)
        except serial.SerialTimeoutException:
            raise Lost("nothing takes what is sent", where=self.where, mend="unplug the board and plug it in again") from None
        except (serial.SerialException, OSError, termios.error) as error:
            raise self._gone() from error

    def read(self, limit_s: float) -> bytes:
        """Whatever came, as soon as anything did; b"" where nothing came in ``limit_s``."""
        try:
            self._line.timeout = max(0.0, limit_s)
            first = self._line.read(1)
            return first + self._line.read(self._line.in_waiting) if first else b""
        except (serial.SerialException, OSError, termios.error, TypeError) as error:
            raise self._gone() from error  # TypeError: pyserial's, of a port that was closed while it read

    def reopen(self, limit_s: float = _BACK_S) -> None:
        """Wait until the port is there again, and open it. Raises DeviceError where it stays away."""
        self.close()
        until = time.monotonic() + limit_s
        while True:
            try:
                self._line = _open(self.path, self.baud)
                return
            except DeviceError:
                if time.monotonic() >= until:
                    raise
                time.sleep(0.2)

    def close(self) -> None:
        with contextlib.suppress(OSError, termios.error):  # it is gone
            self._line.close()

    def _gone(self) -> Lost:
        return Lost("the port went away", where=self.where, expected="a board that stays plugged in", mend="check cable and supply")


def _open(path: str, baud: int) -> serial.Serial:
    where = f"serial {path}"
    try:
        return serial.Serial(path, baud, timeout=1.0, write_timeout=10.0, exclusive=True)
    except (ValueError, termios.error) as error:
        raise DeviceError(f"it does not take {baud} baud: {error}", where=where, mend=f"--device serial:{path}@{BAUD}") from error
    except (serial.SerialException, OSError) as error:
        raise _refused(path, where, error) from error


def _refused(path: str, where: str, error: Exception) -> DeviceError:
    code = getattr(error, "errno", None)
    there = ", ".join(sorted(port.device for port in list_ports.comports())) or "none"
    if code == errno.ENOENT:
        return DeviceError("there is no such port", where=where, expected=f"one of those that are there: {there}", mend="plug the board in")
    if code == errno.EACCES:
        group = "dialout" if not os.path.exists("/etc/arch-release") else "uucp"
        return DeviceError("this user may not open it", where=where, mend=f"sudo usermod -aG {group} $USER, and log in again")
    if code in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK) or "lock" in str(error):
        return DeviceError(
            "another program has it open", where=where, expected="one harness at a time", mend=f"find and end it: fuser {path}"
        )
    return DeviceError(f"it cannot be opened: {error}", where=where, expected=f"a serial port; those that are there: {there}")
