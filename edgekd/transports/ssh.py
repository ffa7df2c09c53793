"""A device that an SSH server lets us into: commands over sessions, files over SFTP. Keys only, the agent's too; known_hosts is enforced.

~/.ssh/config counts (aliases, ProxyJump, identities). On the device programs in ~/.edgekd/bin come first: a virtual environment for
Pythons that no package may be installed into. asyncssh works inside; to the outside every call returns when it is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
import re
import shlex
import tempfile
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import asyncssh
from asyncssh.constants import FILEXFER_TYPE_REGULAR

from edgekd.errors import DeviceError, InputError, Lost
from edgekd.transports import Ran
from edgekd.transports.heard import TooMuch, said, too_much
from edgekd.transports.ssh_files import patience, room
from edgekd.transports.ssh_login import login

T = TypeVar("T")
#: Seconds that small commands may take.
SMALL_S = 20
#: Makes a work folder, after it has cleared those of a day ago (of devices that restarted); says who leads its process group. Then waits
#: for the end of its input, which comes when the connection ends, however it ends, and removes the folder: once what ran in it is killed.
_BEGIN = """umask 077; tmp=${TMPDIR:-/tmp}
find "$tmp" -maxdepth 1 -name "edgekd-ssh.*" -user "$(id -u)" -mmin +1440 -exec rm -rf {} + 2>/dev/null
read -r pid name state parent group rest < /proc/$$/stat 2>/dev/null || group=$$
command -v setsid >/dev/null && has=1 || has=0
folder=$(mktemp -d "$tmp/edgekd-ssh.XXXXXXXX") || exit 1
echo "edgekd $$ $group $has $folder"
trap "" HUP PIPE TERM; cat >/dev/null
rm -rf "$folder"; sleep 3; rm -rf "$folder"
"""
#: Runs a command, and ends its whole process group when standard input ends: at the time limit, or because the connection was cut.
_WATCHED = (
    'exec 3<&0 </dev/null; (trap "" TERM; cat <&3 >/dev/null; kill -TERM 0; sleep 2; kill -KILL 0) >/dev/null 2>&1 & exec 3<&-; '
    'PATH="$HOME/.edgekd/bin:$PATH"; cd -- "$1" || exit 127; shift; '
    'command -v "$1" >/dev/null 2>&1 || { echo "edgekd: not found" >&2; exit 127; }; exec "$@"'
)
#: How long what was told to end may take for it: _WATCHED kills after 2 s.
_END_S = 5


def connect(address: str) -> SshTransport:
    """To USER@HOST[:PORT], or to a host of ~/.ssh/config.

    Raises InputError for an address that is none, DeviceError for no such host, no server there, a host key that is unknown or has
    changed (with the line of known_hosts), a key that is refused, a device where no work folder can be made.
    """
    user, host, port = parse(address)
    where = f"ssh {user + '@' if user else ''}{host}{f':{port}' if port not in (0, 22) else ''}"
    runner = asyncio.Runner()
    try:
        connection = runner.run(login(user, host, port, where))
        return SshTransport(connection, where, runner)
    except BaseException:
        runner.close()
        raise


def parse(address: str) -> tuple[str, str, int]:
    """User ("": as ~/.ssh/config or this machine has it), host, port (0: likewise) of ``USER@HOST:PORT``; IPv6 in brackets."""
    user, _, rest = address.rpartition("@")
    host, port = rest, ""
    if rest.startswith("["):
        host, bracket, port = rest[1:].partition("]")
        good = bool(bracket) and (not port or port.startswith(":"))
        port = port[1:]
    else:
        if rest.count(":") == 1:
            host, _, port = rest.partition(":")
        good = ":" not in host
    # What an ssh of the user's would take for an option, or a shell for anything but a name: messages name commands with it.
    odd = host.startswith("-") or not re.fullmatch(r"(?!-)[\w.@+\\-]*", user) or any(c.isspace() or not c.isprintable() for c in host)
    if not good or not host or odd or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise InputError(f"{address!r} is no address", where="ssh", expected="USER@HOST or USER@HOST:PORT", mend="ssh:pi@raspberrypi.local")
    return user, host, int(port or 0)


class SshTransport:
    """See ``edgekd.transports.Transport``. For one thread at a time."""

    def __init__(self, connection: asyncssh.SSHClientConnection, where: str, runner: asyncio.Runner) -> None:
        self._connection, self._where, self._runner = connection, where, runner
        self._sftp: asyncssh.SFTPClient | None = None
        self._closed = False
        self._leader, self._folder = "", ""
        try:
            self._leader, self._folder = self._do(self._begin(), "a work folder was made")
        except BaseException:
            self.close()
            raise

    @property
    def where(self) -> str:
        return self._where

    @property
    def folder(self) -> str:
        return self._folder

    def put(self, local: Path, remote: str) -> None:
        if not local.is_file():
            raise DeviceError(f"{local} cannot be put: there is no such file here", where=self._where)
        self._do(self._put(local, posixpath.join(self._folder, remote)), f"{local.name} was put")

    def get(self, remote: str, local: Path) -> None:
        self._do(self._get(posixpath.join(self._folder, remote), local), f"{posixpath.basename(remote)} was got")

    def run(self, argv: Sequence[str], *, limit_s: float, cwd: str = "") -> Ran:
        command = f"exec {self._leader}{shlex.join(['sh', '-c', _WATCHED, 'edgekd', cwd or self._folder, *argv])}"
        ran = self._do(self._run(command, limit_s, argv[0]), f"{argv[0]} ran")
        if ran.code == 127 and ran.err == "edgekd: not found\n":
            raise DeviceError(f"{argv[0]} does not start: there is no such command", where=self._where)
        if ran.code == 126 and ran.err.startswith("edgekd: ") and "format" in ran.err.lower():
            raise DeviceError(
                f"{argv[0]} does not start: it was built for another processor", where=self._where, expected="what `uname -m` says there"
            )
        return ran

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(Exception):
            self._runner.run(self._end())
        self._runner.close()

    def _do(self, work: Coroutine[Any, Any, T], doing: str) -> T:
        """Its result; what asyncssh raises, as ours."""
        if self._connection.is_closed():
            work.close()
            raise Lost("the connection was cut before", where=self._where, mend="connect again")
        try:
            return self._runner.run(work)
        except (asyncssh.Error, asyncssh.SFTPError) as error:
            if self._connection.is_closed() or isinstance(error, asyncssh.DisconnectError | asyncssh.SFTPConnectionLost):
                raise self._lost(doing) from error
            raise DeviceError(f"it failed while {doing}: {error}", where=self._where) from error
        except OSError as error:
            if self._connection.is_closed():
                raise self._lost(doing) from error
            raise DeviceError(
                f"it failed while {doing}: {error.strerror or error}", where=f"{self._where}, {error.filename or 'here'}"
            ) from error

    def _lost(self, doing: str) -> Lost:
        return Lost(
            f"the connection was cut while {doing}", where=self._where, expected="a device that stays on and within reach", mend="try again"
        )

    async def _begin(self) -> tuple[str, str]:
        """What makes a command lead a process group of its own, and the work folder."""
        keeper = await self._connection.create_process(shlex.join(["exec", "sh", "-c", _BEGIN]), encoding="utf-8", errors="replace")
        try:
            async with asyncio.timeout(SMALL_S):
                line = str(await keeper.stdout.readline()).strip()
                said = "" if line else str(await keeper.stderr.read()).strip()
        except TimeoutError as error:
            raise DeviceError(f"a shell took over {SMALL_S} s to begin", where=self._where) from error
        if line and not line.startswith("edgekd "):
            raise DeviceError(
                f"its shell prints {line[:80]!r} where only a command should speak",
                where=self._where,
                expected="a shell that greets nobody but people: SFTP does not work either",
                mend="at the top of ~/.bashrc there: case $- in *i*) ;; *) return;; esac",
            )
        if not line:
            if self._connection.is_closed():
                raise self._lost("a work folder was made")
            raise DeviceError(
                f"no work folder can be made: {said or 'its shell says nothing'}",
                where=self._where,
                expected="a POSIX shell, and a folder to write to ($TMPDIR, else /tmp)",
            )
        _, pid, group, has_setsid, folder = line.split(" ", 4)
        return ("setsid " if pid != group and has_setsid == "1" else ""), folder

    async def _run(self, command: str, limit_s: float, name: str) -> Ran:
        process = await self._connection.create_process(command, encoding="utf-8", errors="replace")
        try:
            async with asyncio.timeout(limit_s):
                out, err = await said(process.stdout, process.stderr)
                await process.wait_closed()
        except TooMuch:
            raise too_much(name, self._where) from None
        except TimeoutError:
            raise DeviceError(
                f"{name} took over {limit_s:g} s and was ended", where=self._where, expected="a command that ends in time"
            ) from None
        finally:
            if not process.is_closing():
                # The end of its input is what _WATCHED waits for. Also where this side is interrupted.
                process.stdin.write_eof()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait_closed(), _END_S)
            process.close()
        if process.returncode is None:
            raise self._lost(f"{name} ran")
        return Ran(process.returncode, out, err)

    async def _files(self) -> asyncssh.SFTPClient:
        if self._sftp is None:
            try:
                self._sftp = await self._connection.start_sftp_client()
            except (asyncssh.ChannelOpenError, asyncssh.SFTPError) as error:
                if self._connection.is_closed():
                    raise
                raise DeviceError(
                    f"it takes no files: {error}",
                    where=self._where,
                    expected="an SSH server with SFTP",
                    mend="on the device: sudo apt-get install openssh-sftp-server, or 'Subsystem sftp internal-sftp' in sshd_config",
                ) from error
        return self._sftp

    async def _put(self, local: Path, remote: str) -> None:
        sftp = await self._files()
        folder, size = posixpath.dirname(remote), local.stat().st_size
        part = posixpath.join(folder, f".{posixpath.basename(remote)}.part")
        try:
            async with patience(self._where, remote, size):
                await sftp.makedirs(folder, exist_ok=True)
                await sftp.put(str(local), part)
            if (await sftp.stat(part)).size != size:
                raise asyncssh.SFTPFailure("fewer bytes arrived than were sent")
            try:
                await sftp.posix_rename(part, remote)
            except asyncssh.SFTPOpUnsupported:
                with contextlib.suppress(asyncssh.SFTPNoSuchFile):
                    await sftp.remove(remote)
                await sftp.rename(part, remote)
        except asyncssh.SFTPError as error:
            if self._connection.is_closed() or isinstance(error, asyncssh.SFTPConnectionLost):
                raise
            with contextlib.suppress(asyncssh.Error):
                await sftp.remove(part)
            free = await room(sftp, folder)
            if free is not None and free < size:
                raise DeviceError(
                    f"its disk is full: {free:,} bytes are free for {folder}, and {local.name} has {size:,}",
                    where=self._where,
                    expected="room for the model, the inputs and the outputs",
                    mend="clear some, or set TMPDIR there to a larger disk",
                ) from error
            raise DeviceError(f"{local} cannot be put at {remote}: {error.reason or error}", where=self._where) from error

    async def _get(self, remote: str, local: Path) -> None:
        sftp = await self._files()
        local.parent.mkdir(parents=True, exist_ok=True)
        fd, part = tempfile.mkstemp(prefix=".edgekd-", dir=local.parent)
        os.close(fd)
        try:
            async with patience(self._where, remote, 0):
                found = await sftp.stat(remote)
            if found.type != FILEXFER_TYPE_REGULAR:
                raise DeviceError(f"{remote} cannot be got: it is no file", where=self._where)
            async with patience(self._where, remote, found.size or 0):
                await sftp.get(remote, part, follow_symlinks=True)
            if (await sftp.stat(remote)).size != os.path.getsize(part):
                raise DeviceError(f"{remote} changed while it was got", where=self._where, mend="try again")
            os.chmod(part, 0o644)
            os.replace(part, local)
        except asyncssh.SFTPNoSuchFile as error:
            raise DeviceError(f"{remote} cannot be got: there is no such file", where=self._where) from error
        finally:
            Path(part).unlink(missing_ok=True)

    async def _end(self) -> None:
        if not self._connection.is_closed() and self._folder:
            with contextlib.suppress(asyncssh.Error):
                await self._connection.run(shlex.join(["rm", "-rf", "--", self._folder]), timeout=SMALL_S)
        self._connection.close()
        await asyncio.wait_for(self._connection.wait_closed(), _END_S)
