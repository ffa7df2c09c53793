"""QEMU as the machine that a firmware runs on: its command line, its time limit, and what its end means."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path

from edgekd.errors import EdgekdError, Lost, MissingDependency
from edgekd.mcu import programs
from edgekd.mcu.boards import Board
from edgekd.mcu.link import CODES, Link

PROGRAM = "qemu-system-arm"
#: With -icount an instruction takes 2^shift ns of the machine's time. At 7 the slowest timer (16 MHz) ticks twice in it, so that ticks
#: tell single instructions, and 32 bits last for 1.3 G of them; at 3 for 21 G, to 8 instructions.
FINE, COARSE = 7, 3
IN, OUT = "edgekd.in", "edgekd.out"


def installed() -> bool:
    return shutil.which(PROGRAM) is not None


def find() -> str:
    """The program. Raises MissingDependency, with the command that installs it."""
    path = shutil.which(PROGRAM)
    if path is None:
        raise MissingDependency(f"{PROGRAM} is not installed\n  to mend:  apt-get install qemu-system-arm")
    return path


@cache
def version() -> str:
    """E.g. "QEMU 7.2.22"."""
    try:
        said = programs.run([find(), "--version"], None, 30).stdout
    except subprocess.TimeoutExpired as error:
        raise EdgekdError(f"{PROGRAM} --version took over 30 s") from error
    match = re.search(r"version (\S+)", said)
    return f"QEMU {match[1] if match else 'of unknown version'}"


def command(elf: Path, board: Board, shift: int | None, *, serial: str = "none") -> list[str]:
    """Its arguments; ``shift`` None runs without counting, which is faster. ``serial`` is what the board's UART is connected to."""
    counting = [] if shift is None else ["-icount", f"shift={shift},align=off,sleep=off"]
    return [
        find(), "-M", board.machine, "-nodefaults", "-nic", "none", "-display", "none", "-monitor", "none", "-serial", serial,
        *counting, "-semihosting-config", "enable=on,target=native", "-kernel", str(elf.resolve()),
    ]  # fmt: skip


def run(elf: Path, board: Board, request: bytes, folder: Path, *, shift: int | None = FINE, limit_s: float = 60.0) -> tuple[bytes, bool]:
    """What the firmware answered by semihosting, and whether it ended before ``limit_s`` (else the answer is as long as it got).

    Raises EdgekdError where the firmware stopped by a fault or QEMU did.
    """
    (folder / IN).write_bytes(request)
    out = folder / OUT
    out.unlink(missing_ok=True)
    try:
        done = programs.run(command(elf, board, shift), folder, limit_s)
    except subprocess.TimeoutExpired:
        return (out.read_bytes() if out.exists() else b""), False
    if done.returncode:
        raise EdgekdError(failure(done.returncode, board.name, done.stderr))
    if not out.is_file():
        raise EdgekdError(f"{PROGRAM} ended without an answer of the firmware on {board.name}")
    return out.read_bytes(), True


def run_uart(elf: Path, board: Board, request: bytes, *, shift: int | None = FINE, limit_s: float = 60.0) -> bytes:
    """What the firmware answered over its UART. Raises DeviceError where it stops, or says nothing new for ``limit_s``."""
    process = subprocess.Popen(
        command(elf, board, shift, serial="stdio"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        link = Link(_Pipe(process, f"{version()}, {board.name}"))
        link.begin(limit_s)
        return link.ask(request, limit_s=limit_s)
    finally:
        process.kill()
        process.communicate()


class _Pipe:
    """QEMU's standard input and output as a ``Port``."""

    baud = 115200

    def __init__(self, process: subprocess.Popen[bytes], where: str) -> None:
        self.where, self._process = where, process

    def write(self, content: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(content)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def read(self, limit_s: float) -> bytes:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(limit_s):
                return b""
        if not (content := os.read(self._process.stdout.fileno(), 65536)):
            raise self._ended()
        return content

    def _ended(self) -> Lost:
        return Lost(f"QEMU ended with {self._process.wait()}", where=self.where)


def failure(code: int, board: str, said: str) -> str:
    """A sentence on why a firmware stopped."""
    last = " ".join(said.split())[-300:]
    why = CODES.get(code) or (f"QEMU was ended by {signal.Signals(-code).name}" if -code in set(signal.Signals) and not last else None)
    if code < 0 and "ockup" in said:
        why = CODES[70]
    return f"the firmware stopped on {board} with {code}: {why or last or 'it said nothing'}"
