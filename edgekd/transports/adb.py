"""Android's debug bridge, by its own client `adb`: phones, and boards with Linux that run its daemon.

The client talks to a server of this machine, at $ANDROID_ADB_SERVER_PORT or 5037. Nothing is asked of the device that the oldest daemons
have not: exit codes come as text, since only shell_v2 (Android 7, 2016) carries them.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgekd.errors import DeviceError, Lost, MissingDependency
from edgekd.transports import Ran
from edgekd.transports.heard import TooMuch, heard, too_much

PROGRAM = "adb"
#: Of commands of ours that should take no time.
_SHORT_S = 20.0
#: What the client says when the connection is cut.
_CUT = re.compile(
    r"device '[^']*' not found|no devices|device offline|\bclosed\b|protocol fault|connection reset|broken pipe|no such device|EOF|"
    r"couldn't read from device|cannot connect to daemon|failed to read|transport|host is down|Success$",
    re.IGNORECASE,
)
#: State of a device → what is wrong with it, and what helps.
_STATES = {
    "unauthorized": ("it does not trust this machine yet", "unlock it and allow USB debugging for this computer"),
    "authorizing": ("it does not trust this machine yet", "unlock it and allow USB debugging for this computer"),
    "offline": ("it is offline", "plug it in again, or: adb reconnect offline"),
    "connecting": ("it has not answered yet", "wait, or: adb reconnect offline"),
    "bootloader": ("it is in its boot loader", "fastboot reboot"),
    "recovery": ("it is in recovery", "adb reboot"),
    "sideload": ("it waits for an update", "adb reboot"),
    "no permissions": ("this user may not open its USB port", "sudo apt-get install android-sdk-platform-tools-common, then replug"),
}


def connect(address: str = "") -> AdbTransport:
    """The device with this serial number, the one at this HOST:PORT (`adb connect`), or with "" the only one that there is.

    Raises MissingDependency without the client, DeviceError where there is no such device, are several, or one is not ready.
    """
    if shutil.which(PROGRAM) is None:
        raise MissingDependency(f"{PROGRAM} is not installed\n  to mend:  apt-get install adb")
    there = devices()
    if address not in there and re.fullmatch(r"\[?[\w.:-]+\]?:\d+", address):
        _connect(address)
        there = devices()
    serial = _choose(address, there)
    where = f"adb {serial}"
    # Work folders of connections that were cut a day ago and more are nobody's.
    root = _Shell(serial, where).run(
        'for d in "$TMPDIR" /data/local/tmp /tmp; do [ -n "$d" ] && [ -w "$d" ] && f=$d/edgekd-'
        + secrets.token_hex(6)
        + f' && mkdir "$f" && find "$d" -maxdepth 1 -name "edgekd-{"[0-9a-f]" * 12}" -mtime +1 -exec rm -rf {{}} + 2>/dev/null; '
        + '[ -d "$f" ] && echo "$f" && exit 0; done; exit 1',
        _SHORT_S,
    )
    folder = root.out.strip()
    if root.code or not folder.startswith("/"):
        raise DeviceError(
            f"no work folder can be made: {(root.err or root.out).strip() or 'nothing is writable'}",
            where=where,
            expected="a /data/local/tmp to write to",
            mend="adb shell df /data/local/tmp",
        )
    return AdbTransport(serial, folder)


def devices() -> dict[str, str]:
    """Serial number → state, "device" for those that are ready. Raises DeviceError where the server does not run."""
    try:
        done = _client(["devices"], _SHORT_S, "adb")
    except subprocess.TimeoutExpired:
        raise DeviceError(f"its server says nothing in {_SHORT_S:g} s", where="adb", mend="adb kill-server; adb start-server") from None
    if done.returncode:
        raise DeviceError(f"its server does not start: {_last(done)}", where="adb", mend="adb kill-server; adb start-server")
    rows = (line.partition("\t") for line in done.stdout.splitlines() if "\t" in line)
    return {serial.strip(): state.strip() for serial, _, state in rows}


class AdbTransport:
    """See ``edgekd.transports.Transport``."""

    def __init__(self, serial: str, folder: str) -> None:
        self._serial, self._folder, self._open = serial, folder, True
        self._shell = _Shell(serial, self.where)

    @property
    def where(self) -> str:
        return f"adb {self._serial}"

    @property
    def folder(self) -> str:
        return self._folder

    def put(self, local: Path, remote: str) -> None:
        try:
            size = local.stat().st_size
        except OSError as error:
            raise DeviceError(f"{local} cannot be put: {error.strerror}", where=self.where) from error
        target = self._path(remote)
        parent = target.rpartition("/")[0] or "/"
        partial = f"{parent}/.edgekd-{secrets.token_hex(6)}"
        self._must(f"mkdir -p {shlex.quote(parent)}", f"{remote} cannot be put")
        try:
            self._transfer(["push", str(local.absolute()), partial], size, f"{local} cannot be put")
            found = self._shell.run(f"wc -c < {shlex.quote(partial)}", _SHORT_S).out.strip()
            if found != str(size):
                raise Lost(f"{remote}: {found or 'none'} of {size} bytes arrived", where=self.where, mend="check cable and free space")
            self._must(f"mv -f {shlex.quote(partial)} {shlex.quote(target)}", f"{remote} cannot be put")
        except DeviceError as error:
            if not isinstance(error, Lost):
                self._shell.try_to(f"rm -f {shlex.quote(partial)}")
            raise

    def get(self, remote: str, local: Path) -> None:
        source = self._path(remote)
        counted = self._shell.run(f"wc -c < {shlex.quote(source)}", _SHORT_S)
        if counted.code or not counted.out.strip().isdecimal():
            raise DeviceError(f"{remote} cannot be got: {_reason(counted)}", where=self.where, expected="a file")
        size = int(counted.out)
        try:
            local.parent.mkdir(parents=True, exist_ok=True)
            fd, name = tempfile.mkstemp(prefix=".edgekd-", dir=local.parent)
            os.close(fd)
        except OSError as error:
            raise DeviceError(f"{remote} cannot be got to {local}: {error.strerror}", where=self.where) from error
        partial = Path(name)
        try:
            self._transfer(["pull", source, name], size, f"{remote} cannot be got")
            if partial.stat().st_size != size:
                raise Lost(f"{remote}: {partial.stat().st_size} of {size} bytes arrived", where=self.where, mend="check the cable")
            partial.chmod(0o644)
            os.replace(partial, local)
        finally:
            partial.unlink(missing_ok=True)

    def run(self, argv: Sequence[str], *, limit_s: float, cwd: str = "") -> Ran:
        errors, pid = f"{self._folder}/.err", f"{self._folder}/.pid"
        # A session of its own, so that whatever the command starts can be ended with it.
        command = (
            f"cd {shlex.quote(cwd or self._folder)} || exit 97; s=; command -v setsid >/dev/null 2>&1 && s=setsid; "
            f"""$s sh -c 'echo $$ > "$0"; exec "$@"' {shlex.quote(pid)} {shlex.join(argv)} </dev/null"""
        )
        try:
            return self._shell.run(command, limit_s, errors)
        except (_Hung, TooMuch, KeyboardInterrupt) as error:  # only the client here has ended
            self._kill(pid)
            if isinstance(error, TooMuch):
                raise too_much(argv[0], self.where) from None
            if isinstance(error, _Hung):
                what = f"{argv[0]} took over {limit_s:g} s and was ended"
                raise DeviceError(what, where=self.where, expected="a command that ends in time") from None
            raise

    def _kill(self, pid: str) -> None:
        """What leads the session whose number stands in the file ``pid`` there, and all that it started."""
        quoted = shlex.quote(pid)
        self._shell.try_to(f"p=$(cat {quoted}) && {{ kill -9 -$p 2>/dev/null || {{ pkill -9 -P $p; kill -9 $p; }}; }}; rm -f {quoted}")

    def close(self) -> None:
        if self._open:
            self._open = False
            self._shell.try_to(f"rm -rf {shlex.quote(self._folder)}")

    def _path(self, remote: str) -> str:
        return remote if remote.startswith("/") else f"{self._folder}/{remote}"

    def _must(self, command: str, what: str) -> None:
        ran = self._shell.run(command, _SHORT_S)
        if ran.code:
            raise DeviceError(f"{what}: {_reason(ran)}", where=self.where, mend="adb shell df /data/local/tmp")

    def _transfer(self, arguments: list[str], size: int, what: str) -> None:
        limit_s = 60 + size / 200_000
        try:
            done = _client(["-s", self._serial, *arguments], limit_s, self.where)
        except subprocess.TimeoutExpired:
            raise Lost(f"{what}: {size} bytes took over {limit_s:.0f} s", where=self.where, mend="check the cable") from None
        if done.returncode:
            said = _last(done)
            # Before "closed": adbd hangs up after it has said that it is full.
            if re.search(r"no space|read-only|permission denied|quota|remote .* failed|secure_mkdirs", said, re.IGNORECASE):
                raise DeviceError(f"{what}: {said}", where=self.where, mend="adb shell df /data/local/tmp")
            # Of a cut the client often says nothing but how far it had come.
            raise _cut(said, self.where) if not said or _CUT.search(said) else DeviceError(f"{what}: {said}", where=self.where)


class _Hung(Lost):
    """Nothing came in time: the command takes longer, or the connection is dead."""


class _Shell:
    """Commands for the device's shell. Each ends in a line with a mark that nobody else knows, and its exit code."""

    def __init__(self, serial: str, where: str) -> None:
        self._serial, self._where = serial, where

    def run(self, command: str, limit_s: float, errors: str = "") -> Ran:
        """Raises Lost where the connection is cut, or nothing comes in time. ``errors``: a file on the device for standard error."""
        mark = f"edgekd-{secrets.token_hex(8)}"
        aside = f" 2>{shlex.quote(errors)}" if errors else ""
        after = f"cat {shlex.quote(errors)}; rm -f {shlex.quote(errors)};" if errors else ""
        whole = f'( {command}\n){aside}; c=$?; printf "\\n%s\\n" {mark}; {after} printf "\\n%s %d\\n" {mark} $c'
        try:
            done = _client(["-s", self._serial, "shell", whole], limit_s, self._where)
        except subprocess.TimeoutExpired:
            raise _Hung(f"it says nothing in {limit_s:g} s", where=self._where, mend="check the cable, and: adb reconnect") from None
        out = done.stdout.replace("\r\n", "\n")
        found = re.fullmatch(rf"(.*)\n{mark}\n(.*)\n{mark} (\d+)\n?", out, re.DOTALL)
        if not found:
            raise _cut(_last(done), self._where)
        return Ran(int(found[3]), found[1], found[2] + done.stderr)

    def try_to(self, command: str) -> None:
        """As well as it goes: nothing is raised."""
        with contextlib.suppress(DeviceError):
            self.run(command, _SHORT_S)


def _client(arguments: Sequence[str], limit_s: float, where: str) -> subprocess.CompletedProcess[str]:
    """Raises subprocess.TimeoutExpired, TooMuch, DeviceError where the client does not start."""
    try:
        child = subprocess.Popen([PROGRAM, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise DeviceError(f"{PROGRAM} does not start: {error.strerror}", where=where) from error
    with child:
        try:
            out, err = heard(child, limit_s)
        except BaseException:
            child.kill()
            raise
    return subprocess.CompletedProcess(child.args, child.returncode, out, err)


def _connect(address: str) -> None:
    try:
        done = _client(["connect", address], _SHORT_S, f"adb {address}")
        said = done.stdout.strip() or _last(done)
    except subprocess.TimeoutExpired:
        said = f"no answer in {_SHORT_S:g} s"
    if not re.match(r"(already )?connected to", said) and "authenticate" not in said:
        raise DeviceError(
            f"nothing answers: {said}",
            where=f"adb {address}",
            expected="a device that listens for adb",
            mend=f"with it on USB: adb tcpip {address.rpartition(':')[2]}; or its wireless debugging, after adb pair",
        )


def _choose(address: str, there: dict[str, str]) -> str:
    """The serial number that is meant. Raises DeviceError where that is none, not ready, or not clear."""
    listed = ", ".join(f"{serial} ({state})" for serial, state in there.items()) or "none"
    if address and address not in there:
        raise DeviceError(
            "no such device is connected", where=f"adb {address}", expected=f"one of: {listed}", mend="plug it in, and: adb devices"
        )
    if not address and not there:
        raise DeviceError(
            "no device is connected", where="adb", expected="a device with USB debugging on", mend="plug it in, and: adb devices"
        )
    ready = [serial for serial, state in there.items() if state == "device"]
    if not address and len(ready) > 1:
        raise DeviceError(
            f"{len(ready)} devices are connected", where="adb", expected=f"which one, of {listed}", mend=f"--device adb:{ready[0]}"
        )
    serial = address or (ready or list(there))[0]
    state = there[serial]
    if state != "device":
        key = next((key for key in _STATES if state.startswith(key)), "")
        what, mend = _STATES.get(key, (f"it is in the state {state!r}", "adb devices"))
        raise DeviceError(what, where=f"adb {serial}", expected='the state "device"', mend=mend)
    return serial


def _cut(said: str, where: str) -> Lost:
    return Lost(f"the connection was cut: {said or 'the device hung up'}", where=where, mend="check the cable, and: adb devices")


def _last(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that says something of what went wrong."""
    lines = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines()]
    lines = [line for line in lines if line and not re.match(r"\[ *\d+%\]", line)]
    wrong = [line for line in lines if re.match(r"(adb: )?(error|failed)", line)] or lines
    return wrong[-1].removeprefix("adb: ").removeprefix("error: ")[:300] if wrong else ""


def _reason(ran: Ran) -> str:
    said = (ran.err + "\n" + ran.out).strip().splitlines()
    return said[-1][:300] if said else f"exit code {ran.code}"
