"""What runtimes do not take, operator by operator, before anything is built for them; one file a runtime or accelerator."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgekd.quant.graph import QuantGraph

#: Name → ``survey(graph, tflite)``. The first two are lists of ours; the last two ask a vendor's tool in a process of its own.
LACKS = {
    "tflm": "edgekd.runtimes.lacks_tflm:survey",
    "tensorrt": "edgekd.runtimes.lacks_tensorrt:survey",
    "gpu": "edgekd.runtimes.lacks_gpu:survey",
    "ethos-u": "edgekd.runtimes.lacks_ethos_u:survey",
}


@dataclass(frozen=True)
class Lack:
    """An operator that is not taken, or not as it stands; ``operator`` is its name in the graph, "" for the file as a whole."""

    operator: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Survey:
    """``by`` says who judged, with its version. ``asked`` is False where the tool that knows is not there or gave no answer."""

    by: str
    lacks: tuple[Lack, ...] = ()
    asked: bool = True


class Surveyor(Protocol):
    def __call__(self, graph: QuantGraph, tflite: Path | None) -> Survey:
        """What is not taken of ``graph`` (channels last); ``tflite`` is the file that it was exported to, None where that cannot be."""
        ...


def consult(who: str, command: Sequence[str], limit_s: float) -> subprocess.CompletedProcess[str] | Survey:
    """What a vendor's tool answers, in a process of its own: it reads a file that nobody vouches for. A Survey that was not asked where it
    gives no answer within ``limit_s`` seconds, or fails."""
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=limit_s, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return Survey(f"{who}, which gave no answer within {limit_s:g} s", asked=False)
    if answer.returncode:
        return Survey(f"{who}, which failed: {(answer.stderr or answer.stdout).strip()[-200:]!r}", asked=False)
    return answer
