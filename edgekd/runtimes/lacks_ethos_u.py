"""What Arm's Ethos-U leaves to the processor beside it, as its compiler Vela says of the TFLite file."""

from __future__ import annotations

import re
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from edgekd.quant.graph import QuantGraph
from edgekd.runtimes.lacks import Lack, Survey, consult

TIME_LIMIT_S = 120.0
ACCELERATOR = "ethos-u55-128"
#: "Warning (supported operators) operator: KIND, ofm: 'TENSOR'", then "Reason: …" (ethos-u-vela 5.2).
_WARNING = re.compile(r"Warning \(supported operators\) operator: (\w+), ofm: '([^']*)'\s*\nReason: ([^\n]*)")


def survey(graph: QuantGraph, tflite: Path | None) -> Survey:
    """Operators that fall back to the processor. Not asked where there is no Vela, no file, or no answer."""
    if find_spec("ethosu") is None:
        return Survey("Vela, which is not installed (pip install 'edgekd[ethos-u]')", asked=False)
    if tflite is None:
        return Survey("Vela, which needs a TFLite file: this graph cannot be one", asked=False)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        command = [sys.executable, "-m", "ethosu.vela", str(tflite), "--accelerator-config", ACCELERATOR, "--output-dir", folder]
        answer = consult("Vela", [*command, "--show-cpu-operations"], TIME_LIMIT_S)
    if isinstance(answer, Survey):
        return answer
    return Survey(_by(), tuple(parse(answer.stdout + answer.stderr)))


def parse(text: str) -> list[Lack]:
    """What Vela printed → lacks, an operator named by the tensor that it writes."""
    return [Lack(tensor, kind, reason.strip()) for kind, tensor, reason in _WARNING.findall(text)]


def _by() -> str:
    try:
        return f"Vela {version('ethos-u-vela')} for {ACCELERATOR}"
    except PackageNotFoundError:
        return f"Vela for {ACCELERATOR}"
