"""Firmware bundles as tests use them: packed, compiled by the host's compiler, run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgekd.release.facts import Facts
from tests.release import bundles

STRICT = "-Wall -Wextra -Wpedantic -Wconversion -Werror"


def needs(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}")


def ran(*command: str | Path, folder: Path | None = None, good: bool = True) -> str:
    done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode == 0) == good, done.stdout + done.stderr
    return done.stdout + done.stderr


def packed(made: Facts, out: Path) -> Path:
    return bundles.packed("mcu", made, out) / made.artifact


def compiled(folder: Path, out: Path, *sources: str | Path, flags: str = "-O1", good: bool = True) -> str:
    needs("gcc")
    own = [folder / "src/golden_pixel_8_model.c", folder / "src/golden_pixel_8_frontend.c"]
    return ran("gcc", "-std=c11", *STRICT.split(), *flags.split(), *sources, *own, "-I", folder / "src", "-o", out, good=good)
