"""How the compilers and emulators of this machine are run: to their end, without a terminal, for a limited time."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


def run(command: Sequence[str], folder: Path | None, limit_s: float) -> subprocess.CompletedProcess[str]:
    """What the program printed and how it ended, run in ``folder`` (None: in this one) with nothing to read from its input.

    Raises subprocess.TimeoutExpired after ``limit_s``, the program ended, and OSError where there is none.
    """
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=limit_s, stdin=subprocess.DEVNULL, check=False
    )
