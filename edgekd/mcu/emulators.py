"""Which emulator runs a firmware: QEMU, or Unicorn where that is not installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np

from edgekd.errors import MissingDependency
from edgekd.lazy import load
from edgekd.mcu import blocks, harness, qemu
from edgekd.mcu.harness import Firmware, Run
from edgekd.mcu.timing import Block

#: Core → what Unicorn runs for it; here, so that asking does not import it. Its M4 has no floating point unit, nor does the code need one.
UNICORN_CORES = {"cortex-m0plus": "cortex-m0plus", "cortex-m3": "cortex-m3", "cortex-m4": "cortex-m4", "cortex-m4f": "cortex-m4"}


class RunFirmware(Protocol):
    """As harness.run."""

    def __call__(
        self, firmware: Firmware, inputs: np.ndarray, folder: Path, *, model: int = 0, shift: int | None = qemu.FINE, limit_s: float = 60.0
    ) -> Run: ...


class CountBlocks(Protocol):
    """As blocks.count: which blocks of instructions ran how often. Raises EdgekdError where that cannot be told."""

    def __call__(self, firmware: Firmware, inputs: np.ndarray, folder: Path, *, model: int = 0) -> list[Block]: ...


@dataclass(frozen=True)
class Emulator:
    """``core`` is what to build for; ``notes``: what a reader must know."""

    name: str
    core: str
    run: RunFirmware
    blocks: CountBlocks
    notes: tuple[str, ...] = ()


def choose(core: str, *, installed: Callable[[], bool] = qemu.installed) -> Emulator:
    """QEMU; where that is not installed Unicorn, for the cores that it has. Raises MissingDependency with the command that installs one."""
    if installed():
        return Emulator("qemu", core, harness.run, blocks.count)
    if core in UNICORN_CORES and find_spec("unicorn") is not None:
        note = "QEMU is not installed: run under Unicorn, which has no timer; instructions are counted block by block"
        return Emulator("unicorn", UNICORN_CORES[core], _unicorn, _unicorn_blocks, (note,))
    also = "\n  or:       pip install 'edgekd[mcu]'" if core in UNICORN_CORES else ""
    raise MissingDependency(f"{core} is emulated by QEMU, which is not installed\n  to mend:  apt-get install qemu-system-arm{also}")


def _unicorn(
    firmware: Firmware, inputs: np.ndarray, folder: Path, *, model: int = 0, shift: int | None = qemu.FINE, limit_s: float = 60.0
) -> Run:
    """``folder`` is not needed: nothing goes through files."""
    return load("edgekd.mcu.unicorn:run")(firmware, inputs, model=model, count=shift is not None, limit_s=limit_s)


def _unicorn_blocks(firmware: Firmware, inputs: np.ndarray, folder: Path, *, model: int = 0) -> list[Block]:
    return load("edgekd.mcu.unicorn:blocks")(firmware, inputs, model=model)
