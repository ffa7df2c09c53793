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
    signed = False
    try:
        _HELD.add(token)
        _sign(transport, path, token)
        signed = True
        yield said
    finally:
        _HELD.discard(token)
        with contextlib.suppress(DeviceError):  # the device is gone; whoever comes next finds the lock stale
            if not signed or (_owner(transport, path) or {}).get("token") == token:
                transport.run(["rm", "-r", "-f", path], limit_s=_LIMIT_S)


def _take_over(transport: Transport, path: str) -> str:
    """Move a stale lock aside, which only one of two can, and make one's own."""
    owner, age = _owner(transport, path), _age(transport, path)
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
    moved = transport.run(["mv", path, aside], limit_s=_LIMIT_S).code == 0
    if not moved or transport.run(["mkdir", path], limit_s=_LIMIT_S).code:
        raise DeviceError("another harness has just taken the device over", where=transport.where, mend="wait")
    transport.run(["rm", "-r", "-f", aside], limit_s=_LIMIT_S)
    return f"a stale lock was taken over: {whose}, {age:.0f} s ago"


def _stale(owner: dict[str, str] | None, age: float) -> bool:
    """A process of this machine can be asked whether it lives; of others only the age tells."""
    if owner is None:
        return age > MAKING_S
    if owner["host"] == platform.node() and owner["pid"] == str(os.getpid()):
        return owner.get("token", "") not in _HELD
    if owner["host"] == platform.node() and owner["pid"].isdecimal():
        try:
            os.kill(int(owner["pid"]), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
    return age > LONGEST_S


def _sign(transport: Transport, path: str, token: str) -> None:
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        file = Path(folder) / OWNER
        file.write_text(json.dumps({"host": platform.node(), "pid": str(os.getpid()), "token": token}), encoding="utf-8")
        transport.put(file, posixpath.join(path, OWNER))


def _owner(transport: Transport, path: str) -> dict[str, str] | None:
    ran = transport.run(["cat", posixpath.join(path, OWNER)], limit_s=_LIMIT_S)
    try:
        found = json.loads(ran.out) if ran.code == 0 else None
    except ValueError:
        return None
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) and {"host", "pid"} <= found.keys() else None


def _age(transport: Transport, path: str) -> float | None:
    """Seconds since the lock was made, by the device's own clock; None where there is none."""
    made, now = transport.run(["stat", "-c", "%Y", path], limit_s=_LIMIT_S), transport.run(["date", "+%s"], limit_s=_LIMIT_S)
    try:
        return max(0.0, float(now.out) - float(made.out)) if made.code == 0 and now.code == 0 else None
    except ValueError:
        return None
