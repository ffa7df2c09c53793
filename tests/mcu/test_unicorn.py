"""Unicorn computes and counts what QEMU does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import EdgekdError, MissingDependency
from edgekd.mcu import blocks, emulators, harness, timing
from edgekd.mcu.harness import Order, build
from tests.mcu import tiny
from tests.mcu.tools import needs_gcc, needs_qemu

X = tiny.inputs()


def _order(folder: Path, core: str, layers: bool = False, deep: int = 8) -> Order:
    return Order((tiny.write(folder, deep=deep),), core, 64 << 10, 16 << 10, layers=layers, stack_bytes=2048)


@needs_qemu
@pytest.mark.parametrize("layers", [False, True])
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m3", "cortex-m4"])
def test_the_same_outputs_instructions_and_stack_as_qemu(core: str, layers: bool, tmp_path: Path) -> None:
    unicorn = pytest.importorskip("edgekd.mcu.unicorn", reason="unicorn is not installed", exc_type=ImportError)
    firmware = build(_order(tmp_path, core, layers), tmp_path)
    theirs = harness.run(firmware, X.view(np.uint8), tmp_path)
    ours = unicorn.run(firmware, X.view(np.uint8))
    assert (ours.outputs == theirs.outputs).all()
    assert ours.instructions.tolist() == theirs.instructions.tolist() and ours.layers.tolist() == theirs.layers.tolist()
    assert (ours.stack_bytes, ours.granularity) == (theirs.stack_bytes, 1)
    fast = unicorn.run(firmware, X.view(np.uint8), count=False)
    assert (fast.outputs == theirs.outputs).all() and fast.granularity is None


@needs_qemu
def test_the_same_blocks_as_qemus_plugin(tmp_path: Path) -> None:
    unicorn = pytest.importorskip("edgekd.mcu.unicorn", reason="unicorn is not installed", exc_type=ImportError)
    firmware = build(_order(tmp_path, "cortex-m4"), tmp_path)
    x = X[:1].view(np.uint8)
    ours, theirs = unicorn.blocks(firmware, x), blocks.count(firmware, x, tmp_path)
    assert timing.cycles(firmware.elf, ours, "cortex-m4") == timing.cycles(firmware.elf, theirs, "cortex-m4")


@needs_gcc
def test_a_fault_says_so(tmp_path: Path) -> None:
    unicorn = pytest.importorskip("edgekd.mcu.unicorn", reason="unicorn is not installed", exc_type=ImportError)
    firmware = build(_order(tmp_path, "cortex-m4", deep=4096), tmp_path)
    with pytest.raises(EdgekdError, match="most likely the stack ran out of its room"):
        unicorn.run(firmware, X.view(np.uint8))


@needs_gcc
def test_other_boards_are_refused(tmp_path: Path) -> None:
    unicorn = pytest.importorskip("edgekd.mcu.unicorn", reason="unicorn is not installed", exc_type=ImportError)
    firmware = build(_order(tmp_path, "cortex-m33"), tmp_path)
    with pytest.raises(EdgekdError, match="Unicorn does not run cortex-m33 on mps2-an505"):
        unicorn.run(firmware, X.view(np.uint8))


def test_without_qemu_a_large_core_says_what_to_install() -> None:
    with pytest.raises(MissingDependency, match="cortex-m55 is emulated by QEMU, which is not installed\n  to mend:  apt-get install"):
        emulators.choose("cortex-m55", installed=lambda: False)


def test_without_qemu_unicorn_is_taken_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulators, "find_spec", lambda name: object())
    found = emulators.choose("cortex-m4f", installed=lambda: False)
    assert (found.name, found.core) == ("unicorn", "cortex-m4") and "QEMU is not installed" in found.notes[0]
    monkeypatch.setattr(emulators, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="or:       pip install 'edgekd.mcu"):
        emulators.choose("cortex-m4f", installed=lambda: False)
