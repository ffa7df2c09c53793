"""Cycles of what a model executed, by the instruction timings that Arm states for memory without wait states.

Cortex-M4: Arm DDI 0439 (TRM), table 3-1; Cortex-M3: DDI 0337, table 18-1; Cortex-M0+: DDI 0484, table 3-1; Cortex-M0: DDI 0432. What a
board adds (wait states of its flash, contention) is not in them: ``edgekd.measure.cycles`` knows what was published of boards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekd.mcu import toolchain

#: Sections in which only the model's own instructions lie.
SECTIONS = (".model_text", ".library")
_LINE = re.compile(r"^\s*([0-9a-f]+):\t([0-9a-f ]+?) *\t(\S+)\t?(.*)$", re.MULTILINE)
_SINGLE = ("ldr", "str")


@dataclass(frozen=True)
class Block:
    """``count`` instructions from ``address`` on, which ran ``runs`` times one after the other, and how often a jump ended them."""

    address: int
    count: int
    runs: int
    taken: int


@dataclass(frozen=True)
class Timing:
    """Cycles: of a load or store of one word, of such a one right after another, of a taken jump beyond its own, by mnemonic; else 1."""

    load: int
    store: int
    pipelined: bool
    jump: int
    own: Mapping[str, int]


_DIVIDE = {"sdiv": 7, "udiv": 7}  # 2 to 12, by the operands
TIMINGS: dict[str, Timing] = {
    "cortex-m0": Timing(2, 2, False, 2, {"bl": 2}),
    "cortex-m0plus": Timing(2, 2, False, 1, {"bl": 2}),
    "cortex-m3": Timing(2, 1, True, 2, {**_DIVIDE, "mla": 2, "mls": 2, "smull": 4, "umull": 4, "smlal": 5, "umlal": 5}),
    "cortex-m4": Timing(2, 1, True, 2, _DIVIDE),
}
TIMINGS["cortex-m4f"] = TIMINGS["cortex-m4"]


@dataclass(frozen=True)
class _Instruction:
    mnemonic: str
    operands: str
    nbytes: int


def cycles(elf: Path, blocks: list[Block], core: str) -> int:
    """Cycles of the model's instructions among ``blocks``. Raises KeyError for a core that is not in TIMINGS."""
    timing, code = TIMINGS[core], disassembled(elf)
    total = 0
    for block in blocks:
        if block.address in code:
            total += block.runs * _straight(code, block, timing) + block.taken * timing.jump
    return total


def disassembled(elf: Path) -> dict[int, _Instruction]:
    """Address → instruction, of the model's sections."""
    chosen = [part for name in SECTIONS for part in ("-j", name)]
    text = toolchain.disassembly(elf, chosen)
    found: dict[int, _Instruction] = {}
    for address, words, mnemonic, operands in _LINE.findall(text):
        found[int(address, 16)] = _Instruction(mnemonic.partition(".")[0], operands, len(words.split()) * 2)
    return found


def _straight(code: Mapping[int, _Instruction], block: Block, timing: Timing) -> int:
    """Cycles of a block from its first to its last instruction, no jump taken."""
    total, at, before = 0, block.address, False
    for _ in range(block.count):
        if at not in code:
            break
        one = code[at]
        total += _alone(one, timing, before)
        before = one.mnemonic.startswith(_SINGLE)
        at += one.nbytes
    return total


def _alone(one: _Instruction, timing: Timing, after_single: bool) -> int:
    name = one.mnemonic
    if name in timing.own:
        return timing.own[name]
    if name.startswith(("ldrd", "strd")):
        return 3
    if name.startswith(("ldm", "stm", "push", "pop")):
        return 1 + _registers(one.operands)
    if name.startswith(_SINGLE):
        if timing.pipelined and after_single:
            return 1
        return timing.load if name.startswith("ldr") else timing.store
    return 1


def _registers(operands: str) -> int:
    """How many registers a list names; ranges are written r4-r7 or not at all."""
    inside = operands.partition("{")[2].partition("}")[0]
    return sum(1 if "-" not in part else _span(part) for part in inside.split(",") if part.strip())


def _span(part: str) -> int:
    low, high = (int(re.sub(r"\D", "", side) or 0) for side in part.split("-"))
    return high - low + 1
