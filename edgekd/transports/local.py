"""This machine as a device. Its address is a folder that stands for the device's temporary one: two of them are two devices."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from edgekd import host
from edgekd.errors import DeviceError
from edgekd.transports import Ran
from edgekd.transports.heard import TooMuch, heard, too_much

#: Older than this a work folder is nobody's.
_LEFT_S = 86_400.0


def connect(address: str = "") -> LocalTransport:
    """Raises DeviceError where no folder can be made there."""
    root = Path(address) if address else Path(tempfile.gettempdir())
    try:
        root.mkdir(parents=True, exist_ok=True)
        _sweep(root)
        folder = tempfile.mkdtemp(prefix="edgekd-", dir=root)
    except OSError as error:
        raise DeviceError(
            f"no work folder can be made: {error.strerror}", where=f"local {address}".strip(), expected="a folder to write to"
        ) from error
    return LocalTransport(folder, f"local {address}" if address else host.host())


def _sweep(root: Path) -> None:
    """Removes folders of a day ago and more, of harnesses that were killed."""
    for left in root.glob("edgekd-" + "[a-z0-9_]" * 8):
        with contextlib.suppress(OSError):
            found = left.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and time.time() - found.st_mtime > _LEFT_S:
                shutil.rmtree(left, ignore_errors=True)


class LocalTransport:
    """See ``edgekd.transports.Transport``."""

    def __init__(self, folder: str, where: str) -> None:
        self._folder, self._where = folder, where

    @property
    def where(self) -> str:
        return self._where

    @property
    def folder(self) -> str:
        return self._folder

    def put(self, local: Path, remote: str) -> None:
        self._copy(local, Path(self._folder, remote), f"{local} cannot be put")

    def get(self, remote: str, local: Path) -> None:
        self._copy(Path(self._folder, remote), local, f"{remote} cannot be got")

    def run(self, argv: Sequence[str], *, limit_s: float, cwd: str = "") -> Ran:
        program = sys.executable if argv[0] == "python3" else argv[0]  # where the runtimes are
        try:
            child = subprocess.Popen(
                [program, *argv[1:]],
                cwd=cwd or self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise DeviceError(f"{argv[0]} does not start: {error.strerror}", where=self._where) from error
        try:
            out, err = heard(child, limit_s)
        except TooMuch:
            raise too_much(argv[0], self._where) from None
        except subprocess.TimeoutExpired:
            raise DeviceError(
                f"{argv[0]} took over {limit_s:g} s and was ended", where=self._where, expected="a command that ends in time"
            ) from None
        finally:
            _end(child)
        return Ran(child.returncode, out, err)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _copy(self, source: Path, target: Path, what: str) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            fd, name = tempfile.mkstemp(prefix=".edgekd-", dir=target.parent)
            os.close(fd)
            try:
                shutil.copyfile(source, name)
                os.chmod(name, 0o644)
                os.replace(name, target)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise DeviceError(f"{what}: {error.strerror}", where=self._where) from error


def _end(child: subprocess.Popen[bytes]) -> None:
    """With all its children: they are of its own session. Also those that it left behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()
