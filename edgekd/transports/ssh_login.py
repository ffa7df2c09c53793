"""The way in to an SSH server: its key against known_hosts, ours against its authorized_keys; and why it fails, in the user's terms."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import asyncssh

from edgekd.errors import DeviceError, Lost
from edgekd.transports.ssh_hosts import DEFAULT, KnownHosts

#: Seconds until a host answers, and between signs of life: three of them missing, and the connection is lost.
ANSWER_S, ALIVE_S = 15, 15
# asyncio says so for every block that was under way when a connection is cut; the cut itself is raised.
logging.getLogger("asyncio").addFilter(lambda record: "socket.send() raised exception" not in record.getMessage())


class _Client(asyncssh.SSHClient):
    """Takes no host key by itself; remembers the one that was shown."""

    def __init__(self) -> None:
        self.shown: asyncssh.SSHKey | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.shown = key
        return False


async def login(user: str, host: str, port: int, where: str) -> asyncssh.SSHClientConnection:
    """A connection; ``user`` "" and ``port`` 0: as ~/.ssh/config has them. Raises DeviceError, and Lost where
    nothing answers now: a device that starts does later."""
    client = _Client()
    given = {key: value for key, value in (("username", user), ("port", port)) if value}
    try:
        options = await asyncssh.SSHClientConnectionOptions.construct(
            host=host, **given, connect_timeout=ANSWER_S, login_timeout=2 * ANSWER_S, keepalive_interval=ALIVE_S,
            password_auth=False, kbdint_auth=False, request_pty=False, agent_forwarding=False, client_factory=lambda: client,
        )  # fmt: skip
    except (asyncssh.Error, ValueError, OSError) as error:
        raise DeviceError(f"~/.ssh/config or a key cannot be read: {error}", where=where) from error
    stated = options.known_hosts if isinstance(options.known_hosts, list) else []
    known = KnownHosts([Path(str(file)).expanduser() for file in stated or DEFAULT])
    try:
        return await asyncssh.connect(host, options=options, known_hosts=known)
    except asyncssh.HostKeyNotVerifiable as error:
        raise known.refusal(client.shown, where) from error
    except UnicodeError as error:  # of a name that IDNA cannot write
        raise DeviceError(f"{host!r} is no host's name: {error}"[:300], where=where, mend="its address, e.g. 192.168.1.20") from error
    except (ValueError, RecursionError) as error:
        said = "ProxyJump leads to itself" if isinstance(error, RecursionError) else str(error)
        raise DeviceError(f"~/.ssh/config or a key cannot be read: {said}", where=where, mend="ssh -G shows what it says") from error
    except (asyncssh.Error, OSError) as error:
        other = await _other_key(error, known, options) if known.lines else None
        raise known.refusal(other, where) if other else _unreachable(error, user, host, port, where) from error


async def _other_key(error: Exception, known: KnownHosts, options: asyncssh.SSHClientConnectionOptions) -> asyncssh.SSHKey | None:
    """The host's key, where it is of a kind that known_hosts has none of: then the two do not even agree on an algorithm, as only those
    that are known were asked for, and the server may just hang up."""
    if not isinstance(error, asyncssh.KeyExchangeFailed | asyncssh.ConnectionLost | ConnectionResetError):
        return None
    try:
        key = await asyncssh.get_server_host_key(options.host, options.port, options=options)
    except (asyncssh.Error, OSError):
        return None
    return key if key and not any(key.algorithm == one.algorithm for line in known.lines for one in line.keys) else None


def _unreachable(error: Exception, user: str, host: str, port: int, where: str) -> DeviceError:
    to = f"{f'-p {port} ' if port else ''}{user + '@' if user else ''}{host}"
    if isinstance(error, asyncssh.PermissionDenied):
        return DeviceError(
            "no key of yours is let in, and passwords are not asked for",
            where=where,
            expected="a key in ~/.ssh or the agent that the device's ~/.ssh/authorized_keys has",
            mend=f"ssh-copy-id {to} (and ssh-add, for a key with a passphrase)",
        )
    if isinstance(error, socket.gaierror):
        return DeviceError(
            f"there is no host {host!r}: {error.strerror}", where=where, mend=f"its address, e.g. {user or 'pi'}@192.168.1.20"
        )
    if isinstance(error, ConnectionRefusedError):
        return Lost("it answers, but no SSH server does at that port", where=where, mend="on the device: sudo systemctl enable --now ssh")
    if isinstance(error, TimeoutError):
        return Lost(f"no answer within {ANSWER_S} s", where=where, expected="a device that is on and within reach", mend=f"ping {host}")
    if isinstance(error, asyncssh.ConnectionLost | ConnectionResetError):
        return Lost(f"the connection was cut as it began: {error}", where=where, mend="try again")
    kind = Lost if isinstance(error, OSError) else DeviceError  # no way there now; the two do not speak the same protocol
    return kind(f"it cannot be reached: {error}", where=where, mend=f"ssh {to}")
