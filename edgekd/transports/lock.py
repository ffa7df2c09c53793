"""One harness at a time on a device: a folder beside the work folders, made by mkdir, which succeeds for only one of two."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import posixpath
import tempfile
import uuid
from collections.abc import Generator
from pathlib import Path

from edgekd.errors import DeviceError
from edgekd.transports import Transport

NAME, OWNER = "edgekd.lock", "owner.json"
#: A lock that says nothing of its owner is being made, unless it is older than this; one whose owner cannot be asked is stale after this.
MAKING_S, LONGEST_S = 60.0, 6 * 3600.0
_LIMIT_S = 30.0
#: Of Linux: a number that every boot draws, seconds since then, and what tells machines of one name apart.
_BOOT, _UPTIME, _MACHINE = "/proc/sys/kernel/random/boot_id", "/proc/uptime", "/etc/machine-id"
#: Tokens of the locks that this process holds: one of its own that is not among them was left behind where a connection was cut.
_HELD: set[str] = set()


@contextlib.contextmanager
def held(transport: Transport) -> Generator[list[str], None, None]:
    """The device for oneself. Yields what there is to say: that a stale lock was taken over, and whose it was.

    Raises DeviceError, which names the owner, where another harness has it.
    """
    path, said = posixpath.join(posixpath.dirname(transport.folder), NAME), list[str]()
    token = uuid.uuid4().hex
    if transport.run(["mkdir", path], limit_s=_LIMIT_S).code:
        said.append(_take_over(transport, path))
    try:
        _HELD.add(token)
        _sign(transport, path, token)
        if (_owner(transport, path) or {}).get("token") != token:
            raise _taken(transport)
        yield said
    finally:
        _HELD.discard(token)
        with contextlib.suppress(DeviceError):  # the device is gone; whoever comes next finds the lock stale
            if (_owner(transport, path) or {}).get("token", token) == token:
                transport.run(["rm", "-r", "-f", path], limit_s=_LIMIT_S)


def _take_over(transport: Transport, path: str) -> str:
    """Move a stale lock aside, which only one of two can, and make one's own."""
    owner = _owner(transport, path)
    age = _age(transport, path, owner)
    if age is None:
        raise DeviceError(f"{path} cannot be made", where=transport.where, expected="a folder that can be written to")
    whose = f"{owner['host']}, process {owner['pid']}" if owner else "one that did not say whose it is"
    if not _stale(owner, age):
        raise DeviceError(
            f"another harness measures there since {age:.0f} s: {whose}",
            where=transport.where,
            expected="one at a time, or both measure each other",
            mend=f"wait; or, if that one is gone: rm -r {path} (there)",
        )
    aside = f"{path}.{uuid.uuid4().hex}"
    if transport.run(["mv", path, aside], limit_s=_LIMIT_S).code:
        if _age(transport, path, owner) is None:
            raise _taken(transport)
        mend = f"rm -r {path} (there, as the user who made it, or root)"
        raise DeviceError(f"a stale lock of another user is there: {whose}", where=transport.where, mend=mend)
    if (_owner(transport, aside) or {}).get("token") != (owner or {}).get("token"):  # somebody took the stale one over meanwhile: his
        transport.run(["mv", aside, path], limit_s=_LIMIT_S)
        raise _taken(transport)
    if transport.run(["mkdir", path], limit_s=_LIMIT_S).code:
        raise _taken(transport)
    left = (owner or {}).get("folder", "")  # his work folder, which he could not remove
    beside = posixpath.dirname(left) == posixpath.dirname(path) and posixpath.basename(left).startswith("edgekd-")
    transport.run(["rm", "-r", "-f", aside, *([left] if beside else [])], limit_s=_LIMIT_S)
    return f"a stale lock was taken over: {whose}, {'before the device started anew' if age == float('inf') else f'{age:.0f} s ago'}"


def _taken(transport: Transport) -> DeviceError:
    return DeviceError("another harness has just taken the device over", where=transport.where, mend="wait")


def _stale(owner: dict[str, str] | None, age: float) -> bool:
    """A process of this machine can be asked whether it lives; of others only the age tells."""
    if owner is None:
        return age > MAKING_S
    me = _me(os.getpid())
    if age == float("inf") or owner["host"] != me["host"] or owner.get("machine", me["machine"]) != me["machine"]:
        return age > LONGEST_S
    if owner.get("boot", me["boot"]) != me["boot"]:
        return bool(me["machine"]) or age > LONGEST_S  # it was there before this machine started anew
    if owner.get("numbers", me["numbers"]) != me["numbers"]:
        return age > LONGEST_S  # of a container, whose processes have numbers of their own
    started = _started(owner["pid"])
    if not started or owner.get("started", started) != started:
        return True  # it has ended, and its number may be another's now
    return owner["pid"] == me["pid"] and owner.get("token", "") not in _HELD


def _me(pid: int) -> dict[str, str]:
    """What tells this process from all others: of this machine and of those of the same name, now and after it has ended."""
    with contextlib.suppress(OSError):
        return {
            "host": platform.node(),
            "machine": _read(_MACHINE),
            "boot": _read(_BOOT),
            "numbers": os.readlink("/proc/self/ns/pid"),
            "pid": str(pid),
            "started": _started(str(pid)),
        }
    return {"host": platform.node(), "machine": "", "boot": "", "numbers": "", "pid": str(pid), "started": _started(str(pid))}


def _started(pid: str) -> str:
    """When the process began, in the kernel's own count; "" where there is none (proc(5), /proc/pid/stat, field 22)."""
    if not pid.isdecimal():
        return ""
    if text := _read(f"/proc/{pid}/stat"):
        return text.rpartition(")")[2].split()[19]
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return ""
    except (PermissionError, OverflowError):
        pass
    return "it lives"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _sign(transport: Transport, path: str, token: str) -> None:
    boot, up = _clock(transport)
    owner = {**_me(os.getpid()), "token": token, "device_boot": boot, "device_up": up, "folder": transport.folder}
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        file = Path(folder) / OWNER
        file.write_text(json.dumps(owner), encoding="utf-8")
        transport.put(file, posixpath.join(path, OWNER))


def _owner(transport: Transport, path: str) -> dict[str, str] | None:
    ran = transport.run(["cat", posixpath.join(path, OWNER)], limit_s=_LIMIT_S)
    try:
        found = json.loads(ran.out) if ran.code == 0 else None
    except (ValueError, RecursionError):
        return None
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) and {"host", "pid"} <= found.keys() else None


def _age(transport: Transport, path: str, owner: dict[str, str] | None) -> float | None:
    """Seconds since the lock was made, infinite where the device has started anew since then; None where there is none.

    By what the device has counted since it started: its wall clock may jump, as it does on boards without a battery for it.
    """
    made, now = transport.run(["stat", "-c", "%Y", path], limit_s=_LIMIT_S), transport.run(["date", "+%s"], limit_s=_LIMIT_S)
    if made.code:
        return None
    with contextlib.suppress(KeyError, ValueError):
        boot, up = _clock(transport)
        if owner and boot and owner["device_boot"]:
            return max(0.0, float(up) - float(owner["device_up"])) if owner["device_boot"] == boot else float("inf")
    try:
        return max(0.0, float(now.out) - float(made.out)) if now.code == 0 else None
    except ValueError:
        return None


def _clock(transport: Transport) -> tuple[str, str]:
    """Which boot of the device this is, and seconds since then; "" where it does not say."""
    lines = transport.run(["cat", _BOOT, _UPTIME], limit_s=_LIMIT_S).out.split()
    return (lines[0], lines[1]) if len(lines) == 3 else ("", "")
