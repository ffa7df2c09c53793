"""QEMU as the machine that a firmware runs on: its command line, its time limit, and what its end means."""

from __future__ import annotations

import re
import selectors
import shutil
import signal
import subprocess
import time
from functools import cache
from pathlib import Path

from edgekd.errors import EdgekdError, MissingDependency
from edgekd.mcu import answers
from edgekd.mcu.boards import Board

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
        said = subprocess.run([find(), "--version"], capture_output=True, text=True, errors="replace", timeout=30, check=False).stdout
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
        done = subprocess.run(
            command(elf, board, shift),
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return (out.read_bytes() if out.exists() else b""), False
    if done.returncode:
        raise EdgekdError(failure(done.returncode, board.name, done.stderr))
    if not out.is_file():
        raise EdgekdError(f"{PROGRAM} ended without an answer of the firmware on {board.name}")
    return out.read_bytes(), True


def run_uart(elf: Path, board: Board, request: bytes, length: int, *, shift: int | None = FINE, limit_s: float = 60.0) -> bytes:
    """The first ``length`` bytes that the firmware answered over its UART. Raises EdgekdError where they did not come in time."""
    process = subprocess.Popen(
        command(elf, board, shift, serial="stdio"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        # The firmware waits for another request for ever: the time limit of `communicate` would not return what came.
        assert process.stdin is not None
        if (hello := _first(process, len(answers.HELLO), limit_s)) != answers.HELLO:
            raise EdgekdError(f"the firmware began with {hello!r}, expected {answers.HELLO!r}")
        process.stdin.write(request)
        process.stdin.flush()
        return _first(process, length, limit_s)
    finally:
        process.kill()
        process.communicate()


def _first(process: subprocess.Popen[bytes], length: int, limit_s: float) -> bytes:
    assert process.stdout is not None
    content, until = b"", time.monotonic() + limit_s
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while len(content) < length:
            left = until - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise EdgekdError(f"{len(content)} of {length} bytes came over the UART in {limit_s:g} s")
            more = process.stdout.read1(length - len(content))  # type: ignore[attr-defined]
            if not more:
                raise EdgekdError(f"QEMU ended with {process.wait()} after {len(content)} of {length} bytes")
            content += more
    return content


#: Exit codes of the firmware → what happened.
CODES = {
    70: "the core faulted: most likely the stack ran out of its room, or an address is wrong",
    71: "it was asked for a model that it has not",
    72: "it could not open its files",
    73: "it could not write its answer",
}


def failure(code: int, board: str, said: str) -> str:
    """A sentence on why a firmware stopped."""
    last = " ".join(said.split())[-300:]
    why = CODES.get(code) or (f"QEMU was ended by {signal.Signals(-code).name}" if -code in set(signal.Signals) and not last else None)
    if code < 0 and "ockup" in said:
        why = CODES[70]
    return f"the firmware stopped on {board} with {code}: {why or last or 'it said nothing'}"
