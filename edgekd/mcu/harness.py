"""From exported C to a firmware with the memory sizes of a target, and from a firmware to outputs, instructions and stack."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgekd.errors import EdgekdError, InputError
from edgekd.mcu import answers, qemu, toolchain
from edgekd.mcu.boards import CORES, HARNESS, Board, boards_of
from edgekd.mcu.toolchain import Overflow, Script

#: Room for the stack, at the bottom of RAM. What an inference uses of it is measured.
STACK_BYTES = 4096
TRANSPORTS = ("semihosting", "uart")
#: Nothing is as large: what a firmware needs is read off one that is linked for it.
_ENDLESS = 1 << 27


@dataclass(frozen=True)
class Sources:
    """C that a kernel set calls: ``flags`` for whoever includes its headers, ``find(symbol)`` the file that defines a function, or None."""

    flags: tuple[str, ...]
    find: Callable[[str], Path | None]


@dataclass(frozen=True)
class Order:
    """What to build. ``libraries``: exported models as (folder, stem) of NAME.h and NAME.c; ``core`` a key of CORES; sizes in bytes.

    ``layers``: count layer by layer, which changes the totals by what counting takes. ``port``: this board and no other.
    """

    libraries: tuple[tuple[Path, str], ...]
    core: str
    flash_bytes: int
    ram_bytes: int
    layers: bool = False
    transport: str = "semihosting"
    stack_bytes: int = STACK_BYTES
    sources: Sources | None = None
    port: Board | None = None
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.core not in CORES:
            raise InputError(f"core {self.core!r}", where="firmware", expected=", ".join(CORES))
        if self.transport not in TRANSPORTS:
            raise InputError(f"transport {self.transport!r}", where="firmware", expected=", ".join(TRANSPORTS))
        if not self.libraries:
            raise InputError("no model", where="firmware", expected="at least one exported library")
        if self.stack_bytes % 8 or self.stack_bytes < 256:
            raise InputError(f"a stack of {self.stack_bytes} bytes", where="firmware", expected="a multiple of 8, at least 256")


@dataclass(frozen=True)
class Firmware:
    """A linked firmware. ``sections`` as in firmware.ld.in; ``names`` are the layers of each model, empty unless it counts by layer."""

    elf: Path
    board: Board
    order: Order
    sections: dict[str, int]
    names: tuple[tuple[str, ...], ...]

    def flash(self) -> dict[str, int]:
        """Bytes of program memory: the models' code, what it calls of compiler libraries, weights, other constants, and the harness."""
        s = self.sections
        harness = sum(s.get(name, 0) for name in (".vectors", ".harness", ".data", ".ARM.exidx"))
        return {
            "code": s.get(".model_text", 0) + s.get(".library", 0),
            "weights": s.get(".weights", 0),
            "constants": s.get(".model_const", 0),
            "harness": harness,
        }

    def ram(self) -> dict[str, int]:
        """Bytes of memory: arena, the models' static data, room for the stack, and the harness."""
        s = self.sections
        return {
            "arena": s.get(".arena", 0),
            "static": s.get(".model_bss", 0),
            "stack_room": s.get(".stack", 0),
            "harness": s.get(".bss", 0) + s.get(".data", 0),
        }


@dataclass(frozen=True)
class Run:
    """``outputs`` uint8 [N, bytes] and ``instructions`` int64 [N] of the samples that were done before the time limit.

    ``layers`` int64: instructions of the first sample, layer by layer; ``granularity``: the counts are multiples of it (1: exact), None
    where nothing was counted. ``where`` names the emulator.
    """

    outputs: np.ndarray
    instructions: np.ndarray
    layers: np.ndarray
    stack_bytes: int
    granularity: int | None
    where: str


def build(order: Order, folder: Path) -> Firmware:
    """Compile and link for the first board of the core that has enough memory, with the target's own sizes in the linker script.

    Raises Overflow where the firmware is larger than the target's memory, EdgekdError where it is larger than every board, or where a
    compiler refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    objects, names = _models(order, folder)
    boards = (order.port,) if order.port else boards_of(order.core)
    flash = ram = 0
    for board in boards:
        parts = [*objects, *_harness(order, board, folder)]
        elf = folder / f"{order.libraries[0][1]}-{board.name}.elf"
        try:
            _link(order, board, parts, elf)
        except Overflow as error:
            raise _measured(order, board, parts, elf, error) from error
        firmware = Firmware(elf, board, order, toolchain.sections(elf), names)
        flash, ram = sum(firmware.flash().values()), sum(firmware.ram().values())
        if flash <= board.flash.nbytes and ram <= board.ram.nbytes:
            if found := toolchain.heap_symbols(elf):
                raise EdgekdError(f"{elf.name} uses a heap: {', '.join(found)}")
            return firmware
    largest = boards[-1]
    raise EdgekdError(
        f"{order.libraries[0][1]} takes {flash} B of flash and {ram} B of RAM; "
        f"the largest emulated board, {largest.name}, has {largest.flash.nbytes} and {largest.ram.nbytes}"
    )


def run(
    firmware: Firmware, inputs: np.ndarray, folder: Path, *, model: int = 0, shift: int | None = qemu.FINE, limit_s: float = 60.0
) -> Run:
    """Run every row of ``inputs`` uint8 [N, bytes] under QEMU, or as many as ``limit_s`` allows.

    ``shift`` is qemu.FINE (single instructions, up to half a billion an inference), qemu.COARSE (16 times as many), or None: nothing is
    counted, which is faster.

    Raises EdgekdError where the firmware stops, or not even one inference is done in time.
    """
    content, ended = qemu.run(firmware.elf, firmware.board, answers.request(inputs, model), folder, shift=shift, limit_s=limit_s)
    said = answers.answer(content, inputs.shape[1]) if content or ended else None
    if said is None or not len(said.outputs):
        raise EdgekdError(f"no inference was done on {firmware.board.name} in {limit_s:g} s")
    if ended and (not said.whole or len(said.outputs) != len(inputs)):
        raise EdgekdError(f"the firmware answered {len(said.outputs)} of {len(inputs)} samples on {firmware.board.name}, and ended")
    return of_answer(said, firmware.board.timer_hz if shift is not None else None, shift or 0, f"{qemu.version()}, {firmware.board.name}")


def of_answer(said: answers.Answer, timer_hz: int | None, shift: int, where: str) -> Run:
    """An answer with its ticks as instructions; ``timer_hz`` None: nothing was counted."""
    if timer_hz is None:
        nothing = np.zeros(0, np.int64)
        return Run(said.outputs, nothing, nothing, said.stack_bytes, None, where)
    each = timer_hz * 2.0**shift / 1e9  # ticks an instruction

    def instructions(ticks: np.ndarray, empty: int) -> np.ndarray:
        return np.maximum(np.rint(ticks / each) - round(empty / each), 0).astype(np.int64)

    granularity = 1 if each >= 2 or each == 1 else math.ceil(1 / each)
    layers = instructions(said.layers, said.empty_mark)
    return Run(said.outputs, instructions(said.ticks, said.empty_run), layers, said.stack_bytes, granularity, where)


def without_layers(order: Order) -> Order:
    return replace(order, layers=False)


def _models(order: Order, folder: Path) -> tuple[list[Path], tuple[tuple[str, ...], ...]]:
    """Objects of the libraries, of what they call of ``order.sources``, and of the table that lists them; and the names of layers."""
    flags = [*CORES[order.core], *order.flags, '-DEK_WEIGHTS=__attribute__((section(".ek_weights")))']
    flags += order.sources.flags if order.sources else ()
    marks = ["-include", str(HARNESS / "ek_layer.h")] if order.layers else []
    objects = [toolchain.compile_c(where / f"{stem}.c", folder / f"model_{stem}.o", [*flags, *marks]) for where, stem in order.libraries]
    if order.sources:
        more = [*CORES[order.core], *order.flags, *order.sources.flags]
        objects += called(objects, order.sources, more, lambda path: folder / f"model_{path.stem}.o")
    names = tuple(layer_names(where / f"{stem}.c") if order.layers else () for where, stem in order.libraries)
    table = folder / "ek_models.c"
    table.write_text(models_c(order, [len(some) for some in names]), encoding="utf-8")
    includes = [flag for where, _ in order.libraries for flag in ("-iquote", str(where.resolve()))]
    objects.append(toolchain.compile_c(table, folder / "ek_models.o", [*CORES[order.core], "-I", str(HARNESS), *includes]))
    return objects, names


def called(objects: list[Path], sources: Sources, flags: Sequence[str], made: Callable[[Path], Path]) -> list[Path]:
    """Objects of the functions of ``sources`` that ``objects`` call, and of those that these call in turn; ``made`` names an object."""
    done: dict[Path, Path] = {}
    while new := {path for name in toolchain.undefined([*objects, *done.values()]) if (path := sources.find(name))} - set(done):
        done |= {path: toolchain.compile_c(path, made(path), flags) for path in sorted(new)}
    return list(done.values())


def _harness(order: Order, board: Board, folder: Path) -> list[Path]:
    sources = [HARNESS / f"{name}.c" for name in ("ek_start", "ek_main", "ek_stack", f"ek_{order.transport}")]
    flags = [
        *CORES[order.core],
        *toolchain.HARNESS_FLAGS,
        "-I",
        str(HARNESS),
        f"-DEK_TIMER_HZ={board.timer_hz}u",
        f'-DEK_BOARD="{board.name}"',
    ]
    return [toolchain.compile_c(path, folder / f"{path.stem}.o", flags) for path in (*sources, board.port)]


def _link(order: Order, board: Board, objects: list[Path], elf: Path) -> None:
    script = elf.with_suffix(".ld")
    filled = Script(board.flash.origin, order.flash_bytes, board.ram.origin, order.ram_bytes, order.stack_bytes)
    script.write_text(filled.text((HARNESS / "firmware.ld.in").read_text(encoding="utf-8")), encoding="utf-8")
    toolchain.link(objects, elf, script, CORES[order.core])


def _measured(order: Order, board: Board, objects: list[Path], elf: Path, error: Overflow) -> TooLarge:
    """The same firmware linked for endless memory says what it needs."""
    roomy = elf.with_name(f"{elf.stem}-endless.elf")
    _link(replace(order, flash_bytes=_ENDLESS, ram_bytes=_ENDLESS), board, objects, roomy)
    return TooLarge(error.missing, Firmware(roomy, board, order, toolchain.sections(roomy), ()))


class TooLarge(Overflow):
    """``firmware`` is what it would be with endless memory: its sections say what is needed."""

    def __init__(self, missing: dict[str, int], firmware: Firmware) -> None:
        super().__init__(missing)
        self.firmware = firmware


def layer_names(source: Path) -> tuple[str, ...]:
    """The layers that NAME.c marks by EK_LAYER(index), by index: the names that it states, or numbers."""
    text = source.read_text(encoding="utf-8")
    # At the start of a line: what is in a comment or a string is somebody's name.
    count = max((int(index) for index in re.findall(r"^ +EK_LAYER\((\d+)\);", text, re.MULTILINE)), default=-1) + 1
    stated = re.search(r"_layer_names\[[^\]]*\] = \{(.*?)\};$", text, re.DOTALL | re.MULTILINE)
    names = [_plain(name) for name in re.findall(r'"((?:[^"\\]|\\.)*)"', stated[1])] if stated else []
    return tuple(names[index] if index < len(names) else f"layer {index}" for index in range(count))


def _plain(literal: str) -> str:
    """A string of C, whose bytes beyond ASCII are octal, as text."""
    return re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), literal.encode()).decode(errors="replace")


def models_c(order: Order, layers: list[int]) -> str:
    """The table of models that ek_main works by."""
    head = ['#include "ek_harness.h"', *(f'#include "{stem}.h"' for _, stem in order.libraries)]
    body, rows, sizes = [], [], []
    for (where, stem), count in zip(order.libraries, layers, strict=True):
        upper = stem.upper()
        header = (where / f"{stem}.h").read_text(encoding="utf-8")
        stated = re.search(rf"^#define {upper}_OUTPUTS (\d+)", header, re.MULTILINE)
        outputs = [f"{stem}_output{index or ''}" for index in range(int(stated[1]) if stated else 1)]
        nbytes = {name: f"{name.upper()}_SIZE * sizeof *{name}(0)" for name in outputs}
        body += [
            f"static void *ek_input_{stem}(void *arena) {{ return {stem}_input(arena); }}",
            f"static void ek_output_{stem}(const void *arena, void (*write)(const void *, uint32_t)) {{",
            *(f"    write({name}(arena), {nbytes[name]});" for name in outputs),
            "}",
        ]
        rows.append(
            f"    {{{upper}_INPUT_SIZE * sizeof *{stem}_input(0), {' + '.join(nbytes.values())}, {count}u,"
            f" ek_input_{stem}, {stem}_run, ek_output_{stem}}},"
        )
        sizes.append(f"int8_t {stem}_bytes[{upper}_ARENA_BYTES];")
    return "\n".join(
        [
            "/* Generated: the models of this firmware. They share one arena, as large as the largest wants it. */",
            *head,
            *body,
            "const ek_model ek_models[] = {",
            *rows,
            "};",
            "const uint32_t ek_model_count = sizeof ek_models / sizeof ek_models[0];",
            f"uint32_t ek_layer_ticks[{max([1, *layers])}];",
            f"typedef union {{ {' '.join(sizes)} }} arenas;",
            '__attribute__((section(".ek_arena"), aligned(16))) int8_t ek_arena[sizeof(arenas)];',
            "",
        ]
    )
