"""A private OpenSSH server on 127.0.0.1: its own configuration, host keys and users' keys, and a wire before it that can be cut."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
#: Where a server that is run by root must be able to lock up its half without rights.
_EMPTY = Path("/run/sshd")


def missing() -> str:
    """Why there can be no server here; "" if there can."""
    if SSHD is None:
        return "there is no sshd: apt-get install openssh-server"
    if shutil.which("ssh-keygen") is None:
        return "there is no ssh-keygen: apt-get install openssh-client"
    if os.geteuid() == 0:
        try:
            _EMPTY.mkdir(mode=0o755, exist_ok=True)
        except OSError as error:
            return f"sshd wants {_EMPTY}: {error}"
    return ""


def keygen(path: Path, kind: str = "ed25519") -> str:
    """A new pair of keys without a passphrase at ``path`` and ``path``.pub; the public one as a line."""
    path.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "test", "-f", str(path)], check=True)
    kind, key = path.with_suffix(".pub").read_text().split()[:2]
    return f"{kind} {key}"


@dataclass
class Server:
    """One that runs. ``home`` is the user's: .ssh with the key that the server lets in, and known_hosts with the server's own."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def known_hosts(self) -> Path:
        return self.home / ".ssh" / "known_hosts"

    @property
    def temporary(self) -> Path:
        """TMPDIR of what runs in it."""
        return self.folder / "tmp"

    @property
    def programs(self) -> Path:
        """~/.edgekd/bin there: what lies in it comes before the system's."""
        found = self.folder / "there" / ".edgekd" / "bin"
        found.mkdir(parents=True, exist_ok=True)
        return found

    @property
    def host_key(self) -> str:
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    def address(self, port: int = 0) -> str:
        return f"{getpass.getuser()}@127.0.0.1:{port or self.port}"

    def trust(self, port: int) -> None:
        """Puts the server's key at ``port`` into known_hosts."""
        with self.known_hosts.open("a") as file:
            file.write(f"[127.0.0.1]:{port} {self.host_key}\n")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def start(folder: Path, *, port: int = 0, temporary: Path | None = None, sftp: bool = True) -> Server:
    """Raises RuntimeError with the server's log if it does not come up. ``temporary``: TMPDIR there; ``sftp``: whether it takes files."""
    port = port or free_port()
    home = folder / "home" / ".ssh"
    home.mkdir(parents=True, mode=0o700, exist_ok=True)
    for name in ("tmp", "there"):
        (folder / name).mkdir(exist_ok=True)
    if not (folder / "host_key").exists():
        keygen(folder / "host_key")
    if not (home / "id_ed25519").exists():
        (folder / "authorized_keys").write_text(keygen(home / "id_ed25519") + "\n")
    lines = [
        "ListenAddress 127.0.0.1", f"Port {port}", f"HostKey {folder}/host_key", f"AuthorizedKeysFile {folder}/authorized_keys",
        "StrictModes no", "UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PidFile none",
        "PermitRootLogin prohibit-password", f"SetEnv TMPDIR={temporary or folder / 'tmp'} HOME={folder / 'there'}",
    ]  # fmt: skip
    (folder / "sshd_config").write_text("\n".join([*lines, *(["Subsystem sftp internal-sftp"] if sftp else []), ""]))
    log = (folder / "log").open("ab")
    assert SSHD is not None, missing()
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stdin=subprocess.DEVNULL, stderr=log)
    log.close()
    server = Server(folder, port, process)
    if not server.known_hosts.exists():
        server.trust(port)
    for _ in range(200):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return server
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"sshd did not come up: {(folder / 'log').read_text()}")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Wire:
    """Between a client and the server: counts the client's bytes, and can be cut."""

    def __init__(self, server: Server) -> None:
        self._to = ("127.0.0.1", server.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._cut_after: int | None = None
        self.silent = False  # nothing comes through, and nobody is told
        self.sent = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self, after: int = 0) -> None:
        """Cuts what stands now, or once the client has sent ``after`` further bytes."""
        if after:
            self._cut_after = self.sent + after
            return
        self._cut_after = None
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self._to)
                except OSError:
                    client.close()
                    continue
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._ends += [client, server]
                threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(16384):
                if counted:
                    self.sent += len(data)
                    if self._cut_after is not None and self.sent > self._cut_after:
                        self.cut()
                        return
                if not self.silent:
                    sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def wire(server: Server) -> Iterator[Wire]:
    """A wire to ``server`` whose port known_hosts has."""
    one = Wire(server)
    server.trust(one.port)
    try:
        yield one
    finally:
        one.close()


def alive(pid: str) -> bool:
    """Whether a process runs: it is there, and not only waits for its parent to look."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: str) -> bool:
    """Whether it goes within some seconds."""
    return until(lambda: not alive(pid))


def until(true: Callable[[], bool]) -> bool:
    """Whether it is so within some seconds."""
    for _ in range(200):
        if true():
            return True
        time.sleep(0.05)
    return False
