"""A device that speaks adb's protocol on loopback, for tests: its shell is this machine's, its files lie in a folder.

Not Android's adbd, but the same bytes to the real client and server: messages CNXN, AUTH, OPEN, OKAY, WRTE, CLSE; services shell: and sync:
(STAT, SEND, RECV). As an old device it has no shell_v2, so that exit codes are lost. AOSP, packages/modules/adb, protocol.txt and SYNC.TXT.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import pytest

_HEADER = struct.Struct("<6I")
_COMMANDS = {name: struct.unpack("<I", name.encode())[0] for name in ("CNXN", "AUTH", "OPEN", "OKAY", "WRTE", "CLSE")}
_NAMES = {number: name for name, number in _COMMANDS.items()}
_MOST = 64 << 10


class Device:
    """``root`` is its temporary folder. ``trusts``: whether it takes this machine's key. ``cut_after``: it hangs up once so many bytes of a
    file came, or went; ``full_after``: then its disk is full. Both are None for never, and may be changed while it runs."""

    def __init__(self, root: Path, *, trusts: bool = True, path: str = "") -> None:
        self.root, self.trusts, self.path = root, trusts, path
        self.hung = False  # it takes what it is sent, and says nothing
        self.only_path = False  # nothing of this machine's own programs
        self.environment: dict[str, str] = {}
        self.cut_after: int | None = None
        self.full_after: int | None = None
        self.connections: list[socket.socket] = []
        self.services: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._stopped = False
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """As when the cable is pulled, or it starts anew."""
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self.connections.clear()

    def _accept(self) -> None:
        while not self._stopped:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=_Connection(self, connection).serve, daemon=True).start()


class _Connection:
    def __init__(self, device: Device, line: socket.socket) -> None:
        self._device, self._line = device, line
        self._lock = threading.Lock()
        self._streams: dict[int, _Stream] = {}
        self._next = 1

    def serve(self) -> None:
        with suppress(OSError, EOFError), self._line:
            while True:
                command, first, second, content = self._receive()
                self._hear(command, first, second, content)
        for stream in list(self._streams.values()):
            stream.end()

    def send(self, command: str, first: int, second: int, content: bytes = b"") -> None:
        number = _COMMANDS[command]
        head = _HEADER.pack(number, first, second, len(content), sum(content) & 0xFFFFFFFF, number ^ 0xFFFFFFFF)
        with self._lock:
            self._line.sendall(head + content)

    def cut(self) -> None:
        self._device.hang_up()

    def forget(self, number: int) -> None:
        self._streams.pop(number, None)

    def _receive(self) -> tuple[str, int, int, bytes]:
        command, first, second, length, _, magic = _HEADER.unpack(self._exactly(_HEADER.size))
        assert magic == command ^ 0xFFFFFFFF, "not adb's protocol"
        return _NAMES[command], first, second, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            if not (more := self._line.recv(count - len(found))):
                raise EOFError
            found += more
        return bytes(found)

    def _hear(self, command: str, first: int, second: int, content: bytes) -> None:
        if command in ("CNXN", "AUTH"):
            if self._device.trusts:
                self.send("CNXN", 0x01000000, _MOST, b"device::ro.product.name=peer;ro.product.model=Peer;ro.product.device=peer;\0")
            else:
                self.send("AUTH", 1, 0, bytes(20))
        elif command == "OPEN":
            if self._device.hung:
                return
            service = content.rstrip(b"\0").decode()
            self._device.services.append(service)
            kind = {"shell": _Shell, "exec": _Shell, "sync": _Sync}.get(service.partition(":")[0])
            if kind is None:
                self.send("CLSE", 0, first)
                return
            number, self._next = self._next, self._next + 1
            self.send("OKAY", number, first)
            self._streams[number] = kind(self, self._device, number, first, service.partition(":")[2])
        elif second in self._streams:
            stream = self._streams[second]
            if command == "WRTE":
                self.send("OKAY", second, first)
                stream.heard(content)
            elif command == "OKAY":
                stream.ready.set()
            elif command == "CLSE":
                self.forget(second)
                stream.end()


class _Stream:
    def __init__(self, connection: _Connection, device: Device, number: int, theirs: int, argument: str) -> None:
        self.connection, self.device, self.number, self.theirs, self.argument = connection, device, number, theirs, argument
        self.ready = threading.Event()
        self.ready.set()
        self.start()

    def start(self) -> None: ...
    def heard(self, content: bytes) -> None: ...
    def end(self) -> None: ...

    def say(self, content: bytes) -> None:
        """One piece is on its way at a time."""
        for at in range(0, len(content), _MOST):
            if not self.ready.wait(30):
                raise EOFError
            self.ready.clear()
            self.connection.send("WRTE", self.number, self.theirs, content[at : at + _MOST])

    def close(self) -> None:
        self.ready.wait(5)
        self.connection.send("CLSE", self.number, self.theirs)
        self.connection.forget(self.number)


class _Shell(_Stream):
    def start(self) -> None:
        own = "" if self.device.only_path else os.environ["PATH"]
        path = ":".join(filter(None, (self.device.path, own)))
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", self.argument],
            cwd="/",
            env={"PATH": path, "TMPDIR": str(self.device.root), **self.device.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        threading.Thread(target=self._pump, daemon=True).start()

    def _pump(self) -> None:
        assert self._process.stdout is not None
        with suppress(OSError, EOFError), self._process.stdout:
            while content := os.read(self._process.stdout.fileno(), 4096):
                self.say(content)
            self._process.wait()
            self.close()

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGHUP)


class _Sync(_Stream):
    def start(self) -> None:
        self._partial = bytearray()
        self._file: Path | None = None
        self._written = 0
        self._failed = False

    def heard(self, content: bytes) -> None:
        self._partial += content
        while len(self._partial) >= 8:
            name, length = bytes(self._partial[:4]).decode(), struct.unpack_from("<I", self._partial, 4)[0]
            body = 0 if name in ("DONE", "QUIT") else length
            if len(self._partial) < 8 + body:
                return
            argument = bytes(self._partial[8 : 8 + body])
            del self._partial[: 8 + body]
            # In a thread of its own: what it says is acknowledged by messages that come in here.
            threading.Thread(target=self._safely, args=(name, argument), daemon=True).start() if name == "RECV" else self._safely(
                name, argument
            )

    def _safely(self, name: str, argument: bytes) -> None:
        with suppress(OSError, EOFError):
            self._do(name, argument)

    def _do(self, name: str, argument: bytes) -> None:
        if name == "STAT":
            try:
                found = os.stat(argument.decode())
                said = struct.pack("<4s3I", b"STAT", found.st_mode, found.st_size, int(found.st_mtime))
            except OSError:
                said = struct.pack("<4s3I", b"STAT", 0, 0, 0)
            self.say(said)
        elif name == "SEND":
            self._file, self._written, self._failed = Path(argument.decode().rpartition(",")[0]), 0, False
            self._file.write_bytes(b"")
        elif name == "DATA":
            self._take(argument)
        elif name == "DONE" and not self._failed:
            self.say(b"OKAY" + bytes(4))
        elif name == "RECV":
            self._give(Path(argument.decode()))
        elif name == "QUIT":
            self.close()

    def _take(self, content: bytes) -> None:
        assert self._file is not None
        self._written += len(content)
        if self.device.cut_after is not None and self._written > self.device.cut_after:
            self.connection.cut()
        elif self.device.full_after is not None and self._written > self.device.full_after:
            if not self._failed:
                self._failed = True
                said = b"couldn't write file: No space left on device"
                self.say(b"FAIL" + struct.pack("<I", len(said)) + said)
        else:
            with self._file.open("ab") as file:
                file.write(content)

    def _give(self, path: Path) -> None:
        content = path.read_bytes()
        for at in range(0, len(content), 32 << 10):
            if self.device.cut_after is not None and at >= self.device.cut_after:
                self.connection.cut()
                return
            piece = content[at : at + (32 << 10)]
            self.say(b"DATA" + struct.pack("<I", len(piece)) + piece)
        self.say(b"DONE" + bytes(4))


@contextmanager
def server(home: Path) -> Iterator[dict[str, str]]:
    """A server of adb of one's own: its environment. It ends with the context."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {"ANDROID_ADB_SERVER_PORT": str(port), "HOME": str(home), "ADB_MDNS_AUTO_CONNECT": "0", "TMPDIR": str(home)}
    try:
        yield environment
    finally:
        subprocess.run(["adb", "kill-server"], env={**os.environ, **environment}, capture_output=True, timeout=20, check=False)


@contextmanager
def serving(home: Path) -> Iterator[None]:
    """The same, where what runs in this process finds it."""
    with server(home) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield
