"""The fuzzer of inputs: it finds planted faults, and nothing in a few hundred damaged inputs of every parser."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Inputs of each parser: fewer where each takes long.
FEW = (
    dict.fromkeys(("page",), 4) | dict.fromkeys(("record", "request"), 12) | dict.fromkeys(("store", "manifest", "shards", "c_header"), 20)
)
#: What they import takes seconds.
HEAVY = ("signature", "key", "checkpoint", "state", "openvino", "onnx", "metadata", "page", "transformers", "keras")
#: There a whole seed is refused as well: what stands in for a device is cut or holds nothing that is wanted, or several readers get each
#: seed, of which one wants another kind.
REFUSED = {"device_lock", "frames", "mlperf_text", "key", "labels", "numpy", "tflite"}


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import fuzz_inputs  # pyright: ignore[reportMissingImports]

    return fuzz_inputs


def names() -> list[str]:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        from fuzz_inputs import PARSERS  # pyright: ignore[reportMissingImports]
    finally:
        sys.path.remove(str(ROOT / "tools"))
    return list(PARSERS)


@pytest.mark.parametrize("name", [name for name in names() if name not in HEAVY])
def test_nothing_but_refusals(tool: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = tool.fuzz(name, tool.PARSERS[name], seed=0, seconds=0.0, executions=FEW.get(name, 50), out=tmp_path)
    assert not found.findings, found.findings
    assert found.executions == FEW.get(name, 50)
    assert not found.seeds_refused or name in REFUSED


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_nothing_but_refusals_of_many(tool: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = tool.fuzz(name, tool.PARSERS[name], seed=1, seconds=0.0, executions=FEW.get(name, 50) * 8, out=tmp_path)
    assert not found.findings, found.findings


def _keys(content: bytes, folder: Path) -> None:
    json.loads(content)["name"]


@pytest.mark.parametrize(
    ("parse", "said"),
    [
        (_keys, "KeyError: 'name'"),
        (lambda content, folder: [].pop(), "IndexError: pop from empty list"),
        (lambda content, folder: 1 // len(content[:0]), "ZeroDivisionError"),
    ],
)
def test_a_planted_fault(tool: Any, parse: Callable[[bytes, Path], object], said: str, tmp_path: Path) -> None:
    found = tool.fuzz(
        "planted", (lambda folder: [b'{"name": "a", "more": [1, 2]}'], parse), seed=0, seconds=0.0, executions=300, out=tmp_path
    )
    mine = [one for one in found.findings if one.what.startswith(said)]
    assert mine and mine[0].at.startswith("test_fuzz_inputs.py:")
    file = Path(mine[0].file)
    assert file.parent == tmp_path and file.name.startswith("crash-planted-")
    assert tool.once(parse, file.read_bytes(), tmp_path)[0] == mine[0].what


def test_one_mistake_is_one_finding(tool: Any, tmp_path: Path) -> None:
    found = tool.fuzz(
        "planted", (lambda folder: [b"text"], lambda content, folder: {}["x"]), seed=0, seconds=0.0, executions=50, out=tmp_path
    )
    assert [one.count for one in found.findings] == [50] and len(list(tmp_path.glob("crash-*"))) == 1


def test_what_takes_too_long_or_too_much(tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "LONGEST_S", 0.05)
    assert tool.once(lambda content, folder: time.sleep(5), b"", tmp_path)[0] == "TooLong: 0.3 s by the clock"
    monkeypatch.setattr(tool, "PATIENCE", 1e6)

    def busy(content: bytes, folder: Path) -> None:
        began = time.process_time()
        while time.process_time() - began < 0.1:
            pass

    assert tool.once(busy, b"", tmp_path)[0].startswith("time: 0.1 s for 0 bytes")
    monkeypatch.setattr(tool, "LONGEST_S", 10.0)
    monkeypatch.setattr(tool, "MOST_BYTES", 32 << 20)
    monkeypatch.setattr(tool, "_peak", iter([1 << 30, (1 << 30) + (48 << 20)]).__next__)
    assert tool.once(lambda content, folder: None, b"abc", tmp_path)[0] == "memory: 48 MiB for 3 bytes"


def test_a_parser_that_dies_is_found(
    tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import os

    monkeypatch.setitem(tool.PARSERS, "dies", (lambda folder: [b"deadly"], lambda content, folder: os.abort()))
    assert tool.main(["--only", "dies", "--executions", "5", "--out", str(tmp_path), "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert found["findings"][0]["what"] == "the process ended with SIGABRT"
    assert Path(found["findings"][0]["file"]).read_bytes() == b"deadly"


def test_the_same_seed_gives_the_same_inputs(tool: Any, tmp_path: Path) -> None:
    def seen(seed: int) -> list[bytes]:
        contents: list[bytes] = []
        parser = (lambda folder: [b'{"a": [1, 2, {"b": "c"}]}', b"name = 1\n"], lambda content, folder: contents.append(content))
        tool.fuzz("seen", parser, seed=seed, seconds=0.0, executions=80, out=tmp_path)
        return contents

    assert seen(3) == seen(3) != seen(4)
    assert len(set(seen(3))) > 60


def test_the_command(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "tools/fuzz_inputs.py"), *words], capture_output=True, text=True, check=False, cwd=tmp_path
        )

    done = run("--only", "waivers", "--executions", "30", "--seconds", "0", "--json")
    (found,) = json.loads(done.stdout)
    assert done.returncode == 0 and found["parser"] == "waivers" and found["executions"] == 30 and not found["findings"], done.stderr
    assert run("--only", "nothing").returncode == 2
    (tmp_path / "bad.toml").write_bytes(b"[[waiver]]\ncheck = 1\n")
    assert "waiver 1: " in run("--only", "waivers", "--input", "bad.toml").stdout
    done = run("--input", "bad.toml")
    assert done.returncode == 2 and "name it with --only" in done.stderr
