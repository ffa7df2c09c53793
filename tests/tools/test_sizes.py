"""tools/sizes.py, run as a developer runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def sizes(repository: Path, *arguments: str) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, "tools/sizes.py", *arguments], cwd=repository, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


def test_what_is_over_is_printed_and_only_strict_refuses(repository: Path, tmp_path: Path):
    file = tmp_path / "long.py"
    file.write_text("def wide(a, b, c, d, e, f, g, h):\n" + "    a = 1\n" * 60 + "\n\n" + "x = 1\n" * 300)
    wanted = [
        f"{file}: 363 lines (aim: 300)",
        f"{file}:1 wide: 61 lines (aim: 60)",
        f"{file}:1 wide: 8 parameters (aim: 7)",
        "sizes: 1 files, 3 over, 0 over for a reason",
    ]
    assert sizes(repository, str(file)) == (0, wanted)
    assert sizes(repository, "--strict", str(file)) == (1, wanted)


def test_a_reason_makes_it_a_decision(repository: Path, tmp_path: Path):
    file = tmp_path / "wide.py"
    file.write_text("class A:\n    # size: one a parameter of the format\n    def wide(self, a, b, c, d, e, f, g, *h): ...\n")
    wanted = [
        f"{file}:3 wide: 8 parameters (aim: 7) (decided: one a parameter of the format)",
        "sizes: 1 files, 0 over, 1 over for a reason",
    ]
    assert sizes(repository, "--strict", str(file)) == (0, wanted)


def test_self_is_no_parameter(repository: Path, tmp_path: Path):
    file = tmp_path / "method.py"
    file.write_text("class A:\n    def seven(self, a, b, c, d, e, f, g): ...\n")
    assert sizes(repository, "--strict", str(file)) == (0, ["sizes: 1 files, 0 over, 0 over for a reason"])
