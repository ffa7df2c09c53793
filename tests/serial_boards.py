"""Boards at a serial port, for tests: edgekd's firmware in QEMU behind a pseudo terminal, and a line that loses and garbles bytes."""

from __future__ import annotations

import os
import random
import re
import subprocess
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from edgekd.bench import write
from edgekd.mcu import qemu
from edgekd.mcu.boards import boards_of, plain_core
from edgekd.mcu.harness import Firmware, Order, build
from edgekd.mcu.link import Port
from edgekd.quant.graph import QuantGraph


def firmware_of(graph: QuantGraph, folder: Path, core: str = "cortex-m4", *, layers: bool = False) -> Firmware:
    """edgekd's firmware with ``graph`` as C, that answers over the UART."""
    folder.mkdir(parents=True, exist_ok=True)
    artifact = write("c", graph, folder, kernels="portable", core=plain_core(core))
    board = boards_of(core)[0]
    library = (folder, Path(artifact.path).stem)
    return build(Order((library,), core, board.flash.nbytes, board.ram.nbytes, layers=layers, transport="uart", port=board), folder)


class Emulated:
    """QEMU as a board at the port ``path``; ``restart`` presses its reset button."""

    def __init__(self, firmware: Firmware) -> None:
        # Without counting instructions its timer runs as the host's does.
        command = qemu.command(firmware.elf, firmware.board, None, serial="pty")
        at = command.index("-monitor")
        command[at + 1] = "stdio"
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(r"redirected to (\S+)", line):
                self.path = found[1]
                return
        raise AssertionError("QEMU named no pseudo terminal")

    def restart(self) -> None:
        self.tell("system_reset")

    def tell(self, command: str) -> None:
        """A line to QEMU's monitor: system_reset, stop, cont."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def emulated(firmware: Firmware) -> Iterator[Emulated]:
    board = Emulated(firmware)
    try:
        yield board
    finally:
        board.close()


class Noisy:
    """``port`` over a bad line: every byte, both ways, is lost or changed with the probability ``share``, and now and then others come."""

    def __init__(self, port: Port, share: float, seed: int) -> None:
        self.where, self.baud, self._port, self._share, self._random = port.where, port.baud, port, share, random.Random(seed)
        self.path = getattr(port, "path", "")
        self.spoiled = 0

    def write(self, content: bytes) -> None:
        self._port.write(self._spoil(content))

    def read(self, limit_s: float) -> bytes:
        return self._spoil(self._port.read(limit_s))

    def _spoil(self, content: bytes) -> bytes:
        found = bytearray()
        for byte in content:
            if self._random.random() >= self._share:
                found.append(byte)
                continue
            self.spoiled += 1
            found += self._random.choice([b"", bytes([self._random.randrange(256)]), self._random.randbytes(5)])
        return bytes(found)


class Peer:
    """One end of a pseudo terminal, with a function that answers what comes: pieces of bytes → bytes, in a thread of its own."""

    def __init__(self, answer: Callable[[bytes], bytes], *, greeting: bytes = b"") -> None:
        self._answer, self._greeting = answer, greeting
        self._end, other = os.openpty()
        tty.setraw(other)
        self.path, self._other = os.ttyname(other), other
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for end in (self._other, self._end):
            os.close(end)
        self._thread.join(5)

    def _serve(self) -> None:
        try:
            if self._greeting:
                os.write(self._end, self._greeting)
            while not self._stopped.is_set():
                os.set_blocking(self._end, False)
                try:
                    content = os.read(self._end, 4096)
                except BlockingIOError:
                    time.sleep(0.002)
                    continue
                os.set_blocking(self._end, True)
                if reply := self._answer(content):
                    os.write(self._end, reply)
        except OSError:
            return  # closed
