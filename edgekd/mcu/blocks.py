"""Which blocks of instructions ran how often, by a plugin of QEMU that this machine's compiler builds; timing.py makes cycles of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np

from edgekd.errors import EdgekdError
from edgekd.mcu import answers, programs, qemu
from edgekd.mcu.boards import HARNESS
from edgekd.mcu.harness import Firmware
from edgekd.mcu.timing import Block

PLUGIN = HARNESS.parent / "plugin" / "ek_blocks.c"
#: Versions of QEMU's plugin interface that the plugin can claim; what it calls is in all of them.
VERSIONS = (1, 2, 4)
_OUT = "edgekd.blocks"
_LIMIT_S = 60.0


def count(firmware: Firmware, inputs: np.ndarray, folder: Path, *, model: int = 0) -> list[Block]:
    """Blocks of one inference of ``inputs`` uint8 [1, bytes]. Raises EdgekdError where this machine has no compiler, or QEMU no plugins."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise EdgekdError("no compiler of this machine's own, which would build the plugin")
    (folder / qemu.IN).write_bytes(answers.request(inputs, model))
    out, said = folder / _OUT, ""
    for version in VERSIONS:
        plugin = folder / f"ek_blocks{version}.so"
        build = [compiler, "-shared", "-fPIC", "-O2", f"-DEK_PLUGIN_VERSION={version}", str(PLUGIN), "-o", str(plugin)]
        out.unlink(missing_ok=True)
        for command in (
            build,
            [*qemu.command(firmware.elf, firmware.board, None), "-plugin", f"{str(plugin.resolve()).replace(',', ',,')},out={_OUT}"],
        ):
            done = _run(command, folder)
            if done.returncode:
                said = " ".join(done.stderr.split())[-200:]
                break
        else:
            if out.is_file():
                return [Block(*map(int, line.split())) for line in out.read_text().splitlines()]
    raise EdgekdError(f"QEMU did not take the plugin: {said or 'it wrote nothing'}")


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return programs.run(command, folder, _LIMIT_S)
    except (subprocess.TimeoutExpired, OSError) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
