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
    assert done.returncode in (0, 1), done.stderr
    assert lines[-1] == ("does not hold" if done.returncode else "holds")
    assert "of 2 intervals hold it" in lines[2] and "µs" in lines[0]
    assert any(line.startswith("A = B: ") for line in lines) and any(line.startswith("B slower by 10%: ") for line in lines)
