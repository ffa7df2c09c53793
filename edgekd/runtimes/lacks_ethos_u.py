"""What Arm's Ethos-U leaves to the processor beside it, as its compiler Vela says of the TFLite file."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from edgekd.quant.graph import QuantGraph
from edgekd.runtimes import vela
from edgekd.runtimes.lacks import Lack, Survey

#: "Warning (supported operators) operator: KIND, ofm: 'TENSOR'", then "Reason: …" (ethos-u-vela 5.2).
_WARNING = re.compile(r"Warning \(supported operators\) operator: (\w+), ofm: '([^']*)'\s*\nReason: ([^\n]*)")


def survey(graph: QuantGraph, tflite: Path | None) -> Survey:
    """Operators that fall back to the processor. Not asked where there is no Vela, no file, or no answer."""
    if tflite is None:
        return Survey("Vela, which needs a TFLite file: this graph cannot be one", asked=False)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        compiled = vela.run(tflite, vela.DEFAULT, Path(folder))
    if isinstance(compiled, Survey):
        return compiled
    return Survey(compiled.by, tuple(parse(compiled.text)))


def parse(text: str) -> list[Lack]:
    """What Vela printed → lacks, an operator named by the tensor that it writes."""
    return [Lack(tensor, kind, reason.strip()) for kind, tensor, reason in _WARNING.findall(text)]
