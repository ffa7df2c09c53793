"""tools/bench_repeat.py, run as a developer runs it; whether it holds is the machine's to say, not this test's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_it_counts_intervals_and_comparisons(repository: Path) -> None:
    command = [sys.executable, "tools/bench_repeat.py", "--repeats", "2", "--pairs", "1", "--seconds", "0.3"]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode in (0, 1) and not done.stderr, done.stderr  # a traceback also ends in 1
    assert lines[-1] == ("does not hold" if done.returncode else "holds")
    assert sum(line.lstrip().startswith(("1 ", "2 ")) for line in lines) == 2
    assert any(line.startswith("A = B: ") for line in lines) and any(line.startswith("B slower by 10%: ") for line in lines)
