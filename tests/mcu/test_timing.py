"""Cycles of what ran, by the timings that Arm states."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import EdgekdError
from edgekd.mcu import blocks, harness, timing
from edgekd.mcu.harness import Order, build
from edgekd.mcu.timing import TIMINGS, Block, cycles
from tests.mcu import tiny
from tests.mcu.tools import needs_qemu

#: objdump's text, cut down: a loop that loads twice, multiplies and jumps back; then what saves registers.
TEXT = """
00000100 <f>:
     100:\tf914 2b01 \tldrsb.w\tr2, [r4], #1
     104:\tf915 3b01 \tldrsb.w\tr3, [r5], #1
     108:\tfb02 6603 \tmla\tr6, r2, r3, r6
     10c:\t42b4      \tcmp\tr4, r6
     10e:\td1f7      \tbne.n\t100 <f>
     110:\te8bd 81f0 \tldmia.w\tsp!, {r4, r5, r6, r7, r8, pc}
     114:\tc90f      \tldmia\tr1, {r0-r3}
     116:\te9d4 0100 \tldrd\tr0, r1, [r4]
     11a:\tfb90 f0f1 \tsdiv\tr0, r0, r1
     11e:\t6008      \tstr\tr0, [r1, #0]
"""


@pytest.fixture
def listing(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(timing.toolchain, "disassembly", lambda elf, options: TEXT)
    return Path("any.elf")


@pytest.mark.parametrize(
    ("core", "loop", "jump"), [("cortex-m4", 2 + 1 + 1 + 1 + 1, 2), ("cortex-m3", 2 + 1 + 2 + 1 + 1, 2), ("cortex-m0plus", 2 + 2 + 3, 1)]
)
def test_a_loop(core: str, loop: int, jump: int, listing: Path) -> None:
    assert cycles(listing, [Block(0x100, 5, 10, 9)], core) == 10 * loop + 9 * jump


@pytest.mark.parametrize(("address", "expected"), [(0x110, 7), (0x114, 5), (0x116, 3), (0x11A, 7), (0x11E, 1)])
def test_what_takes_longer(address: int, expected: int, listing: Path) -> None:
    assert cycles(listing, [Block(address, 1, 1, 0)], "cortex-m4") == expected


def test_what_is_not_the_models_is_not_counted(listing: Path) -> None:
    assert cycles(listing, [Block(0x8000, 5, 10, 9)], "cortex-m4") == 0


@needs_qemu
@pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="this machine has no compiler of its own")
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4f", "cortex-m33"])
def test_the_plugin_counts_every_instruction(core: str, tmp_path: Path) -> None:
    x = tiny.inputs(1).view(np.uint8)
    firmware = build(Order((tiny.write(tmp_path),), core, 64 << 10, 16 << 10, stack_bytes=2048), tmp_path)
    code, found = timing.disassembled(firmware.elf), blocks.count(firmware, x, tmp_path)
    executed = sum(block.runs * block.count for block in found if block.address in code)
    counted = int(harness.run(firmware, x, tmp_path).instructions[0])
    assert executed == pytest.approx(counted, abs=20)  # the call, and reading the timer
    if core in TIMINGS:
        assert executed < cycles(firmware.elf, found, core) < 3 * executed


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(blocks.shutil, "which", lambda name: None)
    with pytest.raises(EdgekdError, match="no compiler of this machine's own"):
        blocks.count(None, np.zeros((1, 1), np.uint8), tmp_path)  # type: ignore[arg-type]
