"""Builds that are killed end as one that nobody disturbed; and the tool finds it where they do not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def run(repository: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, str(repository / "tools/kill_builds.py"), *words, "--json"], capture_output=True, text=True, check=False
    )
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


@pytest.mark.slow
def test_five_builds(repository: Path, tmp_path: Path) -> None:
    code, found, said = run(repository, "--times", "5", "--seed", "3", "--folder", str(tmp_path))
    assert code == 0 and found["builds"] == 5 and found["kills"] >= 3 and not found["wrong"], said
    assert sum(found["kills_after"].values()) == found["kills"]


def test_no_build_killed_is_no_success(repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(repository / "tools"))
    import kill_builds  # pyright: ignore[reportMissingImports]

    monkeypatch.setattr(sys, "argv", ["kill_builds.py"])
    for kills, wrong, code in ((0, [], 1), (3, [], 0), (3, ["001: differs"], 1)):
        tally = kill_builds.Tally(1.0, kills, 3, wrong=wrong)
        monkeypatch.setattr(kill_builds, "killed", lambda *asked, tally=tally: tally)
        assert kill_builds.main() == code
        assert f"3 builds killed {kills} times" in capsys.readouterr().out


def test_what_two_builds_may_differ_in(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(repository / "tools"))
    from kill_builds import steady  # pyright: ignore[reportMissingImports]

    latency = {"kind": "measured", "unit": "ms", "value": 1.5, "n": 900}
    record = {
        "environment": {"created": "now", "cpu": "x"},
        "seconds": 2,
        "inputs": {"before": "ab", "data": "cd"},
        "figures": {"latency": latency},
    }
    assert steady(record) == {"environment": {"cpu": "x"}, "inputs": {"data": "cd"}, "figures": {"latency": "measured"}}
    share = {"kind": "measured", "unit": "share", "value": 0.5, "n": 96}
    assert steady(share) == share and steady([{"loss": 1.0, "seconds": 3}, "latency: of 900"]) == [{"loss": 1.0}]
