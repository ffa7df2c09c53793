"""GCC for Arm's bare metal: compiling, linking into a target's real memory, and what came out, section by section."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekd.errors import DoesNotFit, EdgekdError, MissingDependency
from edgekd.mcu import programs

PREFIX = "arm-none-eabi-"
#: Of code that runs on the core. Not -ffreestanding: it turns small memcpy into calls (one kernel took four times the instructions).
FLAGS = ("-std=c11", "-O2", "-mthumb", "-ffunction-sections", "-fdata-sections", "-fno-common", "-Wall", "-Wextra")
#: The harness must not call a library, so that whatever stands in the library's section is the model's.
HARNESS_FLAGS = ("-Wconversion", "-fno-tree-loop-distribute-patterns", "-fno-stack-protector")
#: Names that must not be in a firmware: a heap.
HEAP = ("malloc", "calloc", "realloc", "free", "_malloc_r", "_free_r", "_sbrk")
_LIMIT_S = 120.0
_OVERFLOW = re.compile(r"region `(\w+)' overflowed by (\d+) bytes")


class Overflow(DoesNotFit):
    """A firmware is larger than a memory of its target. ``missing``: memory (FLASH, RAM) → bytes too many."""

    def __init__(self, missing: dict[str, int]) -> None:
        self.missing = dict(missing)
        super().__init__("; ".join(f"{memory} overflows by {count} bytes" for memory, count in missing.items()))


@dataclass(frozen=True)
class Script:
    """What the linker script is filled with, in bytes and addresses."""

    flash_origin: int
    flash_bytes: int
    ram_origin: int
    ram_bytes: int
    stack_bytes: int

    def text(self, template: str) -> str:
        for name, value in vars(self).items():
            template = template.replace(f"@{name.upper()}@", f"{value:#x}")
        return template


def find(tool: str = "gcc") -> str:
    """The program. Raises MissingDependency, with the command that installs it."""
    path = shutil.which(PREFIX + tool)
    if path is None:
        raise MissingDependency(
            f"{PREFIX}{tool} is not installed, and firmware is built with it\n"
            "  to mend:  apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"
        )
    return path


def version() -> str:
    """GCC's version, e.g. "GCC 12.2.1"."""
    return f"GCC {_run([find(), '-dumpfullversion'], 'gcc').strip()}"


def compile_c(source: Path, out: Path, flags: Sequence[str]) -> Path:
    """One object. Raises EdgekdError with what the compiler said."""
    out.parent.mkdir(parents=True, exist_ok=True)
    _run([find(), *FLAGS, *flags, "-c", str(source.resolve()), "-o", str(out.resolve())], f"compiling {source.name}")
    return out


def link(objects: Sequence[Path], out: Path, script: Path, flags: Sequence[str]) -> Path:
    """An ELF file, and its map beside it. Raises Overflow for what does not fit, EdgekdError with what else the linker said."""
    # Names relative to the folder: the script tells objects by the start of their names, and a comma of a path would end -Wl's argument.
    folder = out.parent.resolve()
    names = [os.path.relpath(path.resolve(), folder) for path in (script, *objects)]
    options = ["-nostartfiles", "-Wl,--gc-sections,--fatal-warnings", "-Xlinker", "-Map", "-Xlinker", out.with_suffix(".map").name]
    command = [find(), *FLAGS, *flags, *options, "-T", *names, "-lc", "-lgcc", "-o", out.name]
    try:
        _run(command, f"linking {out.name}", folder)
    except EdgekdError as error:
        if missing := {memory: int(count) for memory, count in _OVERFLOW.findall(str(error))}:
            raise Overflow(missing) from error
        raise
    return out


def sections(elf: Path) -> dict[str, int]:
    """Section → bytes, those that take none left out."""
    rows = re.findall(r"^(\.\S+)\s+(\d+)\s+\d+\s*$", _run([find("size"), "-A", "-d", str(elf)], "size"), re.MULTILINE)
    return {name: int(count) for name, count in rows if int(count)}


def symbols(elf: Path) -> dict[str, int]:
    """Every defined symbol and its size in bytes (0 where the ELF file says none)."""
    rows = re.findall(r"^[0-9a-f]+ (?:([0-9a-f]+) )?[a-zA-Z] (\S+)$", _run([find("nm"), "-S", str(elf)], "nm"), re.MULTILINE)
    return {name: int(size, 16) if size else 0 for size, name in rows}


def disassembly(elf: Path, options: Sequence[str] = ()) -> str:
    """As objdump writes it."""
    return _run([find("objdump"), "-d", *options, str(elf)], "objdump")


def undefined(objects: Sequence[Path]) -> set[str]:
    """Symbols that these objects use and none of them defines."""
    text = _run([find("nm"), *map(str, objects)], "nm")
    wanted = set(re.findall(r"^\s+[Uw] (\S+)$", text, re.MULTILINE))
    return wanted - set(re.findall(r"^[0-9a-f]+ [TDBRVWdbt] (\S+)$", text, re.MULTILINE))


def heap_symbols(elf: Path) -> tuple[str, ...]:
    """Functions of a heap that stand in the firmware; there must be none."""
    return tuple(sorted(set(HEAP) & set(symbols(elf))))


def _run(command: list[str], what: str, folder: Path | None = None) -> str:
    """What the program printed, run in ``folder``. Raises EdgekdError where it fails or takes over two minutes."""
    try:
        done = programs.run(command, folder, _LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise EdgekdError(f"{what} took over {_LIMIT_S:g} s") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        kept = [line for line in said if "error" in line or "undefined" in line or "overflowed" in line or "warning" in line] or said
        raise EdgekdError(f"{what} failed\n  it said: " + "\n           ".join(line[:300] for line in kept[:12]))
    return done.stdout
