"""Arm's compiler Vela for Ethos-U NPUs, in a process of its own: what it makes of a TFLite file, and what it expects that to cost."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from edgekd.profile.schema import Npu
from edgekd.runtimes.lacks import Survey, consult

TIME_LIMIT_S = 120.0
#: What is asked where no profile says otherwise.
DEFAULT = Npu(accelerator="ethos-u55-128")
#: Columns of the per-layer file that are read (ethos-u-vela 5.2).
_ORIGINAL, _TARGET, _CYCLES, _MACS, _MEMORY, _NAME = "Original Operator", "Target", "Op Cycles", "MAC Count", "Staging Usage", "Name"


@dataclass(frozen=True)
class Layer:
    """One operator of the network as the NPU runs it. ``name`` is the tensor that it writes; ``sram_bytes`` what is alive beside it."""

    kind: str
    name: str
    target: str
    cycles: int
    macs: int
    sram_bytes: int


@dataclass(frozen=True)
class Compiled:
    """``text`` is what Vela printed, ``summary`` its file of that name, ``model_bytes`` the size of the TFLite file that it wrote.

    Summary and layers are empty where it found nothing for the NPU to do.
    """

    by: str
    text: str
    summary: dict[str, str]
    layers: tuple[Layer, ...]
    model_bytes: int


def run(tflite: Path, npu: Npu, folder: Path) -> Compiled | Survey:
    """Compile ``tflite`` into ``folder``, which is empty. A Survey that was not asked where Vela is not installed or refuses the file."""
    if find_spec("ethosu") is None:
        return Survey("Vela, which is not installed (pip install 'edgekd[ethos-u]')", asked=False)
    answer = consult("Vela", command(tflite, npu, folder), TIME_LIMIT_S)
    if isinstance(answer, Survey):
        return answer
    summaries, layers, models = (sorted(folder.glob(f"{tflite.stem}{end}")) for end in ("_summary_*.csv", "_per-layer.csv", "_vela.tflite"))
    summary = _rows(summaries[0])[-1] if summaries else {}
    size = models[0].stat().st_size if models else tflite.stat().st_size
    return Compiled(by(npu), answer.stdout + answer.stderr, summary, _layers(layers[0]) if layers else (), size)


def command(tflite: Path, npu: Npu, folder: Path) -> list[str]:
    """The call of Vela for this NPU."""
    given = {"--system-config": npu.system_config, "--memory-mode": npu.memory_mode, "--config": npu.config}
    options = [f"{option}={value}" for option, value in given.items() if value is not None]
    always = ["--verbose-performance", "--show-cpu-operations", "--output-dir", str(folder)]
    return [sys.executable, "-m", "ethosu.vela", str(tflite), "--accelerator-config", npu.accelerator, *options, *always]


def by(npu: Npu) -> str:
    """Who says so."""
    try:
        return f"Vela {version('ethos-u-vela')} for {npu.accelerator}"
    except PackageNotFoundError:
        return f"Vela for {npu.accelerator}"


def _layers(path: Path) -> tuple[Layer, ...]:
    """Rows of one output are one layer: an activation that is fused into it costs nothing. A softmax is some thirty small operations."""
    found: list[list[dict[str, str]]] = []
    for row in _rows(path):
        last = found[-1][-1] if found else {}
        if row[_ORIGINAL] == last.get(_ORIGINAL) and (row[_NAME] == last[_NAME] or row[_ORIGINAL] == "Softmax"):
            found[-1].append(row)
        else:
            found.append([row])
    return tuple(
        Layer(
            kind=rows[0][_ORIGINAL],
            name=rows[-1][_NAME],
            target=rows[0][_TARGET],
            cycles=sum(round(float(row[_CYCLES])) for row in rows),
            macs=sum(round(float(row[_MACS])) for row in rows),
            sram_bytes=max(round(float(row[_MEMORY])) for row in rows),
        )
        for rows in found
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return list(csv.DictReader(file))
