"""Nothing that edgekd runs tells its makers of it, or leaves files in the user's home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden" / "branches_per_tensor"
#: Look-ups of names and connections are refused, and said.
REFUSE = """
import socket, sys
from pathlib import Path

def refuse(*given, **named):
    print("network", given)
    raise OSError("refused")

socket.getaddrinfo = socket.socket.connect = refuse
"""
EXPORTED = """
import numpy as np
from edgekd.lazy import load
from edgekd.quant import io

for name, file in (("onnxruntime", "model.onnx"), ("openvino", "model.xml")):
    load("edgekd.export." + name.removesuffix("runtime") + ":export")(io.load(Path(sys.argv[1])), Path(sys.argv[2]))
    load("edgekd.runtimes." + name + ":open_model")(Path(sys.argv[2]) / file, threads=1).run(np.load(sys.argv[1] + "/inputs.npz")["x"][:1])
"""
ENDS = """
print([name for name, module in sys.modules.items() if name.startswith("openvino_telemetry") and module is not None])
"""


@pytest.mark.parametrize("program", [EXPORTED, pytest.param("import edgekd.ptq.nncf", marks=pytest.mark.slow)], ids=["exported", "nncf"])
def test_nothing_is_sent_and_nothing_left_in_the_home(tmp_path: Path, program: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CI", "TF_BUILD", "JENKINS_URL", "ORT_DISABLE_TELEMETRY", "NNCF_CI")
    }
    command = [sys.executable, "-c", REFUSE + program + ENDS, str(GOLDEN), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env={**kept, "HOME": str(home)}, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stdout + done.stderr
    assert not list(home.rglob("*"))
