"""The emulated boards, read off the ports (edgekd/firmware/harness/ports/NAME.c): a new board is one file. And the cores: flags of GCC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgekd.errors import InputError

HARNESS = Path(__file__).resolve().parent.parent / "firmware" / "harness"
PORTS = HARNESS / "ports"

#: Core → flags of GCC. The kernels compute in integers, so that floating point only decides which registers exist.
CORES: dict[str, tuple[str, ...]] = {
    "cortex-m0": ("-mcpu=cortex-m0",),
    "cortex-m0plus": ("-mcpu=cortex-m0plus",),
    "cortex-m3": ("-mcpu=cortex-m3",),
    "cortex-m4": ("-mcpu=cortex-m4", "-mfloat-abi=soft"),
    "cortex-m4f": ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    "cortex-m7": ("-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-d16"),
    "cortex-m33": ("-mcpu=cortex-m33", "-mfloat-abi=soft"),
    "cortex-m55": ("-mcpu=cortex-m55", "-mfloat-abi=hard"),
}
_KEYS = ("machine", "cores", "flash", "ram", "timer")
_CORE = re.compile(r"(?:arm\s*)?cortex-?\s?m(\d+)\s*(\+|plus)?\s*(f)?", re.IGNORECASE)


@dataclass(frozen=True)
class Memory:
    """``origin`` address and ``nbytes`` that are really there."""

    origin: int
    nbytes: int


@dataclass(frozen=True)
class Board:
    """What the head of a port says. ``machine`` is QEMU's name, "" for a board that QEMU has not; ``timer_hz`` is of ekp_ticks."""

    name: str
    port: Path
    machine: str
    cores: tuple[str, ...]
    flash: Memory
    ram: Memory
    timer_hz: int


def core_of(text: str) -> str:
    """The key of CORES for a profile's core, e.g. "Cortex-M0+" → cortex-m0plus. Raises InputError for a core that is not there."""
    match = _CORE.fullmatch(text.strip())
    name = f"cortex-m{match[1]}{'plus' if match[2] else ''}{'f' if match[3] else ''}" if match else ""
    if name not in CORES and name.removesuffix("f") in CORES:
        name = name.removesuffix("f")  # Cortex-M33F: those kernels compute in integers
    if name not in CORES:
        raise InputError(f"core {text!r} is not emulated", where="device.core", expected=", ".join(CORES))
    return name


def plain_core(core: str) -> str:
    """The core as an exporter knows it: without its floating point unit, and M0+ as the M0 whose instructions it has."""
    return {"cortex-m4f": "cortex-m4", "cortex-m0plus": "cortex-m0"}.get(core, core)


def boards() -> dict[str, Board]:
    """Every port that comes with edgekd, by name."""
    return {path.stem: read_port(path) for path in sorted(PORTS.glob("*.c"))}


def boards_of(core: str) -> tuple[Board, ...]:
    """The emulated boards that run code for ``core``, those named after it first, of these the one with the least memory first.

    Whoever needs more memory than a board has takes the next one. Raises InputError where there is none.
    """
    found = [board for board in boards().values() if board.machine and core in board.cores]
    if not found:
        raise InputError(f"no board runs {core}", where="device.core", expected=", ".join(CORES))
    return tuple(sorted(found, key=lambda board: board.ram.nbytes))


def read_port(path: Path) -> Board:
    """The head of a port: lines " * key: value" in its first comment. Raises InputError for one that lacks a key or states it wrongly."""
    if not path.is_file():
        raise InputError("no such file", where=str(path), expected="a port", mend="see docs/porting.md")
    head = path.read_text(encoding="utf-8", errors="replace").partition("*/")[0]
    stated = dict(re.findall(r"^ \* (\w+): (.*?)\s*$", head, re.MULTILINE))
    missing = [] if head.startswith("/* edgekd port") else ["edgekd port"]
    missing += [key for key in _KEYS if key not in stated]
    if missing:
        raise InputError(f"its head lacks {missing[0]!r}", where=str(path), expected="/* edgekd port, and " + ", ".join(_KEYS))
    cores = tuple(stated["cores"].split())
    if not cores or set(cores) - set(CORES):
        raise InputError(f"cores: {stated['cores']!r}", where=str(path), expected=", ".join(CORES))
    if not re.fullmatch("[0-9]{1,12}", stated["timer"]) or not int(stated["timer"]):
        raise InputError(f"timer: {stated['timer']!r}", where=str(path), expected="the frequency of ekp_ticks in Hz")
    machine = "" if stated["machine"] == "-" else stated["machine"]
    flash, ram = (_memory(stated[key], f"{path}, {key}") for key in ("flash", "ram"))
    return Board(path.stem, path, machine, cores, flash, ram, int(stated["timer"]))


def _memory(text: str, where: str) -> Memory:
    match = re.fullmatch(r"(0x[0-9A-Fa-f]{1,16}) ([0-9]{1,9})([KM])", text)
    if not match or not int(match[2]):
        raise InputError(repr(text), where=where, expected="an address and a size, e.g. 0x20000000 128K")
    return Memory(int(match[1], 16), int(match[2]) << (10 if match[3] == "K" else 20))
