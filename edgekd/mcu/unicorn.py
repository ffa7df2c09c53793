"""Unicorn (PyPI) instead of QEMU, where that is not installed: a core without devices, for firmware of the MPS2 boards with M0+, M3, M4.

It has no clock. Instructions are counted block by block, and the timer of the board shows that count, so that one tick is one instruction.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from pathlib import Path

import numpy as np
from unicorn import arm_const as arm
from unicorn import unicorn_const
from unicorn.unicorn_py3 import Uc, UcError

from edgekd.errors import EdgekdError
from edgekd.mcu import answers
from edgekd.mcu.boards import CORES
from edgekd.mcu.harness import Firmware, Run, of_answer
from edgekd.mcu.qemu import failure
from edgekd.mcu.timing import Block

#: Core → model of Unicorn's. The instructions of M0+ and M4 without floating point are a part of M4's.
MODELS = {"cortex-m0plus": arm.UC_CPU_ARM_CORTEX_M3, "cortex-m3": arm.UC_CPU_ARM_CORTEX_M3, "cortex-m4": arm.UC_CPU_ARM_CORTEX_M4}
MODELS["cortex-m4f"] = MODELS["cortex-m4"]
_TIMER, _TIMER_VALUE = 0x40000000, 0x04
_SYSTEM, _PAGE = 0xE000E000, 0x1000
_BKPT = 7  # EXCP_BKPT of QEMU's Arm cores
_OPEN, _WRITE, _READ, _EXIT_EXTENDED = 0x01, 0x05, 0x06, 0x20
_IN, _OUT = 1, 2


@dataclass
class _Host:
    """The other end of semihosting, and the count. Not frozen: the hooks write it."""

    request: bytes
    read: int = 0
    answer: bytearray = field(default_factory=bytearray)
    exit_code: int | None = None
    executed: int = 0
    block: int = 0
    block_bytes: int = 0
    lengths: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict)
    #: Block → how often it ran, and how often a jump ended it.
    runs: dict[tuple[int, int], list[int]] = field(default_factory=dict)


def version() -> str:
    return f"Unicorn {installed_version('unicorn')}"


def blocks(firmware: Firmware, inputs: np.ndarray, *, model: int = 0) -> list[Block]:
    """As blocks.count, of one inference."""
    host = _Host(answers.request(inputs[:1], model))
    _execute(firmware, host, count=True, limit_s=600.0)
    return [Block(at, len(host.lengths[at, size]), *counts) for (at, size), counts in host.runs.items()]


def run(firmware: Firmware, inputs: np.ndarray, *, model: int = 0, count: bool = True, limit_s: float = 60.0) -> Run:
    """As harness.run; counting is slower by a factor of ten and more. Raises EdgekdError for a core that Unicorn has not."""
    host = _Host(answers.request(inputs, model))
    _execute(firmware, host, count=count, limit_s=limit_s)
    said = answers.answer(bytes(host.answer), inputs.shape[1])
    if not len(said.outputs):
        raise EdgekdError(f"no inference was done under Unicorn in {limit_s:g} s")
    # 1 GHz at 2^0 ns an instruction: a tick is one.
    return of_answer(said, 10**9 if count else None, 0, f"{version()}, {firmware.order.core}")


def _execute(firmware: Firmware, host: _Host, *, count: bool, limit_s: float) -> None:
    """Until the firmware ends, or the time is over. Raises EdgekdError where it stops otherwise."""
    machine = _machine(firmware)
    _hooks(machine, host, count=count)
    stack, reset = struct.unpack("<2I", machine.mem_read(firmware.board.flash.origin, 8))
    machine.reg_write(arm.UC_ARM_REG_SP, stack)
    began = time.monotonic()
    try:
        machine.emu_start(reset | 1, 0xFFFFFFFE, timeout=int(limit_s * 1e6))
    except UcError as error:
        where = machine.reg_read(arm.UC_ARM_REG_PC)
        raise EdgekdError(
            f"the firmware stopped under Unicorn at {where:#x}: {error}; most likely the stack ran out of its room"
        ) from error
    ended = host.exit_code is not None
    if host.exit_code:
        raise EdgekdError(failure(host.exit_code, "Unicorn", ""))
    if not ended and time.monotonic() - began < limit_s:
        raise EdgekdError("the firmware stopped under Unicorn without a word")


def _machine(firmware: Firmware) -> Uc:
    core, board = firmware.order.core, firmware.board
    if core not in MODELS or not board.machine.startswith("mps2-an38"):
        raise EdgekdError(
            f"Unicorn does not run {core} on {board.name}, only {', '.join(c for c in CORES if c in MODELS)} on an MPS2 board\n"
            "  to mend:  apt-get install qemu-system-arm"
        )
    machine = Uc(unicorn_const.UC_ARCH_ARM, unicorn_const.UC_MODE_THUMB | unicorn_const.UC_MODE_MCLASS)
    machine.ctl_set_cpu_model(MODELS[core])
    for memory in (board.flash, board.ram):
        machine.mem_map(memory.origin, memory.nbytes)
    machine.mem_map(_SYSTEM, _PAGE)
    for address, content in _segments(firmware.elf):
        machine.mem_write(address, content)
    return machine


def _segments(elf: Path) -> list[tuple[int, bytes]]:
    """(physical address, content) of what the ELF file loads. TIS, Executable and Linking Format 1.2 (1995)."""
    content = elf.read_bytes()
    (start,), (size, count) = struct.unpack_from("<I", content, 28), struct.unpack_from("<2H", content, 42)
    found = []
    for index in range(count):
        kind, offset, _, address, nbytes = struct.unpack_from("<5I", content, start + index * size)
        if kind == 1 and nbytes:
            found.append((address, content[offset : offset + nbytes]))
    return found


def _hooks(machine: Uc, host: _Host, *, count: bool) -> None:
    machine.hook_add(unicorn_const.UC_HOOK_INTR, _interrupt(host))
    machine.mmio_map(_TIMER, 0x10000, _timer(host, count), None, lambda *_: None, None)
    if count:
        machine.hook_add(unicorn_const.UC_HOOK_BLOCK, _block(host))


def _block(host: _Host) -> Callable[..., None]:
    def entered(machine: Uc, address: int, size: int, _: object) -> None:
        key = (address, size)
        starts = host.lengths.get(key)
        if starts is None:
            starts = host.lengths[key] = _starts(bytes(machine.mem_read(address, size)), address)
            host.runs[key] = [0, 0]
        if host.block_bytes and host.block + host.block_bytes != address:
            host.runs[host.block, host.block_bytes][1] += 1
        host.runs[key][0] += 1
        host.executed += len(starts)
        host.block, host.block_bytes = address, size

    return entered


def _starts(code: bytes, address: int) -> tuple[int, ...]:
    """Where the instructions of a block begin: 32-bit ones start with 0b11101, 0b11110 or 0b11111 (Armv7-M ARM, A5.1)."""
    found, at = [], 0
    while at < len(code):
        found.append(address + at)
        at += 4 if code[at + 1] >> 3 in (0b11101, 0b11110, 0b11111) else 2
    return tuple(found)


def _timer(host: _Host, count: bool) -> Callable[..., int]:
    """The CMSDK timer of the board, which counts down: all that were executed before the instruction that reads it."""

    def read(machine: Uc, offset: int, _size: int, _: object) -> int:
        if offset != _TIMER_VALUE or not count:
            return 0xFFFFFFFF
        pc = machine.reg_read(arm.UC_ARM_REG_PC)
        starts = host.lengths[host.block, host.block_bytes]
        done = host.executed - sum(start >= pc for start in starts)
        return 0xFFFFFFFF - (done & 0xFFFFFFFF)

    return read


def _interrupt(host: _Host) -> Callable[..., None]:
    def raised(machine: Uc, number: int, _: object) -> None:
        if number != _BKPT:
            host.exit_code = 70  # a fault, as the firmware itself would say
            machine.emu_stop()
            return
        operation, block = machine.reg_read(arm.UC_ARM_REG_R0), machine.reg_read(arm.UC_ARM_REG_R1)
        a, b, c = struct.unpack("<3I", machine.mem_read(block, 12))
        machine.reg_write(arm.UC_ARM_REG_R0, _serve(machine, host, operation, (a, b, c)))
        machine.reg_write(arm.UC_ARM_REG_PC, (machine.reg_read(arm.UC_ARM_REG_PC) + 2) | 1)  # past the BKPT

    return raised


def _serve(machine: Uc, host: _Host, operation: int, block: tuple[int, int, int]) -> int:
    """One semihosting call of ek_semihosting.c; what it returns in r0."""
    _, b, c = block
    if operation == _OPEN:
        return _IN if b == 1 else _OUT
    if operation == _READ:
        content = host.request[host.read : host.read + c]
        host.read += len(content)
        machine.mem_write(b, content)
        return c - len(content)
    if operation == _WRITE:
        host.answer += machine.mem_read(b, c)
        return 0
    if operation == _EXIT_EXTENDED:
        host.exit_code = b
        machine.emu_stop()
        return 0
    raise EdgekdError(f"semihosting call {operation:#x}")
