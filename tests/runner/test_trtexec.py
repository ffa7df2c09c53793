"""The way through trtexec, with a stand-in that writes its formats: no GPU of NVIDIA's is at hand. See tests/trtexec_stand_in.py."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.bench import write
from edgekd.errors import DeviceError
from edgekd.export import onnx
from edgekd.measure import attached
from edgekd.measure.device import Asked, Subject
from edgekd.verify.returned import judge
from tests.graph_cases import dense
from tests.runner.loaded import load_runner

STAND_IN = Path(__file__).resolve().parents[1] / "trtexec_stand_in.py"


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    onnx.export(dense(), tmp_path)
    x = np.random.default_rng(1).integers(-128, 128, (2, 64)).astype(np.int8)
    asked = Asked(seconds=0.6, repeats=6, invocations=1, warmup_s=0.1, provider="trtexec")
    return Subject(dense(), None, x, None, "2 samples", write, asked=asked, file=tmp_path / "model.onnx", judge=judge)


@pytest.fixture
def trtexec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """On PATH, as a Jetson's is if its owner has put it there."""
    tool = tmp_path / "bin" / "trtexec"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "$@"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    return tool


def test_an_engine_is_built_timed_and_compared(subject: Subject, trtexec: Path) -> None:
    bench = attached.host(subject, lambda *_: None)
    row = bench.rows[0]
    assert "computes something else" not in row.failed
    figures = row.measurement.figures
    assert 0 < figures["latency_ms"].value < 100
    assert "TensorRT 8.6.2, trtexec, int8" in figures["latency_ms"].where
    assert figures["bit_equal"].n == 2
    assert row.unit == "ms"
    assert {"CaskConvolution int8"} <= {layer.note for layer in row.layers}


@pytest.mark.parametrize("version", ["8", "11"])
def test_versions_that_lack_an_option_build_without_it(
    subject: Subject, trtexec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("STAND_IN_IS", version)
    engine = load_runner().Trtexec({"file": str(tmp_path / "model.onnx")})
    engine.build()
    assert Path(engine.engine).is_file() and not list(tmp_path.glob("*.part"))


def test_what_is_given_up_does_not_go_on(subject: Subject, trtexec: Path, tmp_path: Path) -> None:
    trtexec.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    np.save(tmp_path / "x.npy", subject.x)
    entry = {"name": "g", "file": "model.onnx", "runtime": "trtexec"}
    job = {"schema": 1, "models": [entry], "inputs": "x.npy", "protocol": {"limit_s": 0.3}}
    (tmp_path / "JOB.json").write_text(json.dumps(job))
    subprocess.run([sys.executable, str(attached.RUNNER), "run", "JOB.json"], cwd=tmp_path, timeout=60, check=True, capture_output=True)
    (model,) = json.loads((tmp_path / "RESULT.json").read_text())["models"]
    assert model["error"] == "took over 4.5 s and was ended"
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_a_file_that_it_cannot_read_says_so(subject: Subject, trtexec: Path) -> None:
    trtexec.write_text("#!/bin/sh\necho '[11/22/2026-12:00:00] [E] [TRT] 4: kFAILED_ALLOCATION: no memory'\nexit 1\n")
    with pytest.raises(DeviceError, match="trtexec: \\[TRT\\] 4: kFAILED_ALLOCATION: no memory"):
        attached.host(subject, lambda *_: None)


def test_garbage_instead_of_times(subject: Subject, trtexec: Path) -> None:
    lines = [
        "#!/bin/sh",
        'echo "Input binding for x with dimensions 1x64 is created."',
        'for a in "$@"; do case "$a" in',
        '--saveEngine=*) touch "${a#--saveEngine=}";;',
        '--export*=*) echo "nan, [" > "${a#*=}";;',
        "esac; done",
    ]
    trtexec.write_text("\n".join(lines) + "\n")
    with pytest.raises(DeviceError, match="trtexec wrote no JSON that can be read to"):
        attached.host(subject, lambda *_: None)


def test_where_there_is_none(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="it has no trtexec, which runs model.onnx") as caught:
        attached.host(replace(subject), lambda *_: None)
    assert "sudo apt install tensorrt" in str(caught.value)
