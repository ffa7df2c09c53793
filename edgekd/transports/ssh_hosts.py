"""Whether a host is who it says: known_hosts, read line by line, so that a refusal names the line that it goes against.

Format: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". Nothing here ever writes to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from edgekd.errors import DeviceError

#: What counts where the user's ~/.ssh/config names no other.
DEFAULT = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")
#: Kinds of keys of what a line matches: trusted, authorities that sign, revoked; then those of X.509.
_KINDS = 7


@dataclass(frozen=True)
class Line:
    """One that is about the host: ``keys`` are those that it trusts, ``revoked`` those that it forbids."""

    file: Path
    number: int
    keys: tuple[asyncssh.SSHKey, ...]
    revoked: tuple[asyncssh.SSHKey, ...]


class KnownHosts:
    """Asked by asyncssh which keys to trust; remembers the lines, to say afterwards why the one that came was not."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self.lines: list[Line] = []
        self._name = ""

    def __call__(self, host: str, addr: str, port: int | None) -> tuple[list[object], ...]:
        """Keys for a host: of lines that name it with its port, else of those that name it without (as OpenSSH does)."""
        self._name = f"[{host}]:{port}" if port else host
        plain = [name for name in (host, addr) if name]
        with_port = [f"[{name}]:{port}" for name in plain] if port else plain
        for names in (with_port, plain):
            self.lines, found = self._matching(names)
            if any(found):
                break
        return found

    def refusal(self, key: asyncssh.SSHKey | None, where: str) -> DeviceError:
        """Why ``key``, which the host has shown, is not trusted, and the line to add; None: it is one that a line revokes."""
        if key is None:
            lines = [f"{one.file} line {one.number}" for one in self.lines if one.revoked]
            return DeviceError(
                "the host shows a key that is revoked or no good", where=where, expected="another", mend="see " + " and ".join(lines)
            )
        shown = f"{key.get_algorithm()} {key.get_fingerprint()}"
        line = " ".join([self._name, *key.export_public_key("openssh").decode().split()[:2]])
        file = self.files[0]
        if known := [one for one in self.lines if one.keys]:
            one = known[0]
            return DeviceError(
                f"the host key has CHANGED: it is {shown} now. Either the device was set up anew, or something else answers in its place",
                where=where,
                expected=f"{one.keys[0].get_algorithm()} {one.keys[0].get_fingerprint()}, as {one.file} line {one.number} says",
                mend=f"if it was set up anew: ssh-keygen -R '{self._name}' -f {one.file}, then compare the fingerprint on the device "
                f"(ssh-keygen -lf {_file_of(key)}) and add the line\n            {line}",
            )
        return DeviceError(
            f"the host key is not known: {shown}",
            where=where,
            expected=f"a line for {self._name} in {file}",
            mend=f"compare the fingerprint on the device (ssh-keygen -lf {_file_of(key)}), then add the line\n            {line}",
        )

    def _matching(self, names: list[str]) -> tuple[list[Line], tuple[list[object], ...]]:
        lines: list[Line] = []
        found: tuple[list[object], ...] = tuple([] for _ in range(_KINDS))
        for file in self.files:
            try:
                text = file.read_text(errors="replace")
            except OSError:
                continue  # as OpenSSH: a file that is not there trusts nobody
            for number, line in enumerate(text.splitlines(), 1):
                keys = _of(line, names)
                for all_of_kind, here in zip(found, keys, strict=True):
                    all_of_kind.extend(one for one in here if one not in all_of_kind)
                if any(keys):
                    lines.append(Line(file, number, tuple(keys[0]), tuple(keys[2])))
        return lines, found


def _of(line: str, names: list[str]) -> Sequence[Sequence[Any]]:
    """Keys of one line, for a host with any of ``names``, kind by kind; none if it cannot be read."""
    try:
        known = asyncssh.import_known_hosts(line)
    except ValueError:
        known = asyncssh.SSHKnownHosts()
    for name in names:
        keys = known.match(name, "", None)
        if any(keys):
            return keys
    return [[] for _ in range(_KINDS)]


def _file_of(key: asyncssh.SSHKey) -> str:
    """Where OpenSSH's server keeps it."""
    algorithm = key.get_algorithm()
    kind = next((kind for kind in ("ed25519", "ecdsa", "rsa") if kind in algorithm), "*")
    return f"/etc/ssh/ssh_host_{kind}_key.pub"
